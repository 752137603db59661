"""After kill -9 and power cuts: what is left is taken by the next command, and restart policies are carried on."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import Installation
from underlay import Engine
from underlay.engine.containers import session
from underlay.linux import userns
from underlay.runtime.monitor import state

ID = "ab" * 32


def killed_monitor(ul: Installation, name: str) -> int:
    """Kill a container's monitor; returns the pid that its program had, which goes with it."""
    pid = ul.pid(name)
    os.kill(ul.monitor(name), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return pid


@contextmanager
def observed(lock: Path) -> Iterator[None]:
    """Hold the lock as an observer does, shared, for half a second from now on."""
    lock.touch()
    fd = os.open(lock, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_SH)
    ended = threading.Timer(0.5, os.close, (fd,))
    ended.start()
    try:
        yield
    finally:
        ended.join()


def test_observers_never_make_the_lock(tmp_path: Path) -> None:
    assert not state.monitored(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_removal_of_the_state_is_repeated(ul: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = ul.state / "containers" / ID
    directory.mkdir()
    remove, calls = userns.remove_tree_alone, []

    def disturbed(path: str) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise OSError(39, "Directory not empty", path)
        remove(path)

    monkeypatch.setattr(userns, "remove_tree_alone", disturbed)
    with Engine(str(ul.root), str(ul.state)) as engine:
        session.forget_state(engine._store, ID)
    assert len(calls) == 2 and not directory.exists()


def test_a_start_waits_for_observers(ul: Installation) -> None:
    container = ul.out("create", "--name", "watched", "--network", "none", "box", "true")
    (ul.state / "containers" / container).mkdir(exist_ok=True)
    with observed(ul.state / "containers" / container / "lock"):
        ul("start", "watched")
    assert ul.out("wait", "watched") == "0"
    ul("rm", "watched")


def test_a_start_of_what_runs_is_told_at_once(ul: Installation) -> None:
    ul.start("--name", "busy", "box", "sleep", "60")
    with Engine(str(ul.root), str(ul.state)) as engine:
        began = time.monotonic()
        with pytest.raises(Exception, match="already running"):
            session._lock_for_start(engine._store, engine.containers.get("busy").id, "busy")
        assert time.monotonic() - began < session._START_PATIENCE / 2
    ul("rm", "-f", "busy")


def test_runs_that_remove_themselves_end_well_while_others_look(ul: Installation) -> None:
    over = threading.Event()
    wrong: list[str] = []

    def poll() -> None:
        with Engine(str(ul.root), str(ul.state)) as engine:
            while not over.is_set():
                try:
                    engine.containers.list(all=True)
                except Exception as error:
                    wrong.append(repr(error))

    pollers = [threading.Thread(target=poll) for _ in range(2)]
    for poller in pollers:
        poller.start()
    try:
        for _ in range(15):
            assert ul.run("box", "echo", "hi") == "hi"
    finally:
        over.set()
        for poller in pollers:
            poller.join()
    assert wrong == [] and os.listdir(ul.state / "containers") == []


def test_a_container_that_removes_itself_goes_with_its_monitor(ul: Installation) -> None:
    container = ul.start("--rm", "--name", "passing", "-v", "/data", "box", "sleep", "60")
    (volume,) = ul.out("volume", "ls", "-q").split()
    killed_monitor(ul, "passing")
    assert ul.out("ps", "-aq") == ""
    assert not (ul.root / "containers" / container).exists() and not (ul.state / "containers" / container).exists()
    assert not (ul.root / "volumes" / volume).exists()
    assert ul.remains([container]) == []


@pytest.mark.parametrize(
    ("policy", "goes_on"), [("no", False), ("always", True), ("unless-stopped", True), ("on-failure:2", True)]
)
def test_restart_policies_are_carried_on(ul: Installation, policy: str, goes_on: bool) -> None:
    ul.start("--restart", policy, "--name", "served", "box", "sleep", "60")
    before = killed_monitor(ul, "served")
    ul("ps")
    running = ul.out("inspect", "-f", "{{.State.Running}}", "served")
    assert running == ("true" if goes_on else "false")
    if goes_on:
        assert ul.pid("served") != before
        ul("stop", "-t", "0", "served")
        ul("ps")
        assert ul.out("inspect", "-f", "{{.State.Running}}", "served") == "false"
    else:
        assert ul.out("inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", "served").startswith("137 the monitor")
    ul("rm", "served")


def test_restart_policies_are_carried_on_after_a_boot(ul: Installation) -> None:
    """A boot clears the state directory, and no process, mount or control group of before is left."""
    ids = [ul.start("--restart", "always", "--name", "server", "box", "sleep", "60")]
    ids.append(ul.start("--rm", "--name", "visitor", "box", "sleep", "60"))
    ids.append(ul.start("--name", "worker", "box", "sleep", "60"))
    for name in ("server", "visitor", "worker"):
        killed_monitor(ul, name)
    for container in ids:
        for group in (
            *Path("/sys/fs/cgroup").glob(f"*/underlay/{container}"),
            Path("/sys/fs/cgroup/underlay") / container,
        ):
            if group.exists():
                group.rmdir()
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        if str(ul.state) in mount:
            subprocess.run(["umount", mount.split()[1]], check=True)
    subprocess.run(["rm", "-rf", str(ul.state)], check=True)
    assert ul.out("ps", "-a", "--format", "{{.Names}} {{.State}}").split("\n") == ["worker exited", "server running"]
    ul("rm", "-f", "server", "worker")


def test_files_without_a_row_are_taken(ul: Installation) -> None:
    volume = ul.out("volume", "create", "kept")
    (ul.root / "containers" / ID / "upper").mkdir(parents=True)
    (ul.root / "volumes" / "junk" / "_data").mkdir(parents=True)
    (ul.state / "containers" / ID).mkdir()
    (ul.state / "containers" / ID / "lock").touch()
    build = ul.state / "containers" / "build-999999999-1-00"
    build.mkdir()
    for directory in (ul.state / "containers" / ID, build):
        (directory / "net").touch()
        subprocess.run(["unshare", f"--net={directory}/net", "true"], check=True)
    ul("ps")
    assert os.listdir(ul.root / "containers") == os.listdir(ul.state / "containers") == []
    assert os.listdir(ul.root / "volumes") == [volume] and ul.remains([ID]) == []
    ul("volume", "rm", "kept")


def test_a_container_that_is_being_made_is_left_alone(ul: Installation) -> None:
    directory = ul.root / "containers" / ID
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    ul("ps")
    assert directory.exists()
    os.close(fd)
    ul("ps")
    assert not directory.exists()


def test_rows_without_files_are_found_and_mended(ul: Installation) -> None:
    container = ul.out("create", "--name", "hollow", "--network", "none", "box", "true")
    ul("volume", "create", "empty")
    subprocess.run(
        ["rm", "-rf", str(ul.root / "containers" / container), str(ul.root / "volumes" / "empty")], check=True
    )
    found = ul.out("system", "check", code=1)
    assert "container hollow: its files are missing [lost]" in found
    assert "volume empty: its directory is missing [lost]" in found
    ul("system", "check", "--repair", code=1)
    assert "0 lost, 0 to repair" in ul.out("system", "check")
    assert ul.out("ps", "-aq") == "" and ul.out("volume", "ls", "-q") == "empty"
    ul("volume", "rm", "empty")


def test_output_that_cannot_be_written_ends_the_container(ul: Installation) -> None:
    """The reader of a pipe that goes leaves the container running, as with docker; a full disk does not."""
    words = [*ul.command, "run", "--network", "none"]
    for extra, remains in (("--rm", ""), ("--name=full", "full exited")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*words, extra, "box", "sh", "-c", "while true; do echo hi; sleep 0.05; done"],
                stdout=full,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                env=ul.environment,
                timeout=30,
            )
        assert done.returncode == 125
        assert b"cannot write the container's output to standard output: No space left on device" in done.stderr
        assert ul.out("ps", "-a", "--format", "{{.Names}} {{.State}}") == remains
    ul("rm", "full")


def test_a_run_that_is_killed_before_the_start_leaves_nothing(ul: Installation) -> None:
    """What `create --rm` has made stays, as with docker."""
    script = (
        "import os, sys\n"
        "from underlay import Engine\n"
        "from underlay.engine.containers import session\n"
        "session.start = lambda *_: os.kill(os.getpid(), 9)\n"
        "with Engine(*sys.argv[1:]) as engine:\n"
        "    engine.containers.run('box', 'true', remove=True, volumes=['named:/v', '/data'], network='none')\n"
    )
    kept = ul.out("create", "--rm", "--network", "none", "box", "true")
    words = [ul.command[0], "-c", script, str(ul.root), str(ul.state)]
    assert subprocess.run(words, env=ul.environment, timeout=30).returncode == -signal.SIGKILL
    assert ul.out("ps", "-aq", "--no-trunc") == kept
    assert os.listdir(ul.root / "containers") == [kept] and os.listdir(ul.root / "volumes") == ["named"]
    ul("rm", kept)
    ul("volume", "rm", "named")


def test_what_cannot_be_removed_is_said_and_keeps_nobody(ul: Installation) -> None:
    stuck = ul.root / "containers" / ID
    (stuck / "upper").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(stuck / "upper")], check=True)
    try:
        done = ul("ps", "-a")
        assert b"what killed commands have left of containers cannot be removed" in done.stderr
        assert ul.run("box", "echo", "on") == "on"
    finally:
        subprocess.run(["umount", str(stuck / "upper")], check=True)
    assert ul("ps", "-a").stderr == b"" and not stuck.exists()


def test_a_container_that_was_only_created_is_not_touched(ul: Installation) -> None:
    """With --rm, too: looking at it makes no state directory, in which the next look would find something to do."""
    made = [ul.out("create", *more, "--network", "none", "box", "true") for more in ((), ("--rm",))]
    (ul.state / "swept").unlink(missing_ok=True)
    for _ in range(2):
        assert sorted(ul.out("ps", "-aq", "--no-trunc").split()) == sorted(made)
    assert os.listdir(ul.state / "containers") == []
    ul("rm", *made)
