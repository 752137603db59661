"""Control groups: paths, reading files, and one contract for whatever this host has."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import needs_root, until
from underlay.errors import Conflict, InvalidInput, KernelError, Unsupported
from underlay.linux import cgroup
from underlay.linux.cgroup import common, null


def test_none_refuses_limits_and_pausing() -> None:
    group = null.GroupNone("/underlay/x/")
    group.create({"devices": [{"allow": False}], "memory": {}, "cpu": None})
    # What asks for nothing is nothing to refuse: callers send zeros and -1.
    group.create({"cpu": {"shares": 0}, "memory": {"disableOOMKiller": False, "limit": 0}, "pids": {"limit": -1}})
    for resources in ({"memory": {"limit": 1}}, {"pids": {"limit": 1}}, {"unified": {"memory.max": "5"}}):
        with pytest.raises(Unsupported):
            group.create(resources)
    with pytest.raises(Unsupported):
        group.freeze(True)
    assert group.processes() == [] and group.birthplace() == -1 and group.stats() == {} and not group.out_of_memory()
    group.kill()
    group.remove()


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/default/abc", "default/abc"), ("a//b/./c/", "a/b/c"), ("../../x", "x"), ("/a/../../b", "b"), ("/a/b/..", "a")],
)
def test_paths(path: str, clean: str) -> None:
    assert cgroup.open_group(path).path == clean


@pytest.mark.parametrize("path", ["", "/", "..", "/a/..", "a\0b", "a\nb"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InvalidInput):
        cgroup.open_group(path)


def test_only_the_engines_own_parent_goes(tmp_path: Path) -> None:
    for path in ("underlay/x", "default/x", "underlay-other/x"):
        directory = tmp_path / path
        directory.mkdir(parents=True)
        directory.rmdir()
        common.remove_own_parent(str(directory), path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["default", "underlay-other"]


def test_reading_control_files(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("42\n")
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "keyed").write_text("a 1\nb x\nc 3\n")
    assert common.integer(str(tmp_path / "number")) == 42
    assert common.integer(str(tmp_path / "max")) == common.integer(str(tmp_path / "missing")) == 0
    assert common.keyed(str(tmp_path / "keyed")) == {"a": 1, "c": 3}
    with pytest.raises(KernelError, match="missing"):
        common.write(str(tmp_path / "missing"), "1")


# The contract: whatever this host offers.


@pytest.fixture
def group() -> Iterator[cgroup.Group]:
    needs_root()
    found = cgroup.open_group(f"/underlay-test-{os.getpid()}/slices/one")
    if found.version == "none":
        pytest.skip("no control groups that can be used here")
    yield found
    places = found.locations().values()
    found.kill()
    found.remove()
    assert not any(os.path.isdir(path) for path in found.locations().values())
    for path in set(places):
        # The groups above are not the container's: they stay, and go here.
        os.rmdir(os.path.dirname(path))
        os.rmdir(os.path.dirname(os.path.dirname(path)))


def sleeper(group: cgroup.Group) -> int:
    """A process in the group that sleeps until it is killed."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            group.enter()
            os.write(tell, b"x")
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def test_contract_life(group: cgroup.Group) -> None:
    group.check_free()
    assert group.locations() == {} or group.version == "v2"
    group.create({"pids": {"limit": 20}, "memory": {"limit": 64 << 20}})
    group.create({"pids": {"limit": 30}})  # again: what is there stays
    pids = [sleeper(group) for _ in range(3)]
    assert sorted(group.processes()) == sorted(pids)
    found = group.stats()
    assert found["memory"]["usage"]["limit"] == 64 << 20 and found["pids"] == {"current": 3, "limit": 30}
    assert found["memory"]["usage"]["usage"] > 0 and found["cpu"]["usage"]["total"] > 0
    assert not group.out_of_memory()
    own = {line.split(":", 2)[2] for line in Path(f"/proc/{pids[0]}/cgroup").read_text().split()}
    assert any(path.endswith(group.path) for path in own)
    with pytest.raises(Conflict, match="not empty: 3 process"):
        group.create({})  # two containers in one group
    with pytest.raises(Conflict):
        group.check_free()
    with pytest.raises(KernelError):
        common.remove(next(iter(group.locations().values())))
    group.kill()
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert until(lambda: group.processes() == [])
    group.remove()
    group.remove()  # what is gone is fine


def test_contract_freeze(group: cgroup.Group) -> None:
    group.create({})
    pid = sleeper(group)
    group.freeze(True)
    os.kill(pid, 15)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    with pytest.raises(Conflict):
        group.create({})
    group.freeze(False)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -15


