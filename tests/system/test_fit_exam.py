"""What `base fit` says of some eighty images beforehand, and what running each of them here shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines import Installation, image_tar, needs_root
from fitcases import GROUPS, cases

pytestmark = pytest.mark.root


@pytest.mark.parametrize("group", GROUPS)
def test_every_prediction_is_true(tmp_path: Path, group: str) -> None:
    needs_root()
    ul = Installation(tmp_path)
    try:
        wrong = []
        verdicts = set()
        root = image_tar()
        for number, case in enumerate(cases(group)):
            changes = [word for line in case.lines for word in ("-c", line)]
            ul("import", *changes, "-", f"case{number}", input=case.tar(root))
            predicted = json.loads(ul.out("base", "fit", "--format", "json", f"case{number}", code=None))
            done = ul("run", "--rm", "--network", "none", f"case{number}", code=None)
            codes = {code for reason in predicted["reasons"] for code in reason["codes"]}
            fails = predicted["verdict"] == "will not run"
            if not predicted["certain"] or (done.returncode not in codes if fails else done.returncode != 0):
                said = [reason["id"] for reason in predicted["reasons"]] or predicted["verdict"]
                wrong.append(f"{case.name}: {said}, and it exits {done.returncode}: {done.stderr[-200:]!r}")
            verdicts.add(predicted["verdict"])
        assert not wrong, "\n".join(wrong)
        if not verdicts:
            pytest.skip("this host has no /usr/bin/ls that is linked dynamically, or no ldd")
        assert verdicts >= {"runs", "will not run"}
    finally:
        ul.clean()
