"""One running container over each driver: what is run in it, what is shown of it; and the sandbox of a machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar, needs_root, until
from machines import DRIVERS, Driver, give_kernels
from persons import Person
from underlay.runtime.machine import outside

pytestmark = pytest.mark.root
ONLY_MACHINE = pytest.mark.parametrize("running", ["machine"], indirect=True)


@pytest.fixture(scope="module", params=DRIVERS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """An installation of its own in which the container `it` runs."""
    needs_root()
    kernels = request.getfixturevalue("kernels") if request.param == "machine" else None
    ul = Installation(tmp_path_factory.mktemp("running"))
    ul("import", "-", "box", input=image_tar())
    if kernels is not None:
        give_kernels(ul, kernels)
    driver = Driver(ul, request.param)
    words = [
        "--name",
        "it",
        "--hostname",
        "inside",
        "-e",
        "A=b",
        "--memory",
        "64m",
        "--pids-limit",
        "40",
        "--stop-signal",
    ]
    words += ["INT", "--health-cmd", "test -e /tmp/fine", "--health-interval", "200ms", "--health-retries", "1000"]
    script = "trap 'exit 3' INT; echo begun; echo wrong >&2; while :; do sleep 0.1; done"
    driver.start(*words, "--", "sh", "-c", script)
    yield driver
    ul.clean()


def test_codes_streams_and_users(running: Driver) -> None:
    ul = running.ul
    done = ul("exec", "-i", "it", "sh", "-c", "echo out; cat; echo err >&2; exit 9", input=b"typed\n", code=9)
    assert (done.stdout, done.stderr) == (b"out\ntyped\n", b"err\n")
    script = "id -u; id -g; pwd; echo $A$B; hostname; cat /proc/sys/kernel/osrelease"
    lines = running.sh("it", script, "-u", "alice", "-w", "/data", "-e", "B=c").split()
    assert lines[:5] == ["1000", "1001", "/data", "bc", "inside"]
    assert (lines[5] == os.uname().release) == (running.name == "process")
    status = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"
    assert running.sh("it", status).split() == [
        *("CapInh:", "0" * 16, "CapPrm:", "00000000a80425fb", "CapEff:", "00000000a80425fb"),
        *("CapBnd:", "00000000a80425fb", "CapAmb:", "0" * 16, "NoNewPrivs:", "0", "Seccomp:", "2"),
    ]
    assert "Seccomp:\t0" in running.sh("it", status, "--privileged").splitlines()
    done = ul("exec", "it", "nothing-of-that-name", code=127)
    assert b'exec: "nothing-of-that-name": executable file not found in $PATH' in done.stderr
    assert ul("exec", "it", "/data", code=126).stderr.rstrip().endswith(b'exec: "/data": permission denied')
    assert b"nobody-there" in ul("exec", "-u", "nobody-there", "it", "true", code=126).stderr
    running.sh("it", "kill -9 $$", code=137)
    data = os.urandom(2 << 20)
    assert ul("exec", "-i", "it", "cat", input=data).stdout == data


def test_a_detached_program(running: Driver) -> None:
    running.ul("exec", "-d", "it", "sh", "-c", "echo here > /tmp/detached; sleep 5421")
    assert until(lambda: running.sh("it", "cat /tmp/detached 2>/dev/null; true") == "here")
    assert "sleep 5421" in running.ul.out("top", "it")
    running.sh("it", "kill $(ps -o pid,args | grep 'sleep 542[1]' | cut -c1-6)")
    assert until(lambda: "sleep 5421" not in running.ul.out("top", "it"))


def test_a_terminal(running: Driver) -> None:
    person = Person(running.ul, "exec", "-it", "-u", "alice", "it", "sh")
    person.wait_for(b"$ ")
    person.type(b"stty size; tty; id -un\n")
    assert b"40 123\r\n/dev/pts/0\r\nalice\r\n" in person.wait_for(b"alice\r\n")
    person.type(b"exit 6\n")
    assert person.end() == 6


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_a_caller_who_is_killed(running: Driver, terminal: bool) -> None:
    """The program's input ends and its output breaks, or its terminal hangs up: it does not stay."""
    words = ["exec", "-it" if terminal else "-i", "it", "sh", "-c", "echo here; cat; sleep 0.1; exec cat /dev/zero"]
    if terminal:
        person = Person(running.ul, *words)
        person.wait_for(b"here")
        os.kill(person.pid, signal.SIGKILL)
        os.waitpid(person.pid, 0)
        os.close(person.fd)
    else:
        caller = subprocess.Popen(
            [*running.ul.command, *words], env=running.ul.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert caller.stdout is not None and caller.stdout.read(5) == b"here\n"
        caller.kill()
        caller.communicate()
    assert until(lambda: "cat" not in running.ul.out("top", "it", "-o", "comm").split())


def test_what_is_shown_of_it(running: Driver) -> None:
    ul = running.ul
    logs = ul("logs", "it")
    assert (logs.stdout, logs.stderr) == (b"begun\n", b"wrong\n")
    assert ul.out("ps", "--format", "{{.Names}} {{.Image}} {{.State}}") == "it box running"
    found = json.loads(ul.out("inspect", "it"))[0]
    assert found["HostConfig"]["Isolation"] == ("machine" if running.name == "machine" else "")
    assert (
        found["HostConfig"]["Memory"] == 64 << 20 and found["State"]["Running"] and found["State"]["OOMKilled"] is False
    )
    rows = ul.out("top", "it", "-o", "pid,user,args").splitlines()
    assert rows[0].split() == ["PID", "USER", "COMMAND"]
    assert len([row for row in rows if "sh -c trap" in row and " root " in row]) == 1
    stats = json.loads(ul.out("stats", "--no-stream", "--format", "json", "it"))
    assert stats["Name"] == "it" and int(stats["PIDs"]) >= 1
    assert running.sh("it", "ls /sys/class/net") == "lo"
    memory = running.sh(
        "it", "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    )
    assert int(memory) == 64 << 20


def test_the_limit_of_processes(running: Driver) -> None:
    script = "i=0; while [ $i -lt 60 ]; do sleep 3 & i=$((i+1)); done; echo never"
    done = running.ul("exec", "it", "sh", "-c", script, code=2)
    assert b"fork" in done.stderr and b"never" not in done.stdout
    assert until(lambda: running.ul.out("top", "it").count("sleep 3") == 0)


def test_pausing(running: Driver) -> None:
    ul = running.ul
    running.sh("it", "while :; do echo x >> /tmp/ticks; sleep 0.02; done", "-d")
    assert until(lambda: running.sh("it", "wc -l < /tmp/ticks || echo 0") not in ("0", ""))
    ul("pause", "it")
    try:
        assert running.inspect("it", "{{.State.Status}}") == "paused"
        assert b"is paused" in ul("exec", "it", "true", code=1).stderr
        # Nothing of it runs on the host either.
        before = _ticks(ul.pid("it"))
        time.sleep(0.5)
        assert _ticks(ul.pid("it")) == before
    finally:
        ul("unpause", "it")
    assert running.inspect("it", "{{.State.Status}}") == "running"
    counted = int(running.sh("it", "wc -l < /tmp/ticks"))
    assert until(lambda: int(running.sh("it", "wc -l < /tmp/ticks")) > counted)
    running.sh("it", "kill $(ps -o pid,args | grep tick[s] | cut -c1-6)")


def _ticks(pid: int) -> list[str]:
    """Return the processor time of a process and its children."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [" ".join(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]) for each in pids]


def test_health(running: Driver) -> None:
    assert running.inspect("it", "{{.State.Health.Status}}") == "starting"
    running.sh("it", "touch /tmp/fine")
    assert until(lambda: running.inspect("it", "{{.State.Health.Status}}") == "healthy"), running.ul.out(
        "inspect", "it"
    )
    assert running.ul.out("ps", "--format", "{{.Status}}").endswith("(healthy)")


@ONLY_MACHINE
def test_the_sandbox_of_a_machine(running: Driver) -> None:
    """What somebody finds who has got out of the machine, or out of QEMU."""
    standin = running.ul.pid("it")
    [qemu] = map(int, Path(f"/proc/{standin}/task/{standin}/children").read_text().split())
    assert "qemu-system" in Path(f"/proc/{qemu}/cmdline").read_text()
    for pid in (standin, qemu):
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        numbers = {*status["Uid"].split(), *status["Gid"].split(), *status["Groups"].split()}
        assert len(numbers) == 1 and 2_000_000_000 <= int(numbers.pop()) < 2_140_000_000
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        for kind in ("mnt", "pid", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
        assert status["NSpid"].split()[1] == ("1" if pid == standin else "2")
        root = Path(f"/proc/{pid}/root")
        # The interpreter and this source may be anywhere; of what is beside them nothing is there.
        places = [Path(place) for place in outside.places(sys.executable, sys.path, "/usr/bin/qemu-system-x86_64")]
        for top in ("root", "home", "var", "tmp", "sys", "run", "boot", "mnt", "srv", "opt"):
            for path in (root / top).rglob("*"):
                inside = Path("/") / path.relative_to(root)
                assert any(inside.is_relative_to(each) or each.is_relative_to(inside) for each in places), inside
        # The store is here, but for the kernel and the initrd; what is open was opened for it.
        assert not (root / str(running.ul.root).lstrip("/")).exists() and not (root / "etc/passwd").exists()
        assert {path.name for path in (root / "machine").iterdir()} == {"kernel", "initrd"}
        assert {path.name for path in (root / "dev").iterdir()}.isdisjoint({"sda", "vda", "loop0", "kmsg", "mem"})
        assert {name.name for name in Path(f"/proc/{pid}/root/sys").glob("*")} == set()
        with open(f"/proc/{pid}/mounts", encoding="utf-8") as file:
            mounts = [line.split() for line in file]
        assert [m[1] for m in mounts if "ro" not in m[3].split(",") and m[2] not in ("proc", "tmpfs", "devpts")] == []
        assert not any(
            str(running.ul.root) in Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")
        )
    flags = [os.readlink(f"/proc/{qemu}/fd/{fd}") for fd in os.listdir(f"/proc/{qemu}/fd")]
    for fd, target in zip(os.listdir(f"/proc/{qemu}/fd"), flags, strict=True):
        if str(running.ul.root) in target:
            writable = int(Path(f"/proc/{qemu}/fdinfo/{fd}").read_text().split()[3], 8) & 3
            assert not writable or target.endswith("/disk"), target


def test_its_end(running: Driver) -> None:
    """The last test: it ends as its program says."""
    running.ul("stop", "it")
    assert running.inspect("it", "{{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Status}}") == "3 false exited"
