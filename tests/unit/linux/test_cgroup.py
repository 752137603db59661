"""Control groups: conversions, refusals with the JSON path, and one contract for whatever this host has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import needs_root, until
from underlay.errors import KernelError, Unsupported
from underlay.linux import cgroup
from underlay.linux.cgroup import common, null, v1, v2


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262144, 10000), (1 << 30, 10000)])
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert v2.weight_of_shares(shares) == weight


def test_weights_grow_with_shares() -> None:
    weights = [v2.weight_of_shares(shares) for shares in range(2, 262144, 97)]
    assert weights == sorted(weights) and weights[0] == 1


@pytest.mark.parametrize(
    ("resources", "where"),
    [
        ({"rdma": {"mlx5": {}}}, "linux.resources.rdma"),
        ({"memory": {"limit": 1, "colour": 2}}, "linux.resources.memory.colour"),
        ({"cpu": {"idle": 1}}, "linux.resources.cpu.idle"),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "linux.resources.hugepageLimits"),
    ],
)
def test_version_1_refuses_what_it_does_not_know(resources: dict, where: str) -> None:
    with pytest.raises(Unsupported) as caught:
        v1.GroupV1({}, "underlay/x").update(resources)
    assert caught.value.message.startswith(where + " ")


def test_version_2_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    group = v2.GroupV2(str(tmp_path), "underlay/x")
    for resources, where in (
        ({"rdma": {"a": 1}}, "linux.resources.rdma"),
        ({"cpu": {"realtimeRuntime": 5}}, "linux.resources.cpu.realtimeRuntime"),
        ({"memory": {"swappiness": 5}}, "linux.resources.memory.swappiness"),
        ({"unified": {"cgroup.procs": "1"}}, "linux.resources.unified['cgroup.procs']"),
        ({"unified": {"../../x": "1"}}, "linux.resources.unified['../../x']"),
    ):
        with pytest.raises(Unsupported) as caught:
            group.update(resources)
        assert caught.value.message.startswith(where), caught.value.message


def fake_v2(tmp_path: Path, *files: str) -> v2.GroupV2:
    """A version 2 group over plain files: what is written can be read."""
    group = v2.GroupV2(str(tmp_path), "underlay/x")
    os.makedirs(group.directory)
    for name in files:
        Path(group.directory, name).write_text("")
    return group


def test_version_2_writes_the_kernels_words(tmp_path: Path) -> None:
    names = "memory.max memory.swap.max memory.low cpu.max cpu.weight pids.max cpuset.cpus io.weight cpu.max.burst"
    group = fake_v2(tmp_path, *names.split())

    def value(name: str) -> str:
        return Path(group.directory, name).read_text()

    group.update(
        {
            "memory": {"limit": 100, "swap": 250, "reservation": 50},
            "cpu": {"quota": 50000, "period": 100000, "shares": 1024, "cpus": "0-1"},
            "pids": {"limit": 7},
            "blockIO": {"weight": 10},
        }
    )
    # Version 1 counts memory and swap together, version 2 swap alone.
    assert [value(n) for n in ("memory.max", "memory.swap.max", "memory.low")] == ["100", "150", "50"]
    assert [value(n) for n in ("cpu.max", "cpu.weight", "pids.max", "cpuset.cpus")] == [
        "50000 100000",
        "39",
        "7",
        "0-1",
    ]
    assert value("io.weight") == "1"
    for name in names.split():
        Path(group.directory, name).write_text("")
    group.update(
        {"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}, "blockIO": {"weight": 1000}}
    )
    assert [value(n) for n in ("memory.max", "memory.swap.max", "pids.max")] == ["max", "max", "max"]
    assert (value("cpu.max"), value("io.weight")) == ("max 100000", "10000")
    with pytest.raises(Unsupported, match=r"linux.resources.memory.swap"):
        group.update({"memory": {"limit": 100, "swap": 50}})


def test_version_2_says_which_controller_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Unsupported) as caught:
        fake_v2(tmp_path).update({"pids": {"limit": 5}})
    assert "controller pids is not available" in caught.value.message and caught.value.hint


def test_none_refuses_limits_and_pausing() -> None:
    group = null.GroupNone("/underlay/x/")
    group.create({"devices": [{"allow": False}], "memory": {}, "cpu": None})
    for resources in ({"memory": {"limit": 1}}, {"pids": {"limit": 1}}):
        with pytest.raises(Unsupported):
            group.create(resources)
    with pytest.raises(Unsupported):
        group.freeze(True)
    assert group.processes() == [] and group.birthplace() == -1 and group.stats() == {} and not group.out_of_memory()
    group.kill()
    group.remove()


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
    found = cgroup.open_group(f"underlay-test-{os.getpid()}/one")
    if found.version == "none":
        pytest.skip("no control groups that can be used here")
    yield found
    found.kill()
    found.remove()
    assert not any(os.path.isdir(path) for path in found.locations().values())


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
    group.create({"pids": {"limit": 20}, "memory": {"limit": 64 << 20}})
    group.create({"pids": {"limit": 30}})  # again: what is there stays
    pids = [sleeper(group) for _ in range(3)]
    assert sorted(group.processes()) == sorted(pids)
    assert group.stats()["memory.limit"] == 64 << 20 and group.stats()["pids.current"] >= 3
    assert not group.out_of_memory()
    own = {line.split(":", 2)[2] for line in Path(f"/proc/{pids[0]}/cgroup").read_text().split()}
    assert any(path.endswith(group.path) for path in own)
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