def test_contract_kill_of_the_frozen(group: cgroup.Group) -> None:
    group.create({})
    pid = sleeper(group)
    group.freeze(True)
    group.kill()
    group.freeze(False)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def test_contract_devices(group: cgroup.Group) -> None:
    group.create(
        {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
            ]
        }
    )
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            group.enter()
            os.close(os.open("/dev/zero", os.O_RDONLY))
            refused = 0
            for path, flags in (("/dev/zero", os.O_WRONLY), ("/dev/null", os.O_RDONLY), ("/dev/full", os.O_RDONLY)):
                try:
                    os.open(path, flags)
                except PermissionError:
                    refused += 1
            code = 0 if refused == 3 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def allowed(group: cgroup.Group, path: str, flags: int) -> bool:
    """Whether a process of the group may open a device."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            group.enter()
            try:
                os.open(path, flags)
                code = 0
            except PermissionError:
                code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 1)
    return code == 0


def test_contract_devices_of_a_living_group_are_replaced(group: cgroup.Group) -> None:
    null_only = [{"allow": False}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    zero_only = [{"allow": False}, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rw"}]
    group.create({"devices": null_only})
    pid = sleeper(group)
    assert (allowed(group, "/dev/null", os.O_RDWR), allowed(group, "/dev/zero", os.O_RDWR)) == (True, False)
    for _ in range(3):
        group.update({"devices": zero_only})
        assert (allowed(group, "/dev/null", os.O_RDWR), allowed(group, "/dev/zero", os.O_RDWR)) == (False, True)
        group.update({"devices": null_only})
    assert (allowed(group, "/dev/null", os.O_RDWR), allowed(group, "/dev/zero", os.O_RDWR)) == (True, False)
    with pytest.raises(InvalidInput, match=r"linux.resources.devices\[0\].type"):
        group.update({"devices": [{"allow": False, "type": "x"}]})
    assert allowed(group, "/dev/null", os.O_RDWR)
    group.kill()
    os.waitpid(pid, 0)


def test_contract_update_and_back(group: cgroup.Group) -> None:
    group.create({"memory": {"limit": 64 << 20, "swap": 64 << 20}, "cpu": {"quota": 50000, "period": 100000}})

    def limits() -> list[object]:
        found = group.stats()
        return [found["memory"]["usage"]["limit"], found["memory"]["swap"]["limit"], found["pids"]["limit"]]

    before = limits()
    back = group.update(
        {
            # Grows beyond the limit of both together, and a period by which the old quota would be too much.
            "memory": {"limit": 128 << 20, "swap": 256 << 20, "reservation": 32 << 20},
            "cpu": {"quota": 1000, "period": 1000, "cpus": "0"},
            "pids": {"limit": 9},
        }
    )
    assert limits()[0] == 128 << 20 and limits()[2] == 9
    back()
    assert limits() == before
    group.update({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    assert limits()[0] == 16 << 20


def test_contract_all_or_nothing(group: cgroup.Group) -> None:
    group.create({"pids": {"limit": 20}, "memory": {"limit": 64 << 20}})
    before = group.stats()
    for broken in ({"cpus": "0-99999"}, {"quota": 5}, {"mems": "7777"}):
        with pytest.raises(KernelError) as caught:
            group.update({"memory": {"limit": 32 << 20}, "pids": {"limit": 5}, "cpu": broken})
        assert caught.value.hint.startswith("asked for by linux.resources.cpu.")
        found = group.stats()
        assert found["pids"] == before["pids"] and found["memory"]["usage"] == before["memory"]["usage"]


def test_contract_processes_move_into_a_controller_that_comes_late(group: cgroup.Group) -> None:
    group.create({})
    pid = sleeper(group)
    group.update({"cpu": {"cpus": "0"}})
    assert until(lambda: os.sched_getaffinity(pid) == {0})
    group.kill()
    os.waitpid(pid, 0)


def test_contract_check_before_update(group: cgroup.Group) -> None:
    group.create({"memory": {"limit": 64 << 20, "checkBeforeUpdate": True}})
    pid = sleeper(group)
    with pytest.raises(
        Conflict, match=r"linux.resources.memory.limit: 4096 bytes are not more than the \d+ bytes in use"
    ):
        group.update({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    assert group.stats()["memory"]["usage"]["limit"] == 64 << 20
    group.kill()
    os.waitpid(pid, 0)


def test_contract_out_of_memory(group: cgroup.Group) -> None:
    group.create({"memory": {"limit": 8 << 20, "swap": 8 << 20}})
    event = group.oom_event()
    poll = select.poll()
    poll.register(event, select.POLLIN)
    assert group.oom_kills() == 0 and not group.out_of_memory()
    pid = os.fork()
    if pid == 0:
        try:
            group.enter()
            bytearray(64 << 20)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert poll.poll(10_000) == [(event, select.POLLIN)]
    assert os.read(event, 4096)
    assert until(lambda: group.oom_kills() >= 1) and group.out_of_memory()
    os.close(event)
