"""Mistyped words are answered with those that were meant."""

from __future__ import annotations

import tarfile
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


def test_images_are_proposed_by_what_tells_them_apart(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly all names end in `:latest`."""
    monkeypatch.setenv("UNDERLAY_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("UNDERLAY_STATE", str(tmp_path / "state"))
    (tmp_path / "file").touch()
    with tarfile.open(tmp_path / "tar", "w") as tar:
        tar.add(tmp_path / "file", "file")
    for name in ("box", "busybox:1.36"):
        assert main(["import", str(tmp_path / "tar"), name]) == 0
    for asked, hint in (
        ("bxo", "did you mean `box`?"),
        ("nosuch", ""),
        ("busybox:1.37", "did you mean `busybox:1.36`?"),
    ):
        assert main(["history", asked]) == 1
        said = capsys.readouterr().err
        assert hint in said and ("did you mean" in said) == bool(hint), said
