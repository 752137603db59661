"""How well bases are found among real images; skips where the corpus is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from underlay.base.identify import image, lineage
from underlay.base.index import index_builder, known

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from bench import base_open_world as open_world  # noqa: E402

CORPUS = ROOT.parent / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not (CORPUS / "bases.jsonl").exists(), reason=f"there is no corpus at {CORPUS}")


def records(name: str) -> list[dict[str, Any]]:
    with open(CORPUS / name) as file:
        return [json.loads(line) for line in file]


def test_builds_that_the_shipped_index_knows() -> None:
    index = known.shipped()
    asked = records("official-dev.jsonl")[::3]
    found = [lineage.identify(image.from_record(each), index) for each in asked]
    pairs = [(a["true_base_build"], f.candidates[0]) for a, f in zip(asked, found, strict=True) if a["true_base_build"]]
    boundary = sum(truth["history"] == first.history for truth, first in pairs)
    builds = sum(truth["config_digest"] == first.config_digest for truth, first in pairs)
    assert boundary >= 0.98 * len(pairs)
    assert builds >= 0.98 * len(pairs)
    nothing = [f.candidates[0].name for a, f in zip(asked, found, strict=True) if a["true_base"] is None]
    assert nothing.count("scratch") >= 0.97 * len(nothing)


def test_predictions_from_files(tmp_path: Path) -> None:
    for name, source in (("index", "bases-2026.jsonl"), ("records", "official-2026-dev.jsonl")):
        (tmp_path / name).write_bytes((CORPUS / source).read_bytes())
    command = [sys.executable, str(ROOT / "bench/base_accuracy.py"), "predict", "index", "records"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(records("official-2026-dev.jsonl"))
    for line in lines:
        assert set(line) == {"candidates", "chain", "outdated"}
        assert 0 <= line["candidates"][0]["confidence"] <= 1


@pytest.mark.parametrize("files", [("bases.jsonl",), ("bases.jsonl", "bases-2026.jsonl")])
def test_bases_of_today_that_no_index_knows(files: tuple[str, ...]) -> None:
    """Applications on images of 2026: the family comes first for four in five, and hardly ever surely another one."""
    index = known.Known(index_builder.make([each for file in files for each in records(file)]))
    for timed in (True, False):
        given = open_world.answers(index, open_world.of_2026(str(CORPUS)), range(len(open_world.APPLICATIONS)), timed)
        assert sum(map(open_world.right, given)) >= 0.9 * len(given)
        assert sum(map(open_world.sure_error, given)) <= 0.03 * len(given)
