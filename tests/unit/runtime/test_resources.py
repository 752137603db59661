"""Limits as people word them, and the OCI objects they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.engine.containers import session
from underlay.engine.containers.specification import grammar, limits
from underlay.engine.containers.specification.compose import HostFacts
from underlay.engine.containers.specification.request import Request
from underlay.engine.options import ContainerOptions
from underlay.errors import InvalidInput, Unsupported


def made(host: HostFacts | None = None, **wish: object) -> dict:
    found = limits.compose(Request(ContainerOptions(**wish)), host or HostFacts())
    found.pop("devices")
    return found


def disks() -> HostFacts:
    host = HostFacts()
    host.block_devices = {"/dev/sda": (8, 0), "/dev/sdb": (8, 16)}
    return host


def test_everything_else() -> None:
    assert made(memory=64 << 20, memory_swappiness=0, oom_kill_disable=True)["memory"] == {
        "limit": 64 << 20,
        "swap": 128 << 20,
        "swappiness": 0,
        "disableOOMKiller": True,
    }
    assert made(memory_swap=-1) == {"memory": {"swap": -1}}
    assert made(cpu_rt_period=5000, cpu_rt_runtime=950) == {"cpu": {"realtimePeriod": 5000, "realtimeRuntime": 950}}
    assert made(pids_limit=-7) == {"pids": {"limit": -1}}
    assert made(cpu_quota=-1, cpu_period=5000) == {"cpu": {"quota": -1, "period": 5000}}


def test_block_devices() -> None:
    found = made(
        disks(),
        blkio_weight=300,
        blkio_weight_device=["/dev/sda:500"],
        device_read_bps=["/dev/sda:1mb", "/dev/sdb:5"],
        device_write_iops=["/dev/sdb:70"],
    )
    assert found == {
        "blockIO": {
            "weight": 300,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
            "throttleReadBpsDevice": [
                {"major": 8, "minor": 0, "rate": 1 << 20},
                {"major": 8, "minor": 16, "rate": 5},
            ],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 70}],
        }
    }
    with pytest.raises(InvalidInput, match="/dev/sdc is not a block device of this host"):
        made(disks(), device_read_bps=["/dev/sdc:1"])


def test_rules_about_devices() -> None:
    wish = ContainerOptions(device_cgroup_rules=["c 10:229 rw", "b *:* m", "a 1:* rwm"])
    rules = limits.compose(Request(wish), HostFacts())["devices"][-3:]
    assert rules == [
        {"allow": True, "type": "c", "access": "rw", "major": 10, "minor": 229},
        {"allow": True, "type": "b", "access": "m"},
        {"allow": True, "type": "a", "access": "rwm", "major": 1},
    ]


@pytest.mark.parametrize(
    "text", ["", "zzz", "c 1:3", "c 1 r", "d 1:3 r", "c 1:3 x", "c 1:3 rwmr", "c -1:3 r", "c 1:3  r", "c \u0661:3 r"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid device cgroup format"):
        grammar.device_rule(text)


@pytest.mark.parametrize(("text", "found"), [("0", {0}), ("0-3,7", {0, 1, 2, 3, 7}), ("1,1-2", {1, 2}), ("5-5", {5})])
def test_lists_of_numbers(text: str, found: set[int]) -> None:
    assert limits.numbers(text, "x") == found


@pytest.mark.parametrize("text", ["", "a", "2-", "-2", "3-2", "1,,2", "0-99999999999", "1;2"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(InvalidInput, match="for cpuset cpus"):
        limits.numbers(text, "cpuset cpus")


def test_what_is_not_there() -> None:
    host = HostFacts()
    host.processors, host.online_cpus, host.online_mems = 4, "0-3", "0"
    for wish, text in (
        ({"cpus": 4.5}, "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"cpuset_cpus": "2-4"}, "requested CPUs are not available - requested 2-4, available: 0-3"),
        ({"cpuset_mems": "1"}, "requested memory nodes are not available - requested 1, available: 0"),
    ):
        with pytest.raises(InvalidInput) as caught:
            made(host, **wish)
        assert caught.value.message == text
    assert made(host, cpuset_cpus="1-3", cpus=4.0)["cpu"]["cpus"] == "1-3"


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("/", ""), ("mine", "mine"), ("/mine//deep/", "mine/deep"), ("./a", "a")]
)
def test_parents(text: str, path: str) -> None:
    assert grammar.parent_group(text) == path


def test_parents_that_are_refused() -> None:
    for text in ("machine.slice", "/a.slice/b"):
        with pytest.raises(Unsupported, match="systemd"):
            grammar.parent_group(text)
    for text in ("../a", "a/../b", "a\nb", "a\0b", "a\x7fb"):
        with pytest.raises(InvalidInput):
            grammar.parent_group(text)


@pytest.mark.parametrize("parent", ["a\nb", "a.slice"])
def test_nothing_remains_of_a_group_that_cannot_be(parent: str, tmp_path: Path) -> None:
    """Such a container was never started, and must be removable: there is no error, and nothing is made."""
    session.clean_remains("c" * 64, {"options": {"cgroup_parent": parent}}, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_numbers_of_63_bits() -> None:
    most = (1 << 63) - 1
    for memory in (1 << 62, most):
        assert made(memory=memory)["memory"] == {"limit": memory, "swap": most}
    for name in ("memory", "memory_swap", "memory_reservation", "shm_size"):
        with pytest.raises(InvalidInput, match="too many"):
            made(**{"memory": 1 << 30, name: most + 1})
    with pytest.raises(InvalidInput, match="invalid rate"):
        grammar.throttle(f"/dev/sda:{most + 1}", True)
