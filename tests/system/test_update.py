"""Changing limits and restart policy of containers, living or not: group, monitor and record, all or none."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from test_limits import VERSION, group_of, value

from engines import Installation, until
from underlay import ContainerOptions, Engine
from underlay.engine.containers import update
from underlay.errors import Conflict, InvalidInput, UnderlayError
from underlay.runtime.monitor import control

pytestmark = pytest.mark.root


def limits(name: str) -> tuple[int, int]:
    """What the living group has: memory, processes."""
    found = group_of(name).stats()
    return found["memory"]["usage"]["limit"], found["pids"]["limit"]


def slim(ul: Installation, name: str) -> None:
    """Wait until the monitor holds nothing but what waiting needs."""
    monitor = ul.monitor(name)
    assert until(lambda: b"monitor.resident" in Path(f"/proc/{monitor}/cmdline").read_bytes())


def test_a_running_container(ul: Installation) -> None:
    name = ul.start("-m", "64m", "--cpu-shares", "1024", "box", "sleep", "60")
    words = ["-m", "128m", "--memory-reservation", "32m", "--cpus", "0.5", "--cpuset-cpus", "0", "-c", "512"]
    assert ul.out("update", *words, "--pids-limit", "40", name[:8]) == name[:8]
    assert limits(name) == (128 << 20, 40)
    assert value(name, "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert value(name, "cpu.shares", "cpu.weight") == ("512" if VERSION == "v1" else "20")
    assert os.sched_getaffinity(ul.pid(name)) == {0}
    shown = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpusetCpus}}"
    expected = f"{128 << 20} 500000000 40 0"
    assert ul.out("inspect", "-f", shown, name) == expected
    ul("restart", "-t", "0", name)
    assert limits(name) == (128 << 20, 40) and os.sched_getaffinity(ul.pid(name)) == {0}
    assert ul.out("inspect", "-f", shown, name) == expected
    ul("update", "--pids-limit", "-1", "--memory-swap", "-1", name)
    assert limits(name) == (128 << 20, 0)


def test_one_that_does_not_run(ul: Installation) -> None:
    name = ul.out("create", "--network", "none", "--pids-limit", "9", "box", "sleep", "60")
    ul("container", "update", "-m", "64m", "--restart", "on-failure:3", name)
    assert ul.out("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", name) == (
        '{"Name":"on-failure","MaximumRetryCount":3}'
    )
    ul("start", name)
    assert limits(name) == (64 << 20, 9)


def test_restarts_use_what_was_changed(ul: Installation) -> None:
    name = ul.start("-m", "64m", "box", "sleep", "600")
    slim(ul, name)
    ul("update", "--restart", "always", name)
    ul("update", "-m", "96m", "--pids-limit", "33", name)
    first = ul.pid(name)
    os.kill(first, signal.SIGKILL)
    assert until(lambda: ul.pid(name) not in (0, first))
    assert until(lambda: limits(name) == (96 << 20, 33))
    slim(ul, name)
    ul("update", "--restart", "no", name)
    os.kill(ul.pid(name), signal.SIGKILL)
    assert ul.out("wait", name) == "137"
    assert until(lambda: ul.out("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", name) == "exited 1")


def test_a_paused_one(ul: Installation) -> None:
    name = ul.start("box", "sleep", "60")
    ul("pause", name)
    ul("update", "--pids-limit", "12", "-m", "64m", name)
    assert limits(name) == (64 << 20, 12)
    ul("unpause", name)
    assert ul.out("inspect", "-f", "{{.State.Status}}", name) == "running"


def test_several(ul: Installation) -> None:
    one, two = ul.start("--name", "one", "box", "sleep", "60"), ul.start("--name", "two", "box", "sleep", "60")
    done = ul("update", "--pids-limit", "21", "one", "nobody", "two", code=1)
    assert done.stdout.split() == [b"one", b"two"] and b"No such container: nobody" in done.stderr
    assert (limits(one)[1], limits(two)[1]) == (21, 21)


@pytest.mark.parametrize(
    ("before", "words", "text"),
    [
        ([], [], "you must provide one or more flags when using this command"),
        (["--cpus", "0.5"], ["--cpu-quota", "5000"], "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (["--cpu-period", "5000"], ["--cpus", "1"], "Nano CPUs cannot be updated as CPU Period has already been set"),
        (["-m", "64m", "--memory-swap", "96m"], ["-m", "128m"], "smaller than already set memoryswap limit"),
        ([], ["--memory-swap", "1g"], "you should always set the memory limit"),
        ([], ["-m", "1m"], "minimum memory limit allowed is 6MB"),
        ([], ["--cpuset-cpus", "4095"], "requested CPUs are not available"),
        ([], ["--restart", "sometimes"], "invalid restart policy"),
        (["--rm"], ["--restart", "always"], "Restart policy cannot be updated because AutoRemove is enabled"),
    ],
)
def test_refused(ul: Installation, before: list[str], words: list[str], text: str) -> None:
    name = ul.start(*before, "box", "sleep", "60")
    shown = ul.out("inspect", "-f", "{{json .HostConfig}}", name)
    done = ul("update", *words, name, code=None)
    assert done.returncode in (1, 125) and text in done.stderr.decode()
    assert ul.out("inspect", "-f", "{{json .HostConfig}}", name) == shown


def test_a_limit_that_the_kernel_refuses_changes_nothing(ul: Installation) -> None:
    if VERSION != "v1":
        pytest.skip("version 2 kills instead of refusing a limit that is below what is used")
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 && sleep 60"
    name = ul.start("-m", "64m", "--memory-swap", "64m", "--pids-limit", "20", "box", "sh", "-c", script)
    assert until(lambda: group_of(name).stats()["memory"]["usage"]["usage"] > 40 << 20)
    shown = ul.out("inspect", "-f", "{{json .HostConfig}}", name)
    if Path("/proc/swaps").read_text().count("\n") > 1:
        pytest.skip("with swap the kernel finds room")
    done = ul("update", "--pids-limit", "7", "-m", "8m", "--memory-swap", "8m", name, code=1)
    assert b"asked for by linux.resources.memory" in done.stderr
    assert limits(name) == (64 << 20, 20)
    assert ul.out("inspect", "-f", "{{json .HostConfig}}", name) == shown


def test_what_cannot_be_recorded_is_taken_back(ul: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ul.start("-m", "64m", "--pids-limit", "20", "--restart", "always", "box", "sleep", "60")

    def broken(*arguments: object) -> None:
        raise UnderlayError("no monitor today")

    with Engine(str(ul.root), str(ul.state)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(update, "_tell_monitor", broken)
            with pytest.raises(UnderlayError, match="no monitor today"):
                engine.containers.update(name, ContainerOptions(memory=128 << 20, pids_limit=7))
        assert limits(name) == (64 << 20, 20)
        assert engine.containers.inspect(name)["HostConfig"]["Memory"] == 64 << 20
        with pytest.raises(InvalidInput, match="hostname of a container cannot be changed"):
            engine.containers.update(name, ContainerOptions(hostname="x"))
        with pytest.raises(InvalidInput, match="cannot both be set"):
            engine.containers.update(name, ContainerOptions(pids_limit=5, cpus=0.5, cpu_quota=5000))
        assert limits(name) == (64 << 20, 20)


class Updating(threading.Thread):
    """An update in a thread, and what came of it; the monitor that is to be told of it is stopped."""

    def __init__(self, ul: Installation, name: str) -> None:
        super().__init__()
        self.ul, self.name = ul, name
        self.problem: Exception | None = None
        self.monitor = ul.monitor(name)
        os.kill(self.monitor, signal.SIGSTOP)
        self.start()

    def run(self) -> None:
        with Engine(str(self.ul.root), str(self.ul.state)) as engine:
            try:
                engine.containers.update(self.name, ContainerOptions(memory=96 << 20))
            except UnderlayError as error:
                self.problem = error


def memory_of(ul: Installation, name: str) -> tuple[int, int]:
    """The limit that is recorded, and the one that the group has."""
    return int(ul.out("inspect", "-f", "{{.HostConfig.Memory}}", name)), limits(name)[0]


def test_a_monitor_that_does_not_answer(ul: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE", 3.0)
    name = ul.start("-m", "64m", "--restart", "always", "box", "sleep", "60")
    updating = Updating(ul, name)
    try:
        assert until(lambda: limits(name)[0] == 96 << 20)
        # The database can be written meanwhile.
        ul("create", "--name", "meanwhile", "--network", "none", "box", "true")
        assert updating.is_alive()
        updating.join()
    finally:
        os.kill(updating.monitor, signal.SIGCONT)
    assert isinstance(updating.problem, Conflict) and "has not answered" in updating.problem.message
    assert memory_of(ul, name) == (64 << 20, 64 << 20)
    # Nor does the monitor, now that it reads what it was told, start anything else again.
    before = ul.pid(name)
    os.kill(before, signal.SIGKILL)
    assert until(lambda: ul.pid(name) not in (0, before))
    assert memory_of(ul, name) == (64 << 20, 64 << 20)
    ul("update", "-m", "96m", name)
    assert memory_of(ul, name) == (96 << 20, 96 << 20)


def test_a_monitor_that_dies_meanwhile(ul: Installation) -> None:
    name = ul.start("-m", "64m", "--restart", "always", "box", "sleep", "60")
    updating = Updating(ul, name)
    assert until(lambda: limits(name)[0] == 96 << 20)
    os.kill(updating.monitor, signal.SIGKILL)
    updating.join()
    assert updating.problem is None
    assert memory_of(ul, name) == (96 << 20, 96 << 20)
