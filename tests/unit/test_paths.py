"""Root and state: who may own them and write to them (class of attacks: a directory made beforehand by another user)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from underlay import paths
from underlay.errors import InvalidInput


def refused(path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=text) as error:
        paths.make_private(str(path), "state directory", "--state names another")
    assert str(path) in error.value.message and "--state names another" in error.value.hint


def test_what_is_missing_is_made_for_us_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        paths.Paths(str(tmp_path / "r"), str(tmp_path / "u/underlay"), str(tmp_path / "u")).make()
    finally:
        os.umask(before)
    for name in ("r", "u", "u/underlay"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o722])
def test_where_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x").chmod(mode)
    refused(tmp_path / "x", rf"other users may write to it \(mode {mode:04o}\)")
    (tmp_path / "x").chmod(0o755)
    paths.make_private(str(tmp_path / "x"), "", "")


def test_what_another_user_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path)
    paths.make_private(str(tmp_path / "link"), "", "")  # as ours, or root's, it is an administrator's choice
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    refused(tmp_path / "x", rf"it belongs to another user \(uid {os.getuid()}, not 12345\)")
    if os.getuid():
        refused(tmp_path / "link", "a link that another user made")


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    refused(tmp_path / "file", "not a directory")
    refused(tmp_path / "link", "leads to no directory")


def test_the_directory_above_the_state_counts_where_anyone_may_have_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for name in ("XDG_RUNTIME_DIR", "UNDERLAY_ROOT", "UNDERLAY_STATE"):
        monkeypatch.delenv(name, raising=False)
    made = paths.default_paths()
    assert (made.above, made.state) == ("/tmp/underlay-12345", "/tmp/underlay-12345/underlay")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/12345")
    made = paths.default_paths()
    assert (made.above, made.state) == ("", "/run/user/12345/underlay")
