"""What goes wrong around containers: several who act at once, odd callers, full disks, processes killed at each step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar, needs_root, until

pytestmark = pytest.mark.root


def begin(ul: Installation, *words: str, **more: object) -> subprocess.Popen[bytes]:
    """Start a command without waiting for it."""
    settings: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ul.environment, **more}
    return subprocess.Popen([*ul.command, *words], **settings)


def shell(ul: Installation, script: str, timeout: float = 30) -> subprocess.CompletedProcess[bytes]:
    """Run a shell script in which `ul` is the command."""
    command = "ul() { " + " ".join(ul.command) + ' "$@"; }\n'
    return subprocess.run(["bash", "-c", command + script], env=ul.environment, capture_output=True, timeout=timeout)


def listed(ul: Installation) -> list[str]:
    return ul.out("ps", "-a", "--format", "{{.Names}}").split()


# --rm: someone removes it, whoever ended it and whoever looked on.


@pytest.mark.parametrize("end", ["stop", "kill", "wait", "rm", "itself", "logs"])
def test_detached_with_rm_is_removed_whoever_listens(ul: Installation, end: str) -> None:
    seconds = "0.4" if end in ("wait", "itself", "logs") else "60"
    name = ul.start("--rm", "--name", f"gone-{end}", "-v", "/anonymous", "box", "sleep", seconds)
    words = {
        "stop": ("stop", "-t", "0"),
        "kill": ("kill",),
        "wait": ("wait",),
        "rm": ("rm", "-f"),
        "logs": ("logs", "-f"),
    }
    if end != "itself":
        ul(*words[end], name)
    assert until(lambda: listed(ul) == [])
    assert until(lambda: not (ul.state / "containers" / name).exists())
    assert not (ul.root / "containers" / name).exists() and list((ul.root / "volumes").glob("?" * 64)) == []


@pytest.mark.parametrize("end", [("rm", "-f"), ("stop", "-t", "0"), ("kill",)])
def test_foreground_with_rm_ended_by_others(ul: Installation, end: tuple[str, ...]) -> None:
    for _ in range(4):
        client = begin(ul, "run", "--rm", "--name", "both", "--network", "none", "box", "sleep", "60")
        assert until(lambda: ul.out("ps", "--format", "{{.Names}}") == "both")
        ul(*end, "both")
        err = client.communicate(timeout=20)[1]
        assert (client.returncode, err) == (137, b"")
        assert until(lambda: listed(ul) == [])
        assert until(lambda: list((ul.state / "containers").iterdir()) == [])


# Several at once.


def test_double_start(ul: Installation) -> None:
    ul("create", "--name", "twice", "--network", "none", "box", "sh", "-c", "echo run >> /count; sleep 60")
    clients = [begin(ul, "start", "twice") for _ in range(6)]
    codes = [client.wait(30) for client in clients]
    errors = b"".join(client.communicate()[1] for client in clients)
    assert 0 in codes and b"Traceback" not in errors
    assert ul.out("exec", "twice", "cat", "/count") == "run"
    ul("rm", "-f", "twice")


def test_looking_does_not_keep_from_starting(ul: Installation) -> None:
    stop = threading.Event()

    def look() -> None:
        from underlay import Engine

        with Engine(str(ul.root), str(ul.state)) as engine:
            while not stop.is_set():
                engine.containers.list(all=True)

    ul("create", "--name", "seen", "--network", "none", "box", "true")
    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            assert ul("start", "-a", "seen").returncode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    ul("rm", "seen")


def test_start_stop_kill_and_rm_at_once(ul: Installation) -> None:
    for _ in range(3):
        name = ul.out("create", "--name", "torn", "--network", "none", "box", "sleep", "60")
        words = (
            ("start",),
            ("stop", "-t", "0"),
            ("rm", "-f"),
            ("kill",),
            ("start",),
            ("rm", "-f"),
            ("restart", "-t", "0"),
        )
        clients = [begin(ul, *each, "torn") for each in words]
        errors = b""
        for client in clients:
            errors += client.communicate(timeout=40)[1]
        assert b"Traceback" not in errors and b"Errno" not in errors, errors
        ul("rm", "-f", "torn")
        assert until(lambda: listed(ul) == [] and ul.remains([name]) == [])


def test_exec_into_a_dying_container(ul: Installation) -> None:
    name = ul.start("box", "sleep", "1.5")
    seen = set()
    for _ in range(60):
        done = ul("exec", name, "true", code=None)
        seen.add(done.returncode)
        assert b"Traceback" not in done.stderr
        if b"is not running" in done.stderr:
            break
    assert done.returncode == 1 and seen <= {0, 1, 125, 137}
    ul("rm", name)
    assert ul.remains([name]) == []


def test_rm_waits_for_the_monitor_of_a_container_that_has_just_ended(ul: Installation) -> None:
    name = ul.start("box", "sleep", "60")
    state = json.loads((ul.state / "containers" / name / "state.json").read_text())
    os.kill(state["monitor"], signal.SIGSTOP)
    try:
        os.kill(state["pid"], signal.SIGKILL)
        assert until(lambda: b"is not running" in ul("exec", name, "true", code=None).stderr)
        removal = begin(ul, "rm", name)
        time.sleep(0.3)
        assert removal.poll() is None, removal.communicate()
    finally:
        os.kill(state["monitor"], signal.SIGCONT)
    out, errors = removal.communicate(timeout=30)
    assert (removal.returncode, out.decode().strip(), errors) == (0, name, b"") and ul.remains([name]) == []


def test_names_that_look_like_ids(ul: Installation) -> None:
    one = ul.start("box", "sleep", "60")
    two = ul.start("--name", one[:6], "box", "sleep", "60")
    assert ul.out("inspect", "-f", "{{.Id}}", one[:6]) == two  # a name goes before the beginning of an id
    assert ul.out("inspect", "-f", "{{.Id}}", one[:7]) == one
    three = ul.start("--name", one, "box", "sleep", "60")
    assert ul.out("inspect", "-f", "{{.Id}}", one) == one  # a whole id before all
    ul("rm", "-f", one, two, three)


# Restarts.


def test_a_restarted_monitor_neither_spins_nor_collects_descriptors(ul: Installation) -> None:
    ul.start("--name", "again", "--restart", "always", "-i", "box", "sh", "-c", "sleep 0.1")

    def count() -> int:
        return int(ul.out("inspect", "-f", "{{.RestartCount}}", "again"))

    assert until(lambda: count() >= 1)
    state = ul.state / "containers" / ul.out("inspect", "-f", "{{.Id}}", "again") / "state.json"
    monitor = json.loads(state.read_text())["monitor"]

    def descriptors() -> int:
        # The fewest within a moment: a start has more open for a while.
        found = []
        for _ in range(40):
            found.append(len(os.listdir(f"/proc/{monitor}/fd")))
            time.sleep(0.02)
        return min(found)

    first = descriptors()
    before = count()
    assert until(lambda: count() >= before + 2)
    assert descriptors() <= first

    def ticks() -> int:
        fields = Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    # While it waits for the next start, it uses no processor.
    before, start = ticks(), time.monotonic()
    time.sleep(0.5)
    used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    assert used < (time.monotonic() - start) * 0.6
    ul("rm", "-f", "again")


def test_stop_while_restarting(ul: Installation) -> None:
    ul.start("--name", "pausing", "--restart", "always", "box", "sh", "-c", "exit 1")
    assert until(lambda: "restarting" in ul.out("ps", "-a", "--format", "{{.State}}"))
    done = ul("exec", "pausing", "true", code=1)
    assert b"restarting" in done.stderr or b"not running" in done.stderr or b"ended" in done.stderr
    ul("stop", "pausing")
    assert ul.out("ps", "-a", "--format", "{{.State}}") == "exited"
    ul("start", "pausing")
    assert until(lambda: "restarting" in ul.out("ps", "-a", "--format", "{{.State}}"))
    ul("kill", "pausing")
    assert ul.out("ps", "-a", "--format", "{{.State}}") == "exited"
    ul("rm", "pausing")
    name = ul.start("--name", "pausing", "--restart", "always", "box", "false")
    assert until(lambda: "restarting" in ul.out("ps", "-a", "--format", "{{.State}}"))
    ul("rm", "-f", "pausing")
    assert ul.remains([name]) == []


# The caller is odd.


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams(ul: Installation, closed: str) -> None:
    done = shell(ul, f"ul run -d --name shut --network none box sleep 60 {closed}")
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert ul.out("ps", "--format", "{{.Names}} {{.State}}") == "shut running"
    numbers = shell(ul, "ul exec shut ls /proc/1/fd /proc/self/fd 2>&1 0<&-")
    assert numbers.returncode == 0
    assert shell(ul, f"ul ps {closed}; ul inspect shut {closed}; ul exec shut true {closed}").returncode == 0
    time.sleep(0.4)  # the monitor has become slim meanwhile
    assert ul.out("ps", "--format", "{{.Names}} {{.State}}") == "shut running"
    done = shell(ul, f"ul run --rm --network none box sh -c 'echo x > /y; cat /y; exit 4' {closed}")
    assert done.returncode == 4
    ul("rm", "-f", "shut")


def test_bytes_that_are_no_text(ul: Installation) -> None:
    odd = os.fsdecode(b"a\xffb")
    assert ul("run", "--rm", "--network", "none", "box", "echo", odd).stdout == b"a\xffb\n"
    text = ul(
        "run", "--rm", "--network", "none", "-e", f"A={odd}\nB", "-w", f"/{odd}", "box", "sh", "-c", "env; pwd"
    ).stdout
    assert b"A=a\xffb\nB\n" in text and b"/a\xffb\n" in text
    name = ul.start("--name", "odd", "-l", f"l={odd}", "box", "sh", "-c", f"echo {odd}; sleep 60")
    assert until(lambda: ul("logs", "odd").stdout == b"a\xffb\n")
    for words in (("ps", "-a", "--no-trunc"), ("inspect", "odd"), ("exec", "odd", "echo", odd)):
        assert b"Traceback" not in ul(*words).stderr
    done = ul("run", "--rm", "--network", "none", "box", odd, code=127)
    assert b"not found in $PATH" in done.stderr
    ul("rm", "-f", name)


def test_arguments_that_are_too_long(ul: Installation) -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'{" ".join(ul.command)} run --rm --network none box echo "$(head -c 120000 /dev/zero | tr "\\0" x)"',
        ],
        env=ul.environment,
        capture_output=True,
    )
    assert done.returncode == 0 and len(done.stdout) == 120001
    # The kernel limits the whole; through an environment file more can be asked for than fits.
    file = ul.root.parent / "env"
    file.write_text("".join(f"V{n}={'x' * 100_000}\n" for n in range(40)))
    done = ul("run", "--rm", "--network", "none", "--env-file", str(file), "box", "true", code=126)
    assert b"rgument list too long" in done.stderr


@pytest.mark.parametrize("mask", ["000", "077", "777"])
def test_the_callers_umask_changes_nothing(ul: Installation, mask: str) -> None:
    script = "umask; ls -ld / /v /etc/hosts | cut -c1-10; touch /v/x && ls -l /v/x | cut -c1-10"
    done = shell(
        ul,
        f"umask {mask}; ul run --rm --network none -u alice -v /v box sh -c 'umask; ls / >/dev/null && echo seen'",
    )
    assert done.stdout == b"0022\nseen\n", done
    done = shell(ul, f"umask {mask}; ul run --rm --network none -v /v box sh -c '{script}'")
    assert done.stdout.split() == [b"0022", b"drwxr-xr-x", b"-rw-r--r--", b"drwxr-xr-x", b"-rw-r--r--"], done


def test_a_reader_of_exec_that_goes_away(ul: Installation) -> None:
    ul.start("--name", "talks", "box", "sleep", "60")
    done = shell(ul, "ul exec talks sh -c 'while echo y; do :; done' | head -c 10 | wc -c; echo ${PIPESTATUS[0]}")
    assert done.stdout.split() == [b"10", b"141"] and done.stderr == b""
    ul("rm", "-f", "talks")


def test_bind_of_one_file(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("one\n")
    assert ul.run("-v", f"{tmp_path}/f:/etc/f", "box", "cat", "/etc/f") == "one"
    (tmp_path / "l").symlink_to("f")
    assert ul.run("-v", f"{tmp_path}/l:/f:ro", "box", "cat", "/f") == "one"


# Streams through the monitor's change of life.


@pytest.mark.parametrize("size", [1000, 70_000, 131_072, 1_000_000])
def test_input_that_nobody_has_read_when_the_monitor_becomes_slim(ul: Installation, size: int) -> None:
    data = os.urandom(size)
    done = ul("run", "--rm", "-i", "--network", "none", "box", "sh", "-c", "sleep 0.7; cat", input=data)
    assert done.stdout == data


def test_half_a_line_when_the_monitor_becomes_slim(ul: Installation) -> None:
    name = ul.start("--log-driver", "json-file", "box", "sh", "-c", "printf half; sleep 0.6; echo ' line'")
    ul.out("wait", name)
    assert ul.out("logs", name) == "half line"
    ul("rm", name)


def test_logs_are_followed_over_files_that_turn_over_fast(ul: Installation) -> None:
    options = ["--log-opt", "max-size=2m", "--log-opt", "max-file=50"]
    name = ul.start(*options, "box", "sh", "-c", "sleep 0.5; seq 1 1500000")
    assert ul("logs", "-f", name).stdout.split() == [b"%d" % n for n in range(1, 1_500_001)]
    ul("rm", name)


# As a library in a process that lives on.

LIBRARY = """
import os, sys
from underlay import Engine
from underlay.engine.options import ExecOptions
from underlay.engine.options import ContainerOptions
root, state = sys.argv[1:]
before = sorted(os.listdir("/proc/self/fd"))
with Engine(root, state) as engine:
    for _ in range(1):
        session = engine.containers.run_attached(ContainerOptions(image="box", command=["sleep", "60"], network="none"))
        session.close()
        for detach in (False, True):
            execution = engine.containers.exec_attached(session.id, ExecOptions(command=["true"], detach=detach))
            assert execution.wait() == (None if detach else 0)
        try:
            engine.containers.exec_attached(session.id, ExecOptions(command=["nope"]))
        except Exception as error:
            assert error.exit_code == 127
        engine.containers.remove(session.id, force=True)
    session = engine.containers.run_attached(ContainerOptions(image="box", command=["true"], network="none", remove=True))
    assert session.wait() == 0
    session.close()
