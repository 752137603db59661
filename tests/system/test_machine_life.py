"""Ends and beginnings of containers over both drivers: stop, kill, restart, limits, and what a killed part leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engines import Installation, until
from machines import Driver

pytestmark = pytest.mark.root


def test_stop_and_start_again(driver: Driver) -> None:
    """What was written is there again."""
    script = "trap 'sleep 0.2; exit 5' TERM; echo run >> /kept; cat /kept; while :; do sleep 0.05; done"
    name = driver.start("--name", "again", "--", "sh", "-c", script)
    assert until(lambda: driver.ul.out("logs", name) == "run")
    driver.ul("stop", name)
    assert driver.inspect(name, "{{.State.ExitCode}}") == "5"
    driver.ul("start", name)
    assert until(lambda: driver.ul.out("logs", name) == "run\nrun\nrun")
    assert driver.sh(name, "cat /kept") == "run\nrun"
    driver.ul("kill", "-s", "TERM", name)
    driver.ul("wait", name)
    assert driver.inspect(name, "{{.State.ExitCode}}") == "5"


def test_who_does_not_want_to_end(driver: Driver) -> None:
    name = driver.start("--", "sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.05; done")
    assert until(lambda: driver.ul.out("logs", name) == "begun")
    driver.ul("stop", "-t", "1", name)
    assert driver.inspect(name, "{{.State.ExitCode}} {{.State.OOMKilled}}") == "137 false"


def test_restart_on_failure(driver: Driver) -> None:
    words = ["--restart", "on-failure:1", "--", "sh", "-c", "echo run >> /kept; cat /kept; exit 3"]
    name = driver.start(*words)
    assert until(lambda: driver.inspect(name, "{{.State.Status}} {{.RestartCount}}") == "exited 1", 60)
    assert driver.inspect(name, "{{.State.ExitCode}}") == "3"
    assert driver.ul.out("logs", name) == "run\nrun\nrun"


def test_memory_that_is_not_there(driver: Driver) -> None:
    """The kernel kills the program that takes too much, not more."""
    script = "tail /dev/zero; echo survived $?; exec tail /dev/zero"
    name = driver.start("--memory", "16m", "--memory-swap", "16m", "--", "sh", "-c", script)
    driver.ul("wait", name)
    assert driver.inspect(name, "{{.State.ExitCode}} {{.State.OOMKilled}}") == "137 true"
    assert driver.ul.out("logs", name) == "survived 137"


@pytest.mark.parametrize("part", ["stand-in", "QEMU", "monitor"])
def test_a_part_that_is_killed(machine: Installation, part: str) -> None:
    """Nothing of the machine is left, and the container is known to have ended."""
    name = machine.start("--isolation", "machine", "box", "sh", "-c", "echo begun; while :; do sleep 0.05; done")
    assert until(lambda: machine.out("logs", name) == "begun")
    standin, monitor = machine.pid(name), machine.monitor(name)
    [qemu] = map(int, Path(f"/proc/{standin}/task/{standin}/children").read_text().split())
    pids = {"stand-in": standin, "QEMU": qemu, "monitor": monitor}
    os.kill(pids[part], signal.SIGKILL)
    assert until(lambda: not any(alive(pid) for pid in pids.values()))
    assert until(lambda: machine.out("inspect", "-f", "{{.State.Running}}", name) == "false")
    assert machine.out("inspect", "-f", "{{.State.ExitCode}}", name) == "137"
    if part == "QEMU":
        assert b"underlay: machine: the machine has ended before its container" in machine("logs", name).stderr
    machine("rm", "-f", name)
    assert machine.remains([name]) == []
    assert not [path for path in machine.root.rglob("*") if name in str(path)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
