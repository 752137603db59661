"""What is so: told from files, the lock and the kernel, whatever a crash has left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from underlay.files import Lock
from underlay.linux.process import start_time
from underlay.runtime.monitor import state


class Place:
    """A container's two directories."""

    def __init__(self, path: Path) -> None:
        self.directory, self.state = str(path / "c"), str(path / "s")
        os.mkdir(self.directory)
        os.mkdir(self.state)

    def status(self) -> state.Status:
        return state.status(self.directory, self.state)

    def running(self, **changes: object) -> None:
        record = {
            "status": "running",
            "pid": os.getpid(),
            "when": start_time(os.getpid()),
            "monitor": 77,
            "started": 5,
            "cgroup": {"base": "/b"},
        }
        state.write(self.state, "state.json", record | changes)
        state.write(self.directory, "last.json", {"started": 5, "finished": 0, "code": None, "restarts": 2})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_created(place: Place) -> None:
    found = place.status()
    assert (found.status, found.pid, found.code) == ("created", 0, 0)
    state.write(place.directory, "last.json", {"failed": True, "code": 127, "error": "no such file"})
    found = place.status()
    assert (found.status, found.code, found.error) == ("created", 127, "no such file")


def test_running(place: Place) -> None:
    place.running()
    lock = Lock(place.state + "/lock")
    lock.acquire()
    found = place.status()
    assert (found.status, found.pid, found.monitor, found.restarts) == ("running", os.getpid(), 77, 2)
    assert found.started == 5 and found.finished == 0 and found.group_base == "/b"
    lock.release()
    # Without its monitor its run is over, whatever still has to be ended.
    found = place.status()
    assert (found.status, found.pid, found.monitor) == ("exited", 0, 0)


def test_without_a_monitor(place: Place) -> None:
    place.running(when=1)
    found = place.status()
    assert (found.status, found.pid, found.code) == ("exited", 0, 137)
    assert "monitor was killed" in found.error and found.finished > 5


def test_restarting_has_no_process(place: Place) -> None:
    place.running(status="restarting")
    with Lock(place.state + "/lock"):
        found = place.status()
    assert (found.status, found.pid) == ("restarting", 0)


def test_exited(place: Place) -> None:
    state.write(place.directory, "last.json", {"started": 5, "finished": 9, "code": 3, "oom": True})
    found = place.status()
    assert (found.status, found.code, found.oom, found.finished) == ("exited", 3, True, 9)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"{}" * 3, b'"x"', b"[" * 100_000])
def test_spoiled_files_are_as_good_as_none(place: Place, data: bytes) -> None:
    for directory, name in ((place.directory, "last.json"), (place.state, "state.json")):
        Path(directory, name).write_bytes(data)
    assert place.status().status == "created"


def test_looking_changes_nothing(place: Place) -> None:
    place.running()
    before = sorted(os.listdir(place.state) + os.listdir(place.directory))
    place.status()
    assert state.monitored(place.state) is False
    assert sorted(os.listdir(place.state) + os.listdir(place.directory)) == before


def test_looking_at_once_does_not_look_like_a_monitor(place: Place) -> None:
    shared = Lock(place.state + "/lock", shared=True)
    assert shared.acquire(wait=False)
    assert state.monitored(place.state) is False
    shared.release()


def test_records_are_private_and_replaced_in_one_step(place: Place) -> None:
    before = os.umask(0)
    try:
        state.write(place.state, "state.json", {"a": 1})
    finally:
        os.umask(before)
    path = Path(place.state, "state.json")
    assert path.stat().st_mode & 0o077 == 0 and path.stat().st_size == 512
    first = path.stat().st_ino
    state.write(place.state, "state.json", {"a": 2})
    assert path.stat().st_ino != first and state.read(place.state, "state.json") == {"a": 2}
    assert os.listdir(place.state) == ["state.json"]


def test_a_full_disk_still_takes_the_next_record(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(place.state, "state.json", {"code": None})

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "write_atomic", full)
    size = Path(place.state, "state.json").stat().st_blocks
    state.write(place.state, "state.json", {"code": 5})
    assert state.read(place.state, "state.json") == {"code": 5}
    assert Path(place.state, "state.json").stat().st_blocks == size
    with pytest.raises(OSError):
        state.write(place.state, "new.json", {})
