"""The life of containers: list, stop, start, restart, logs, exec, and what kill -9 of each party leaves."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from engines import Installation, until
from underlay.runtime.monitor import state

pytestmark = pytest.mark.root


def states(ul: Installation) -> str:
    return ul.out("ps", "-a", "--format", "{{.Names}} {{.State}}")


def test_create_start_stop_start_remove(ul: Installation) -> None:
    ul("create", "--name", "life", "--network", "none", "box", "sh", "-c", "echo run >> /log; sleep 60")
    assert states(ul) == "life created"
    ul("start", "life")
    assert states(ul) == "life running"
    assert b"container is running" in ul("rm", "life", code=1).stderr
    ul("stop", "-t", "0", "life")
    assert states(ul) == "life exited"
    ul("stop", "life")  # stopping what has ended is fine
    ul("start", "life")
    # The writable layer has survived.
    assert until(lambda: ul.out("exec", "life", "cat", "/log") == "run\nrun")
    ul("restart", "-t", "0", "life")
    assert states(ul) == "life running"
    ul("rm", "-f", "life")
    assert states(ul) == ""


def test_stop_signal_and_timeout(ul: Installation) -> None:
    script = "trap 'exit 3' INT; echo up; while :; do sleep 0.05; done"
    ul.start("--name", "polite", "--stop-signal", "INT", "box", "sh", "-c", script)
    assert until(lambda: ul.out("logs", "polite") == "up")
    ul("stop", "polite")
    assert ul.out("inspect", "-f", "{{.State.ExitCode}}", "polite") == "3"
    ul("rm", "polite")
    script = "trap 'sleep 3; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    ul.start("--name", "deaf", "--stop-timeout", "0", "box", "sh", "-c", script)
    assert until(lambda: ul.out("logs", "deaf") == "up")
    ul("stop", "deaf")
    assert ul.out("inspect", "-f", "{{.State.ExitCode}}", "deaf") == "137"
    ul("rm", "deaf")


def test_start_attached(ul: Installation) -> None:
    ul("create", "--name", "again", "--network", "none", "box", "sh", "-c", "echo hello; exit 7")
    assert ul.out("start", "-a", "again", code=7) == "hello"
    ul("rm", "again")


def test_ps_columns_and_filters(ul: Installation) -> None:
    one = ul.start("--name", "one", "--label", "tier=web", "box", "sleep", "60")
    two = ul.start("--name", "two", "--label", "tier=db", "box", "sh", "-c", "exit 4")
    ul.out("wait", two)
    head, row = ul.out("ps").splitlines()
    assert head.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert row.startswith(one[:12]) and '"sleep 60"' in row and "Up " in row and row.endswith("one")
    assert ul.out("ps", "-a", "--filter", "exited=4", "--format", "{{.Names}}") == "two"
    assert ul.out("ps", "-q", "--filter", "label=tier=web") == one[:12]
    assert ul.out("ps", "-a", "--filter", "name=tw", "--format", "{{.ID}}", "--no-trunc") == two
    assert ul.out("ps", "-a", "--filter", "status=exited", "--format", "{{.Status}}").startswith("Exited (4) ")
    assert ul.out("ps", "-aq", "--filter", "ancestor=box").split() == [two[:12], one[:12]]
    assert ul.out("ps", "-lq") == two[:12] and ul.out("ps", "-n", "1", "-q") == two[:12]
    rows = [json.loads(line) for line in ul.out("ps", "-a", "--format", "json").splitlines()]
    assert {row["Names"] for row in rows} == {"one", "two"}
    assert b"invalid filter" in ul("ps", "--filter", "shoe=9", code=1).stderr
    ul("rm", "-f", "one", "two")


def test_inspect_has_dockers_shape(ul: Installation) -> None:
    ul.start("--name", "seen", "-e", "A=b", "-u", "alice", "--memory", "32m", "box", "sleep", "60")
    value = json.loads(ul.out("inspect", "seen"))[0]
    assert value["Name"] == "/seen" and value["State"]["Running"] is True and value["State"]["Pid"] > 0
    assert value["Config"]["User"] == "alice" and "A=b" in value["Config"]["Env"]
    assert value["HostConfig"]["Memory"] == 32 << 20 and value["Path"] == "sleep" and value["Args"] == ["60"]
    assert b"No such object: nope" in ul("inspect", "nope", code=1).stderr
    ul("rm", "-f", "seen")


def test_logs(ul: Installation) -> None:
    script = "echo one; echo err >&2; echo two; printf three"
    name = ul.start("box", "sh", "-c", script)
    ul.out("wait", name)
    done = ul("logs", name)
    assert (done.stdout, done.stderr) == (b"one\ntwo\nthree", b"err\n")
    assert ul.out("logs", "--tail", "2", name) == "two\nthree"
    assert ul.out("logs", "-n", "0", name) == ""
    assert ul.out("logs", "--tail", "-5", name) == "one\ntwo\nthree"
    # As docker shows a record without details: there are none that a driver here would keep.
    assert ul.out("logs", "--details", name) == "\n".join(" " + line for line in ("one", "two", "three"))
    for word in ("²", "--5", "1_0"):
        assert b"invalid value for --tail" in ul("logs", f"--tail={word}", name, code=1).stderr
    stamped = ul.out("logs", "-t", name).splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["one", "two", "three"]
    assert all(line[:4].isdigit() and line[29] == "Z" for line in stamped)
    assert ul.out("logs", "--since", "1h", name) == "one\ntwo\nthree"
    assert ul.out("logs", "--until", "1h", name) == ""
    ul("rm", name)


def test_logs_follow_ends_with_the_container(ul: Installation) -> None:
    name = ul.start("box", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
    assert ul.out("logs", "-f", name) == "1\n2\n3\n4\n5"
    ul("rm", name)


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_log_drivers_turn_over(ul: Installation, driver: str) -> None:
    options = ["--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=3"]
    name = ul.start(*options, "box", "sh", "-c", "seq 1 20000")
    ul.out("wait", name)
    lines = ul.out("logs", name).splitlines()
    assert lines[-1] == "20000"
    numbers = [int(line) for line in lines[1:]]
    assert numbers == list(range(numbers[0], 20001))
    files = [path for path in (ul.root / "containers" / name).iterdir() if path.name.startswith("log")]
    # A record is never cut, and one read may be as large as a pipe.
    assert len(files) <= 3 and all(path.stat().st_size < 300_000 for path in files)
    ul("rm", name)


def test_log_driver_none(ul: Installation) -> None:
    name = ul.start("--log-driver", "none", "box", "echo", "x")
    ul.out("wait", name)
    assert b"does not support reading" in ul("logs", name, code=1).stderr
    ul("rm", name)


def test_binary_output_is_clean_in_the_log(ul: Installation) -> None:
    data = os.urandom(200_000)
    name = ul.out("create", "-i", "--network", "none", "box", "cat")
    assert ul("start", "-ai", name, input=data).stdout == data
    assert ul("logs", name).stdout == data
    ul("rm", name)


def test_exec(ul: Installation) -> None:
    ul.start("--name", "host-of-exec", "-e", "BASE=1", "-w", "/data", "box", "sleep", "60")
    assert ul.out("exec", "host-of-exec", "sh", "-c", "echo $BASE $MORE; pwd", code=0) == "1\n/data"
    assert (
        ul.out(
            "exec",
            "-e",
            "MORE=2",
            "-w",
            "/tmp",
            "-u",
            "alice",
            "host-of-exec",
            "sh",
            "-c",
            "echo $MORE $(pwd) $(id -u)",
        )
        == "2 /tmp 1000"
    )
    assert ul.out("exec", "-i", "host-of-exec", "cat", input=b"piped") == "piped"
    assert ul("exec", "host-of-exec", "sh", "-c", "exit 9", code=9)
    assert b"not found in $PATH" in ul("exec", "host-of-exec", "nope", code=127).stderr
    assert b"unable to find user" in ul("exec", "-u", "nobody-here", "host-of-exec", "true", code=126).stderr
    assert b"No such container" in ul("exec", "nope", "true", code=1).stderr
    status = ul.out("exec", "host-of-exec", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["CapEff"] == "00000000a80425fb" and fields["Seccomp"] == "2" and int(fields["CapInh"], 16) == 0
    assert ul.out("exec", "host-of-exec", "cat", "/proc/self/cgroup") == ul.out(
        "exec", "host-of-exec", "cat", "/proc/1/cgroup"
    )
    ul("exec", "-d", "host-of-exec", "sh", "-c", "echo done > /tmp/mark")
    assert until(lambda: ul.out("exec", "host-of-exec", "cat", "/tmp/mark", code=None) == "done")
    ul("rm", "-f", "host-of-exec")


def test_exec_in_stopped_container(ul: Installation) -> None:
    name = ul.out("create", "box", "true")
    assert b"is not running" in ul("exec", name, "true", code=1).stderr
    ul("rm", name)


def test_pause(ul: Installation) -> None:
    ul.start("--name", "frozen", "box", "sh", "-c", "while :; do echo x; sleep 0.02; done")
    ul("pause", "frozen")
    assert states(ul) == "frozen paused"
    before = ul.out("logs", "frozen")
    time.sleep(0.2)
    assert ul.out("logs", "frozen") == before
    assert b"is paused" in ul("exec", "frozen", "true", code=1).stderr
    ul("unpause", "frozen")
    assert states(ul) == "frozen running"
    ul("pause", "frozen")
    ul("stop", "-t", "1", "frozen")
    ul("rm", "frozen")


def statuses(ul: Installation, name: str) -> list[str]:
    """Start a container and return what becomes of it until it has ended, looked at as often as can be."""
    directories = [f"{place}/containers/{ul.out('inspect', '-f', '{{.Id}}', name)}" for place in (ul.root, ul.state)]
    seen = [state.status(*directories).status]
    with subprocess.Popen([*ul.command, "start", name], env=ul.environment, stdout=subprocess.DEVNULL) as starting:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (seen[-1] == "exited" and not state.monitored(directories[1])):
            word = state.status(*directories).status
            seen += [word] if word != seen[-1] else []
    assert starting.returncode == 0
    return seen


def monitors_lock(ul: Installation) -> tuple[int, int]:
    """The pid of the only monitor of an installation, and its descriptor of the lock on the shared mount."""
    for directory in Path("/proc").glob("[0-9]*/fd"):
        for fd in directory.glob("*"):
            try:
                target = os.readlink(fd)
            except OSError:
                continue  # it has just ended
            if target.startswith(f"{ul.state}/locks/use-"):
                return int(directory.parent.name), int(fd.name)
    pytest.fail("no process holds a shared mount")


def test_a_copy_of_a_monitors_lock_keeps_nothing_mounted(ul: Installation) -> None:
    """A process that was forked meanwhile has one for a moment, and so has the caller that starts a container."""
    if ul.out("info", "--format", "{{.Driver}}") != "erofs":
        pytest.skip("trees are not mounted")
    ul.start("--name", "copied", "box", "sleep", "600")
    pid, number = monitors_lock(ul)
    there = os.pidfd_open(pid)
    copy = ctypes.CDLL(None, use_errno=True).syscall(438, there, number, 0)  # pidfd_getfd(2)
    os.close(there)
    assert copy >= 0, os.strerror(ctypes.get_errno())
    try:
        assert os.listdir(ul.state / "mounts") != []
        ul("rm", "-f", "copied")
        assert until(lambda: os.listdir(ul.state / "mounts") == [])
    finally:
        os.close(copy)


def test_restart_policies(ul: Installation) -> None:
    policy = ("--network", "none", "--restart", "on-failure:2")
    ul("create", "--name", "thrice", *policy, "box", "sh", "-c", "echo again; exit 3")
    seen = statuses(ul, "thrice")
    assert ul.out("logs", "thrice") == "again\nagain\nagain" and states(ul) == "thrice exited"
    # Between two runs it has not ended.
    assert "restarting" in seen and seen[-1] == "exited" and "exited" not in seen[:-1]
    assert ul.out("inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", "thrice") == "2 3"
    ul("rm", "thrice")
    ul.start("--name", "for-ever", "--restart", "always", "box", "sh", "-c", "sleep 0.05")
    assert until(lambda: int(ul.out("inspect", "-f", "{{.RestartCount}}", "for-ever")) >= 2)
    ul("stop", "-t", "1", "for-ever")
    time.sleep(0.5)
    assert states(ul) == "for-ever exited"
    ul("rm", "for-ever")
    assert b"cannot specify both --restart and --rm" in ul("run", "--rm", "--restart", "always", "box", code=125).stderr


def test_wait(ul: Installation) -> None:
    name = ul.start("box", "sh", "-c", "sleep 0.3; exit 6")
    assert ul.out("wait", name, name) == "6\n6"
    ul("rm", name)


def test_slim_monitor_keeps_everything(ul: Installation) -> None:
    # Longer than the time after which the monitor executes itself anew: streams, log and exit code pass through.
    script = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done; cat; exit 8"
    client = subprocess.Popen(
        [*ul.command, "run", "--rm", "-i", "--network", "none", "box", "sh", "-c", script],
        env=ul.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    time.sleep(1.2)
    out, _ = client.communicate(b"late input\n", timeout=20)
    assert out == b"1\n2\n3\n4\n5\n6\nlate input\n" and client.returncode == 8


@pytest.mark.parametrize("delay", [0.0, 0.8])
def test_killed_monitor(ul: Installation, delay: float) -> None:
    name = ul.start("--name", "orphan", "box", "sleep", "60")
    time.sleep(delay)  # before and after the monitor has become slim
    os.kill(ul.monitor("orphan"), signal.SIGKILL)
    assert until(lambda: states(ul) == "orphan exited")
    assert ul.out("inspect", "-f", "{{.State.ExitCode}}", "orphan") == "137"
    ul("start", "orphan")
    assert states(ul) == "orphan running"
    os.kill(ul.monitor("orphan"), signal.SIGKILL)
    assert until(lambda: states(ul) == "orphan exited")
    ul("rm", "orphan")
    assert ul.remains([name]) == []


def test_killed_init(ul: Installation) -> None:
    name = ul.start("--name", "headless", "box", "sh", "-c", "sleep 600 & sleep 600")
    os.kill(ul.pid("headless"), signal.SIGKILL)
    assert ul.out("wait", "headless") == "137"
    ul("rm", "headless")
    assert ul.remains([name]) == []


def test_killed_command_while_starting(ul: Installation) -> None:
    for delay in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08):
        client = subprocess.Popen(
            [*ul.command, "run", "-d", "--network", "none", "box", "sleep", "60"],
            env=ul.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        client.kill()
        client.wait()
    time.sleep(0.5)
    # What was recorded is listed truthfully and can be removed.
    ids = ul.out("ps", "-aq", "--no-trunc").split()
    if ids:
        ul("rm", "-f", *ids)
    assert ul.remains(ids) == []


def test_full_disk_for_the_log(ul: Installation, tmp_path: Path) -> None:
    name = ul.out(
        "create",
        "--name",
        "talker",
        "--network",
        "none",
        "box",
        "sh",
        "-c",
        "seq 1 200000; echo end >&2; sleep 0.2; exit 5",
    )
    directory = ul.root / "containers" / name
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", small], check=True)
    try:
        (directory / "log").symlink_to(small / "log")
        # A link in place of the log is not followed: nothing is written, the container runs and ends truthfully.
        assert ul.out("start", "-a", name, code=5).endswith("200000")
        (directory / "log").unlink()
        subprocess.run(["mount", "--bind", small, directory], check=True)
        try:
            for item in ("upper", "work"):
                (directory / item).mkdir()
            for item in ("hosts", "hostname", "resolv.conf"):
                (directory / item).write_text("")
            assert ul.out("start", "-a", name, code=5).endswith("200000")
            assert ul.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", name).startswith(
                "exited 5 output lost to the log"
            )
        finally:
            subprocess.run(["umount", directory], check=True)
    finally:
        subprocess.run(["umount", small], check=True)
    ul("rm", name)


def test_fifty_at_once(ul: Installation) -> None:
    ids: list[str] = []
    lock = threading.Lock()

    def some(count: int) -> None:
        for _ in range(count):
            name = ul.start("box", "sleep", "300")
            with lock:
                ids.append(name)

    threads = [threading.Thread(target=some, args=(10,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 50
    assert len(ul.out("ps", "-q").split()) == 50
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(ul.root.parent) in line]
    assert len(mounts) <= 1  # one index, shared by all
    ul("stop", "-t", "0", *ids)
    assert ul.out("ps", "-q") == ""
    ul("rm", *ids)
    assert ul.remains(ids) == []


def test_prune(ul: Installation) -> None:
    name = ul.start("box", "true")
    ul.out("wait", name)
    text = ul.out("container", "prune", "-f")
    assert name in text and "Total reclaimed space:" in text
    assert ul.out("ps", "-aq") == ""


@pytest.mark.parametrize("command", ["kill", "pause", "restart", "rm", "start", "stop", "unpause"])
def test_a_failure_does_not_keep_the_others_and_the_terminal_obeys_no_name(ul: Installation, command: str) -> None:
    ul("run", "-d", "--name", "here", "--network", "none", "--stop-signal", "KILL", "box", "sleep", "600")
    if command == "unpause":
        ul("pause", "here")
    elif command in ("rm", "start"):
        ul("kill", "here")
    done = ul(command, "no\x1b[2Jsuch", "here", "none", code=1)
    assert done.stdout == b"here\n"
    assert b"\x1b" not in done.stderr and done.stderr.count(b"No such container") == 2
    ul("rm", "-f", "here")


def test_what_can_be_done_is_said_after_each_failure(ul: Installation) -> None:
    ul("run", "-d", "--name", "busy", "--network", "none", "box", "sleep", "600")
    assert b"hint: `underlay rm -f busy` does both" in ul("rm", "busy", code=1).stderr
    ul("rm", "-f", "busy")
