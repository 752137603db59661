"""Mistyped words are answered with those that were meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.cli.main import main


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["rnu", "x"], "hint: did you mean `underlay run`?"),
        (["comit", "x"], "hint: did you mean `underlay commit`?"),
        (["image", "prnue"], "hint: did you mean `underlay image prune`?"),
        (["run", "--memoy", "1g", "x"], "hint: did you mean `--memory`"),
        (["ps", "--fromat", "x"], "hint: did you mean `--format`?"),
        (["xyzzy"], "hint: see `underlay --help`"),
        (["run", "--xyzzy", "x"], "hint: see `underlay run --help`"),
        (["create", "-v", "/a:/b:zz", "x"], "hint: one of ro, rw"),
    ],
)
def test_hints(
    words: list[str],
    hint: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UNDERLAY_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("UNDERLAY_STATE", str(tmp_path / "state"))
    assert main(words) != 0
    assert hint in capsys.readouterr().err
