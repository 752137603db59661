"""Limits of containers that are changed while they run, over both drivers; and what a machine has no room for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines import until
from machines import Driver

pytestmark = pytest.mark.root

LIMITS = """
    cd /sys/fs/cgroup
    cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes
    cat memory.low 2>/dev/null || cat memory/memory.soft_limit_in_bytes
    cat pids.max 2>/dev/null || cat pids/pids.max
"""


def check_freed_memory(driver: Driver, name: str) -> None:
    """See that memory which the container does not need any more is the host's again."""
    standin = driver.ul.pid(name)
    [qemu] = map(int, Path(f"/proc/{standin}/task/{standin}/children").read_text().split())

    def resident() -> int:
        return int(Path(f"/proc/{qemu}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    driver.sh(name, "dd if=/dev/zero of=/dev/shm/much bs=1M count=60")
    much = resident()
    driver.sh(name, "rm /dev/shm/much")
    assert until(lambda: resident() < much - (40 << 20), 60), (much, resident())


def test_limits_that_change(driver: Driver) -> None:
    ul, mib = driver.ul, 1 << 20
    name = driver.start("--memory", "64m", "--pids-limit", "40", "--", "sleep", "900")
    ul("update", "--memory", "100m", "--memory-reservation", "20m", "--pids-limit", "9", "--cpu-shares", "512", name)
    assert [int(word) for word in driver.sh(name, LIMITS).split()] == [100 * mib, 20 * mib, 9]
    if driver.name == "machine":
        check_freed_memory(driver, name)
    # Nobody waits for these, so that they count as long as it runs.
    assert b"fork" in ul("exec", name, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done", code=2).stderr
    ul("update", "--memory", "32m", "--memory-swap", "32m", "--pids-limit", "-1", name)
    driver.sh(name, "tail /dev/zero", code=137)
    assert driver.sh(name, LIMITS).split() == [str(32 * mib), str(20 * mib), "max"]
    # As many as are given are changed, or none: more memory than a machine has is refused.
    words = ["update", "--memory", "300m", "--memory-swap", "400m", "--cpu-shares", "256", name]
    if driver.name == "machine":
        done = ul(*words, code=1)
        assert b"can have 128MiB of memory at most while it runs" in done.stderr and b"next start" in done.stderr
        assert driver.sh(name, LIMITS).split()[0] == str(32 * mib)
        assert driver.inspect(name, "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}") == f"{32 * mib} 512"
        kernel = ul.out("machine", "kernel", "ls", "-q").splitlines()[0]
        refused = ul("machine", "kernel", "rm", "-f", kernel, code=1).stderr.decode()
        assert f"kernel is being used by running container {driver.inspect(name, '{{.Name}}').lstrip('/')}" in refused
        ul("pause", name)
        assert b"is paused: limits in its machine" in ul("update", "--pids-limit", "5", name, code=1).stderr
        ul("update", "--cpu-shares", "300", name)
        ul("stop", "-t", "0", name)
        assert b"is being used by stopped container" in ul("machine", "kernel", "rm", kernel, code=1).stderr
    ul(*words)
    if driver.name == "machine":
        ul("start", name)
    assert driver.sh(name, LIMITS).split() == [str(300 * mib), str(20 * mib), "max"]
    assert driver.inspect(name, "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}") == f"{300 * mib} 256"
    ul("rm", "-f", name)
