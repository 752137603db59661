"""Temporary directories go when their maker does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from underlay.paths import Paths
from underlay.store import scratch


def test_the_next_one_removes_what_the_dead_have_left(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path / "root"), str(tmp_path / "state"))
    with scratch.Scratch(paths, "tree") as living:
        pid = os.fork()
        if pid == 0:
            scratch.Scratch(paths, "layer").__enter__()
            os._exit(0)
        os.waitpid(pid, 0)
        assert len(os.listdir(paths.temporary)) == 2
        with scratch.Scratch(paths, "index") as second:
            assert sorted(os.listdir(paths.temporary)) == sorted(os.path.basename(s.path) for s in (living, second))
    assert os.listdir(paths.temporary) == []


def test_who_cannot_wait_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(str(tmp_path / "root"), str(tmp_path / "state"))
    remove = scratch.remove_tree
    signals = [1]

    def interrupted(path: str) -> None:
        if signals:
            signals.pop()
            raise KeyboardInterrupt
        remove(path)

    monkeypatch.setattr(scratch, "remove_tree", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch.Scratch(paths, "tree") as made:
        Path(made.path, "file").touch()
    assert os.listdir(paths.temporary) == [] and not signals
