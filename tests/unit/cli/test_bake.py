"""Bake files: what the reference says, and what is wrong in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engines import REPOSITORY
from underlay.cli.bake import files, functions
from underlay.cli.bake.plan import plan
from underlay.errors import InvalidInput, UnderlayError


def test_the_reference_has_all_functions() -> None:
    text = (REPOSITORY / "docs" / "reference" / "bake.md").read_text()
    block = text.partition("and these functions:")[2].partition("A variable")[0]
    assert re.findall(r"`(\w+)`", block) == functions.names()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('target "default" {\n tags = [nope]\n}\n', "bake.hcl:2: variable 'nope' is not declared"),
        ('target "default" {\n tags = [\n}\n', "bake.hcl:3: this is not HCL: }"),
        ('target "default" {\n tags = [upper()]\n}\n', "bake.hcl:2: upper(): wrong number of arguments"),
        ('target "default" {\n tags = [missing("x")]\n}\n', "there is no function 'missing'"),
        ('target "default" {\n tags = [1 / 0]\n}\n', "bake.hcl:2: this cannot be evaluated: "),
        ('target "default" {\n tags = "x"\n}\n', "target default: tags is no list"),
        ('target "default" {\n tags = ["%{ if true }x"]\n}\n', "has no endif"),
        ('target "default" {\n tags = [<<E\n${nope}\nE\n]\n}\n', "variable 'nope' is not declared"),
        ('target "default" {\n tags = ["x"]\n tags = ["y"]\n}\n', "bake.hcl:3: tags is given twice"),
        ('target "default" {\n build {}\n}\n', "bake.hcl:2: unexpected block 'build'"),
        ("target {}\n", "bake.hcl:1: a target has one name"),
        ('other "x" {}\n', "unexpected 'other'"),
        ('function "f" {}\n', "function 'f': it has no result"),
        ('function "f" {\n params = [a]\n result = f(a)\n}\ntarget "default" {\n tags = [f(1)]\n}\n', "deep"),
        ('a = b\nb = a\ntarget "default" {\n tags = [a]\n}\n', "stands on itself: a -> b -> a"),
        (
            'variable "V" {\n default = 1\n validation {\n  condition = V > 1\n  error_message = "too small"\n }\n}\n',
            "variable 'V': too small",
        ),
        ('target "default" {\n matrix = { a = range(200), b = range(200) }\n name = a\n}\n', "too large"),
        (f'target "default" {{\n tags = [{"(" * 3000}1{")" * 3000}]\n}}\n', "bake.hcl"),
    ],
)
def test_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    pytest.importorskip("hcl2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bake.hcl").write_text(text)
    with pytest.raises(UnderlayError) as caught:
        plan(files.read(["bake.hcl"]), [], [])
    assert message in caught.value.message and "\n" not in caught.value.message


def test_templates_of_strings(tmp_path: Path) -> None:
    """Marks that take blanks away, loops in conditions, and what is no directive."""
    pytest.importorskip("hcl2")
    template = "%{ for x in [1, 2, 3] }%{ if x != 2 ~}\n  <${x}> %{~ else }(${x})%{ endif }%{ endfor } $${x} %%{y} 50%"
    (tmp_path / "bake.hcl").write_text(f'target "default" {{\n labels = {{\n  a = <<E\n{template}\nE\n }}\n}}\n')
    (label,) = plan(files.read([str(tmp_path / "bake.hcl")]), [], []).targets["default"]["labels"].values()
    assert label == "<1>(2)<3> ${x} %{y} 50%\n"


def test_compose_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SET", "EMPTY"):
        monkeypatch.setenv(name, "x" if name == "SET" else "")
    monkeypatch.delenv("UNSET", raising=False)

    def filled(text: str) -> str:
        (tmp_path / "c.yaml").write_text(f"services:\n  a:\n    build: {{context: ., target: '{text}'}}\n")
        return str(plan(files.read([str(tmp_path / "c.yaml")]), [], []).targets["a"]["target"])

    pytest.importorskip("yaml")
    assert filled("a${SET}b$SET-$$SET") == "axbx-$SET"
    assert filled("${UNSET-d}${EMPTY-d}.${UNSET:-d}${EMPTY:-d}") == "d.dd"
    assert filled("${SET+p}${EMPTY+p}${UNSET+p}.${SET:+q}${EMPTY:+q}") == "pp.q"
    assert filled("${UNSET:-${SET}y}") == "xy"
    with pytest.raises(InvalidInput, match="'UNSET' is not set: because"):
        filled("${UNSET:?because}")
