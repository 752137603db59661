"""What is cleaned up while others make the same anew: a lock on what is gone already does not count."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from underlay import Engine
from underlay.engine.containers import sweep
from underlay.store import scratch


def replaced_before_the_lock(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the next lock is taken, `place` has been removed by somebody else, and its maker has made it again."""
    flock = fcntl.flock

    def late(fd: int, operation: int) -> None:
        place.rename(place.with_name("gone"))
        place.mkdir() if place.with_name("gone").is_dir() else place.write_text("new")
        monkeypatch.setattr(fcntl, "flock", flock)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)


def test_a_container_that_is_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "root" / "containers" / ("0" * 64)
    with Engine(str(tmp_path / "root"), str(tmp_path / "state")) as engine:
        place.mkdir(parents=True)
        replaced_before_the_lock(place, monkeypatch)
        sweep._remove_files(engine._store, set())
        assert place.is_dir()
        sweep._remove_files(engine._store, set())
        assert not place.exists()


def test_a_download_that_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(str(tmp_path / "root"), str(tmp_path / "state")) as engine:
        paths = engine._store.paths
        place = Path(paths.temporary) / "part-of-a-blob"
        place.parent.mkdir(exist_ok=True, parents=True)
        place.write_text("old")
        replaced_before_the_lock(place, monkeypatch)
        assert scratch.remove_files(paths, "part-of") == 0
        assert place.read_text() == "new"
        assert scratch.remove_files(paths, "part-of") > 0
        assert not place.exists()
