"""Limits of containers that are changed while they run, over both drivers; and what a machine has no room for."""

from __future__ import annotations

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


def test_limits_that_change(driver: Driver) -> None:
    ul, mib = driver.ul, 1 << 20
    name = driver.start("--memory", "64m", "--pids-limit", "40", "--", "sleep", "900")
    ul("update", "--memory", "100m", "--memory-reservation", "20m", "--pids-limit", "9", "--cpu-shares", "512", name)
    assert [int(word) for word in driver.sh(name, LIMITS).split()] == [100 * mib, 20 * mib, 9]
    assert b"fork" in ul("exec", name, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done", code=2).stderr
    assert until(lambda: "sleep 2" not in ul.out("top", name))
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
        ul("pause", name)
        assert b"is paused: limits in its machine" in ul("update", "--pids-limit", "5", name, code=1).stderr
        ul("update", "--cpu-shares", "300", name)
        ul("stop", "-t", "0", name)
    ul(*words)
    if driver.name == "machine":
        ul("start", name)
    assert driver.sh(name, LIMITS).split() == [str(300 * mib), str(20 * mib), "max"]
    assert driver.inspect(name, "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}") == f"{300 * mib} 256"
    ul("rm", "-f", name)