print(open("/proc/self/task/%d/children" % os.getpid()).read().split())
"""


def test_no_zombies_of_a_library(ul: Installation) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY, str(ul.root), str(ul.state)], env=ul.environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "[]"
    # Nobody has promised to remove it, so its monitor does.
    assert until(lambda: listed(ul) == [])


# Disks that are full or cannot be written.


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Installation]:
    """An installation on a small disk of its own."""
    needs_root()
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "small", place], check=True)
    installation = Installation(place)
    try:
        installation("import", "--change", 'CMD ["sh"]', "-", "box", input=image_tar())
        yield installation
        (place / "filler").unlink(missing_ok=True)
        for name in installation.out("ps", "-aq").split():
            installation("rm", "-f", name)
    finally:
        for point in [*(installation.state / "mounts").glob("*"), place]:
            subprocess.run(["umount", "-l", point], capture_output=True)


def fill(place: Path, leave: int) -> None:
    """Fill the disk but for `leave` bytes."""
    filler = place / "filler"
    filler.unlink(missing_ok=True)
    facts = os.statvfs(place)
    size = max(0, facts.f_bavail * facts.f_frsize - leave)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size) if size else None


def test_a_disk_that_is_full_at_each_step(small: Installation) -> None:
    place = small.root.parent
    outcomes = set()
    for leave in (0, 4096, 8192, 16384, 24576, 32768, 49152, 65536, 98304, 131072, 262144):
        fill(place, leave)
        done = small("run", "--rm", "--network", "none", "box", "echo", "fine", code=None)
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 125), done
        assert done.returncode == 0 or b"No space left" in done.stderr or b"disk" in done.stderr, done.stderr
        outcomes.add(done.returncode)
        (place / "filler").unlink()
        # Where there was not even space to forget it, it is listed, and can be removed when there is.
        time.sleep(0.1)
        for name in small.out("ps", "-aq").split():
            small("rm", "-f", name)
        assert small.out("ps", "-aq") == ""
        assert list((small.root / "containers").iterdir()) == [], leave
        assert until(lambda: list((small.state / "containers").iterdir()) == []), leave
    assert outcomes == {0, 125}


@pytest.mark.parametrize("what", ["state", "root"])
def test_a_directory_that_cannot_be_written(small: Installation, what: str) -> None:
    running = small.start("--name", "before", "box", "sleep", "60")
    directory = getattr(small, what)
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
    try:
        for words in (("run", "--rm", "--network", "none", "box", "true"), ("ps",), ("stop", "-t", "0", "before")):
            done = small(*words, code=None)
            assert b"Traceback" not in done.stderr, done.stderr
            assert done.returncode == 0 or done.stderr.startswith(b"underlay: "), done
    finally:
        subprocess.run(["umount", directory], check=True)
    small("rm", "-f", running)
    assert small.out("ps", "-aq") == ""


# kill -9 at each step.


def test_killed_between_any_two_steps_of_a_start(ul: Installation) -> None:
    ids = set()
    for step in range(14):
        client = begin(ul, "run", "--rm", "--network", "none", "box", "sleep", "60", start_new_session=True)
        time.sleep(0.008 * step)
        # The command and all that it has started so far, but for the container, which the kernel then ends. It is halted
        # first: what it started after we had looked would live on, as it should.
        client.send_signal(signal.SIGSTOP)
        mine = [client.pid]
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"\nPPid:\t{client.pid}\n" in (entry / "status").read_text():
                    mine.append(int(entry.name))
            except OSError:
                pass
        for pid in mine:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        client.communicate()
        ids |= set(ul.out("ps", "-aq", "--no-trunc").split())
    assert until(lambda: set(ul.out("ps", "-a", "--format", "{{.State}}").split()) <= {"created", "exited"})
    remaining = ul.out("ps", "-aq").split()
    if remaining:
        ul("rm", *remaining)
    assert ul.remains(sorted(ids)) == []


def test_a_restart_keeps_what_is_to_remove_itself(ul: Installation) -> None:
    name = ul.start("--rm", "--name", "twice", "box", "sleep", "60")
    first = ul.out("inspect", "-f", "{{.State.Pid}}", name)
    ul("restart", "-t", "0", "--signal", "TERM", name)
    assert ul.out("inspect", "-f", "{{.State.Running}} {{.HostConfig.AutoRemove}}", name) == "true true"
    assert ul.out("inspect", "-f", "{{.State.Pid}}", name) != first
    ul("stop", "-t", "0", name)
    assert until(lambda: listed(ul) == [] and ul.remains([name]) == [])
