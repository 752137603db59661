"""Limits: each is exceeded for real, on whatever version of control groups this host has, and what happens is looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, until
from underlay.linux import cgroup

pytestmark = pytest.mark.root

VERSION, MOUNTS = cgroup.detect()


def group_of(name: str, parent: str = "underlay") -> cgroup.Group:
    """The group of a container, by its full id."""
    return cgroup.open_group(f"{parent}/{name}")


def value(name: str, v1: str, v2: str, parent: str = "underlay") -> str:
    """A control file of a container: `v1` in its controller's hierarchy, or `v2`."""
    if VERSION == "v2":
        return Path(MOUNTS[""], parent, name, v2).read_text().strip()
    return Path(MOUNTS[v1.partition(".")[0]], parent, name, v1).read_text().strip()


def only(version: str) -> None:
    """Skip the test unless the host has this version of control groups."""
    if VERSION != version:
        pytest.skip(f"this host has control groups {VERSION}, not {version}")


def test_memory(ul: Installation) -> None:
    name = ul.start("--memory", "24m", "--memory-swap", "24m", "box", "sh", "-c", "tail /dev/zero")
    assert ul.out("wait", name) == "137"
    assert ul.out("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", name) == "true 137"


def test_memory_and_swap_are_set(ul: Installation) -> None:
    name = ul.start("-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m", "box", "sleep", "60")
    assert value(name, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert value(name, "memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)
    try:
        both = value(name, "memory.memsw.limit_in_bytes", "memory.swap.max")
    except FileNotFoundError:
        pytest.skip("this kernel does not account swap")
    assert both == str((96 if VERSION == "v1" else 32) << 20)


def test_a_killed_child_is_not_the_containers_end(ul: Installation) -> None:
    script = "sh -c 'tail /dev/zero'; echo ended with $?"
    name = ul.start("--memory", "24m", "--memory-swap", "24m", "box", "sh", "-c", script)
    assert ul.out("wait", name) == "0"
    assert ul.out("logs", name).splitlines()[-1] == "ended with 137"
    assert group_of(name).locations() == {} or not os.path.exists(next(iter(group_of(name).locations().values())))


def test_processes(ul: Installation) -> None:
    name = ul.start("--pids-limit", "5", "box", "sleep", "60")
    done = ul("exec", name, "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 5 & done", code=None)
    assert b"can't fork" in done.stderr
    assert group_of(name).stats()["pids"]["limit"] == 5


def test_processor_time(ul: Installation) -> None:
    name = ul.start("--cpus", "0.1", "box", "sh", "-c", "while :; do :; done")
    throttled = lambda: group_of(name).stats()["cpu"]["throttling"]["throttledPeriods"]  # noqa: E731
    assert until(lambda: throttled() >= 2)
    ul("update", "--cpus", "1", name)
    assert value(name, "cpu.cfs_quota_us", "cpu.max").split()[0] == "100000"


def test_quota_and_period(ul: Installation) -> None:
    name = ul.start("--cpu-quota", "5000", "--cpu-period", "50000", "--cpu-shares", "2048", "box", "sleep", "60")
    period = value(name, "cpu.cfs_period_us", "cpu.max").split()[-1]
    assert (value(name, "cpu.cfs_quota_us", "cpu.max").split()[0], period) == ("5000", "50000")
    assert value(name, "cpu.shares", "cpu.weight") == ("2048" if VERSION == "v1" else "79")


def test_processors(ul: Installation) -> None:
    status = ul.run("--cpuset-cpus", "0", "--cpuset-mems", "0", "box", "grep", "_allowed_list", "/proc/self/status")
    assert [line.split()[1] for line in status.splitlines()] == ["0", "0"]
    done = ul("run", "--network", "none", "--cpuset-cpus", "0,4095", "box", code=125)
    assert b"requested CPUs are not available - requested 0,4095, available: 0" in done.stderr


def test_devices(ul: Installation) -> None:
    """A node can be made; opening it is what the list is about."""
    if not Path("/dev/loop-control").exists():
        pytest.skip("no /dev/loop-control to be allowed or refused")
    script = "mknod /tmp/x c 10 237 && : < /tmp/x && echo opened"
    done = ul("run", "--rm", "--network", "none", "box", "sh", "-c", script, code=None)
    assert done.returncode != 0 and b"Operation not permitted" in done.stderr
    assert ul.run("--device-cgroup-rule", "c 10:* r", "box", "sh", "-c", script) == "opened"
    done = ul(
        "run", "--rm", "--network", "none", "--device-cgroup-rule", "c 10:237 w", "box", "sh", "-c", script, code=None
    )
    assert b"Operation not permitted" in done.stderr


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    """A block device over a file of ours."""
    if shutil.which("losetup") is None:
        pytest.skip("no losetup")
    backing = tmp_path / "disk"
    backing.write_bytes(os.urandom(1 << 20) * 8)
    done = subprocess.run(["losetup", "--show", "-f", str(backing)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no loop device can be had: {done.stderr.strip()}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


def test_reading_from_a_device(ul: Installation, loop_device: str) -> None:
    options = ["--device", loop_device, "--device-read-bps", f"{loop_device}:1mb"]
    script = f"dd if={loop_device} of=/dev/null bs=256k count=12 iflag=direct"
    done = ul("run", "--rm", "--network", "none", *options, "box", "true", code=None)
    if b"this kernel has no" in done.stderr:
        pytest.skip(done.stderr.decode().strip())
    began = time.monotonic()
    ul.run(*options, "box", "sh", "-c", script)
    # 3 MiB at 1 MiB a second, of which a burst may be free.
    assert time.monotonic() - began > 1.5


def test_operations_and_writing(ul: Installation, loop_device: str) -> None:
    status = os.stat(loop_device)
    numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    limits = ["--device-write-bps", f"{loop_device}:2mb", "--device-read-iops", f"{loop_device}:50"]
    name = ul.start(*limits, "--device-write-iops", f"{loop_device}:70", "box", "sleep", "60")
    if VERSION == "v2":
        assert value(name, "", "io.max") == f"{numbers} rbps=max wbps=2097152 riops=50 wiops=70"
    else:
        assert value(name, "blkio.throttle.write_bps_device", "") == f"{numbers} 2097152"
        assert value(name, "blkio.throttle.read_iops_device", "") == f"{numbers} 50"
        assert value(name, "blkio.throttle.write_iops_device", "") == f"{numbers} 70"
    shown = ul.out("inspect", "-f", "{{json .HostConfig.BlkioDeviceWriteBps}}", name)
    assert shown == f'[{{"Path":"{loop_device}","Rate":2097152}}]'


def test_io_weight(ul: Installation) -> None:
    done = ul("run", "-d", "--network", "none", "--blkio-weight", "300", "box", "sleep", "60", code=None)
    if b"is not supported: this kernel" in done.stderr:
        pytest.skip(done.stderr.decode().strip())
    assert done.returncode == 0, done.stderr
    name = done.stdout.decode().strip()
    weights = (("blkio.bfq.weight", "io.bfq.weight", ("300", "default 300")), ("", "io.weight", ("default 2930",)))
    found = []
    for v1, v2, texts in weights:
        try:
            found.append(value(name, v1, v2).splitlines()[0] in texts)
        except (OSError, KeyError):
            continue
    assert any(found)
    assert ul.out("inspect", "-f", "{{.HostConfig.BlkioWeight}}", name) == "300"


def test_version_1_has_more(ul: Installation) -> None:
    only("v1")
    name = ul.start("--memory-swappiness", "7", "--oom-kill-disable", "-m", "64m", "box", "sleep", "60")
    assert value(name, "memory.swappiness", "") == "7"
    assert "oom_kill_disable 1" in value(name, "memory.oom_control", "")
    shown = ul.out("inspect", "-f", "{{.HostConfig.MemorySwappiness}} {{.HostConfig.OomKillDisable}}", name)
    assert shown == "7 true"


def test_version_2_refuses_what_it_cannot(ul: Installation) -> None:
    only("v2")
    for words, where in (
        (["--memory-swappiness", "7"], b"linux.resources.memory.swappiness"),
        (["--oom-kill-disable"], b"linux.resources.memory.disableOOMKiller"),
        (["--cpu-rt-runtime", "500"], b"linux.resources.cpu.realtimeRuntime"),
    ):
        done = ul("run", "--rm", "--network", "none", *words, "box", "true", code=125)
        assert where in done.stderr and b"not supported with cgroup v2" in done.stderr


def test_real_time(ul: Installation) -> None:
    """The group above must have what a container is to get: the engine's own has nothing."""
    only("v1")
    above = Path(MOUNTS["cpu"], f"underlay-test-{os.getpid()}")
    above.mkdir()
    try:
        if not (above / "cpu.rt_runtime_us").exists():
            pytest.skip("this kernel has no groups for real-time processes")
        done = ul("run", "--rm", "--network", "none", "--cpu-rt-runtime", "500", "box", "true", code=125)
        assert b"linux.resources.cpu.realtimeRuntime" in done.stderr
        (above / "cpu.rt_runtime_us").write_text("2000")
        words = ["--cgroup-parent", above.name, "--cpu-rt-runtime", "1000", "--cpu-rt-period", "500000"]
        name = ul.start(*words, "box", "sleep", "60")
        assert value(name, "cpu.rt_runtime_us", "", above.name) == "1000"
        assert value(name, "cpu.rt_period_us", "", above.name) == "500000"
        ul("rm", "-f", name)
    finally:
        for mount in dict.fromkeys(MOUNTS.values()):
            place = Path(mount, above.name)
            if place.exists():
                place.rmdir()


def test_cgroup_parent(ul: Installation) -> None:
    parent = f"underlay-test-{os.getpid()}/deep"
    try:
        name = ul.start("--cgroup-parent", f"/{parent}/", "--pids-limit", "9", "box", "sleep", "60")
        assert f"/{parent}/{name}" in Path(f"/proc/{ul.pid(name)}/cgroup").read_text()
        assert value(name, "pids.max", "pids.max", parent) == "9"
        assert ul.out("exec", name, "echo", "inside") == "inside"
        ul("pause", name)
        ul("unpause", name)
        ul("update", "--pids-limit", "11", name)
        assert value(name, "pids.max", "pids.max", parent) == "11"
        assert ul.out("top", name, "-o", "comm").split() == ["COMMAND", "sleep"]
        ul("restart", "-t", "0", name)
        assert value(name, "pids.max", "pids.max", parent) == "11"
        assert ul.out("inspect", "-f", "{{.HostConfig.CgroupParent}}", name) == f"/{parent}/"
        ul("rm", "-f", name)
        # What somebody has named belongs to him, empty or not.
        assert all(os.listdir(f"{mount}/{parent}") for mount in MOUNTS.values() if os.path.exists(f"{mount}/{parent}"))
        assert group_of(name, parent).processes() == []
    finally:
        for mount in dict.fromkeys(MOUNTS.values()):
            for path in (f"{mount}/{parent}", f"{mount}/{os.path.dirname(parent)}"):
                if os.path.isdir(path):
                    os.rmdir(path)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--cgroup-parent", "machine.slice"], "slices belong to systemd"),
        (["--cgroup-parent", "../x"], "the path contains .."),
        (["--kernel-memory", "50m"], "--kernel-memory is deprecated"),
        (["--blkio-weight", "5"], "range of blkio weight is from 10 to 1000"),
        (["--blkio-weight", "70000"], 'strconv.ParseUint: parsing "70000": value out of range'),
        (["--blkio-weight-device", "/dev/x:5"], "invalid weight for device: /dev/x:5"),
        (["--device-read-bps", "foo"], 'invalid argument "foo" for "--device-read-bps" flag: bad format: foo'),
        (["--device-read-bps", "/x:1"], "bad format for device path: /x:1"),
        (["--device-read-bps", "/dev/x:abc"], "Unit is optional and can be kb, mb, or gb"),
        (["--device-write-iops", "/dev/x:1m"], "<device-path>:<number>. Number must be a positive integer"),
        (["--device-write-iops", "/dev/null:1"], "/dev/null is not a block device of this host"),
        (["--device-cgroup-rule", "zzz"], "invalid device cgroup format 'zzz'"),
        (["--memory-swappiness", "101"], "invalid value: 101. Valid memory swappiness range is 0-100"),
        (["--cpu-period", "5"], "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        (["--cpu-quota", "5"], "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (["--cpu-shares", "1"], "the minimum allowed cpu-shares is 2"),
        (["--cpus", "5000"], "range of CPUs is from 0.01 to "),
        (["--cpuset-cpus", "2-"], "invalid value 2- for cpuset cpus"),
        (["--cpu-rt-runtime", "9", "--cpu-rt-period", "5"], "runtime cannot be higher than cpu real-time period"),
    ],
)
def test_refused(ul: Installation, words: list[str], text: str) -> None:
    done = ul("run", "--network", "none", *words, "box", "true", code=125)
    assert text in done.stderr.decode()
    assert ul.out("ps", "-aq") == ""
