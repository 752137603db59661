"""Builds that fail, are interrupted or killed, run beside each other, find the disk full: what is told, what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildcases import Builder, cached, outputs, steps, write
from engines import Installation, image_tar, until

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(autouse=True)
def no_containers_left() -> None:
    """Builds leave no containers that would have to be removed after each test; the end of the module looks for them."""


# What is said of failures


def test_a_broken_dockerfile(builder: Builder) -> None:
    context = builder.context("FROM box\n\nRUN true\nCOPPY a /b\nCMD x\n")
    said = builder.at(context, code=1)
    assert "Dockerfile:4:1: unknown instruction: COPPY" in said and "did you mean COPY?" in said
    lines = said.splitlines()
    marked = next(number for number, line in enumerate(lines) if ">>> COPPY a /b" in line)
    assert lines[marked].index("C") == lines[marked + 1].index("^")
    said = builder.at(builder.context("FROM box\nRUN --mout=type=cache,target=/x true\n"), code=1)
    assert "Dockerfile:2:5:" in said and "mount" in said


@pytest.mark.parametrize("code", [7, 255])
def test_a_failing_step(builder: Builder, code: int) -> None:
    said = builder.at(builder.context(f"FROM box\nRUN echo before; exit {code}\nRUN echo never\n"), code=1)
    assert f'process "/bin/sh -c echo before; exit {code}" did not complete successfully: exit code: {code}' in said
    assert ">>> RUN echo before" in said and "never" not in outputs(said)
    assert outputs(said) == ["before"] and "------\n > [2/3] RUN echo before" in said


def test_programs_that_cannot_be_run(builder: Builder) -> None:
    assert "exit code: 127" in builder.fails("FROM box\nRUN no-such-program\n")
    assert "exit code: 137" in builder.fails("FROM box\nRUN sh -c 'kill -9 $$'; exit $?\n")


@pytest.mark.parametrize(
    "lines", ['RUN ["nothing"]', 'SHELL ["nothing"]\nRUN true', 'RUN ["/etc/nothing"]', "USER nothing\nRUN true"]
)
def test_programs_that_are_not_there(builder: Builder, lines: str) -> None:
    assert "nothing" in builder.fails(f"FROM box\n{lines}\n")


def test_what_is_not_there(builder: Builder) -> None:
    message = builder.fails("FROM box\nCOPY absent.txt /\n", files={"absent.text": ""})
    assert "absent.txt" in message
    assert "Dockerfile" in builder.refused(write(builder.place / "empty", {"x": ""}))
    assert "/no/such/context" in builder.refused("/no/such/context")
    assert "requires exactly 1 argument" in builder.ul("build", code=1).stderr.decode()
    said = builder.fails("FROM box\nCOPY --from=nowhere.invalid/image a /\n")
    assert "nowhere.invalid" in said


def test_a_failure_ends_the_other_stages(builder: Builder) -> None:
    dockerfile = (
        "FROM box AS slow\nRUN sleep 1000\nFROM box AS bad\nRUN sleep 0.2; exit 3\n"
        "FROM scratch\nCOPY --from=slow /etc/passwd /a\nCOPY --from=bad /etc/passwd /b\n"
    )
    message = builder.fails(dockerfile)
    assert "exit code: 3" in message and "cancel" not in message
    nothing_left(builder.ul)


# Steps that behave oddly


def test_processes_in_the_background(builder: Builder) -> None:
    """They end with the step, even if they hold its output open."""
    said = builder.said(
        "FROM box\nRUN sleep 1000 & echo begun\nRUN (trap '' TERM HUP; sleep 1000; touch /x) & echo again\n"
    )
    assert said == ["begun", "again"]
    nothing_left(builder.ul)


def test_input_and_output(builder: Builder) -> None:
    said = builder.said(
        "FROM box\nRUN cat; echo ended; readlink /proc/self/fd/0\nRUN seq 1 3000\nRUN printf 'no newline'; printf err >&2\n"
        "RUN printf 'a\\033[31mred\\033[0m\\001\\nb\\rc\\n'\n"
    )
    assert said[:2] == ["ended", "/dev/null"]
    assert said[2:3002] == [str(n) for n in range(1, 3001)]
    assert "".join(said[3002:]).startswith(("no newline", "err")) and "\x01" not in "".join(said)


def test_the_first_process_is_killed(builder: Builder) -> None:
    build = begin(builder, "FROM box\nRUN echo up; sleep 1000\n")
    (pid,) = waiting("sleep 1000")
    group = group_of(pid)
    os.kill(
        pid if "NSpid:\t" + f"{pid}\t1\n" in Path(f"/proc/{pid}/status").read_text() else parent(pid), signal.SIGKILL
    )
    said = build.communicate(timeout=30)[1].decode()
    assert build.returncode == 1 and "exit code: 137" in said
    nothing_left(builder.ul, group)


def test_the_parent_of_a_step_is_killed(builder: Builder) -> None:
    """As by the kernel when memory runs out."""
    build = begin(builder, "FROM box\nRUN sleep 1007 || true\n")
    (pid,) = waiting("sleep 1007")
    group = group_of(pid)
    while os.readlink(f"/proc/{parent(pid)}/ns/pid") != os.readlink("/proc/self/ns/pid"):
        pid = parent(pid)
    os.kill(parent(pid), signal.SIGKILL)
    said = build.communicate(timeout=30)[1].decode()
    assert build.returncode == 1 and "was killed" in said
    assert until(lambda: not running("sleep 1007"))
    builder("FROM box\nRUN true\n")
    try:
        nothing_left(builder.ul, group, 0.5)
    finally:
        for left in Path("/sys/fs/cgroup").glob(f"**/underlay/{group}"):
            left.rmdir()


# Interrupted builds


def begin(builder: Builder, dockerfile: str, *words: str) -> subprocess.Popen[bytes]:
    """Start a build in a process group of its own."""
    return subprocess.Popen(
        [*builder.ul.command, "build", "--progress", "plain", *words, str(builder.context(dockerfile))],
        env=builder.ul.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def running(command: str) -> list[int]:
    """Return the processes that run a command in another process namespace than ours."""
    found = []
    ours = os.readlink("/proc/self/ns/pid")
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == command.replace(" ", "\0").encode() + b"\0":
                if os.readlink(entry / "ns/pid") != ours:
                    found.append(int(entry.name))
        except OSError:
            pass
    return found


def waiting(command: str) -> list[int]:
    """Wait until a step runs a command; returns its processes."""
    assert until(lambda: running(command))
    return running(command)


def group_of(pid: int) -> str:
    """Return the name of the control group of a step's process."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line for line in lines if "/build-" in line).rpartition("/")[2]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def remaining(ul: Installation, group: str = "") -> list[str]:
    """Return what builds have left beyond files: processes, mounts, the control group of a step."""
    found = [each for each in ul.remains([]) if not each.startswith("small ")]
    if group:
        found += [str(each) for each in Path("/sys/fs/cgroup").glob(f"**/underlay/{group}")]
    return found


def scratch(ul: Installation) -> list[str]:
    """Return the directories of unfinished work."""
    return [each.name for each in (ul.root / "tmp").iterdir()]


def nothing_left(ul: Installation, group: str = "", seconds: float = 5) -> None:
    """Fail when builds have left anything that a sweep does not remove."""
    assert until(lambda: remaining(ul, group) == [], seconds), remaining(ul, group)
    ul("builder", "prune", "-f", "--filter", "until=10h")
    assert scratch(ul) == []


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT", "SIGTERM", "SIGHUP"])
def test_a_build_is_ended(builder: Builder, name: str, tmp_path: Path) -> None:
    seconds = {"SIGKILL": "1001", "SIGINT": "1002", "SIGTERM": "1003", "SIGHUP": "1004"}[name]
    before = f"FROM box\nRUN echo {name} > /first\nRUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t "
    build = begin(builder, f"{before} sleep {seconds} && echo never\n")
    group = group_of(waiting(f"sleep {seconds}")[0])
    time.sleep(0.5)  # the layer of the first step is packed beside the second
    build.send_signal(getattr(signal, name))
    said = build.communicate(timeout=30)[1].decode()
    assert build.returncode == (130 if name == "SIGINT" else -getattr(signal, name)), said
    assert "Traceback" not in said
    assert until(lambda: not running(f"sleep {seconds}"))
    # Finished steps are kept, and the next build finds nothing in its way.
    said = builder(f"{before} true\n")
    assert cached(said) == [f"RUN echo {name} > /first"]
    nothing_left(builder.ul, group)


def test_a_killed_build_leaves_no_files(builder: Builder) -> None:
    build = begin(builder, "FROM box\nRUN sleep 1008\n")
    waiting("sleep 1008")
    build.kill()
    build.communicate(timeout=30)
    assert until(lambda: not running("sleep 1008"))
    assert until(lambda: scratch(builder.ul) == []), scratch(builder.ul)


def test_a_build_is_interrupted_on_a_terminal(builder: Builder) -> None:
    """All processes of the terminal's foreground get the signal."""
    build = begin(builder, "FROM box\nRUN sleep 1005\n")
    group = group_of(waiting("sleep 1005")[0])
    os.killpg(build.pid, signal.SIGINT)
    said = build.communicate(timeout=30)[1].decode()
    assert build.returncode == 130 and "Traceback" not in said, said
    assert until(lambda: not running("sleep 1005"))
    nothing_left(builder.ul, group)


KILLER = """
import os, signal, sys
count = 0
def hooked(original):
    def call(*arguments, **named):
        global count
        count += 1
        if count == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)
    return call
from underlay.cli.main import main
for name in ("rename", "fsync", "mkdir", "unlink", "rmdir"):
    setattr(os, name, hooked(getattr(os, name)))
sys.exit(main(["build", "-q", *sys.argv[2:]]))
"""


def test_killed_at_any_step(builder: Builder) -> None:
    """Wherever the planner or a worker dies, the store is whole and the next build succeeds."""
    ended = set()
    for number in (1, 2, 4, 7, 10, 14, 20, 30):
        context = builder.context(f"FROM box\nRUN echo {number} > /a\nCOPY a /b\n", {"a": str(number)})
        words = [sys.executable, "-c", KILLER, str(number), "-t", f"k{number}", str(context)]
        done = subprocess.run(words, env=builder.ul.environment, capture_output=True, timeout=60)
        assert done.returncode in (0, 1, -signal.SIGKILL), done
        assert b"Traceback" not in done.stderr
        ended.add(done.returncode)
        if done.returncode:
            builder.at(context, "-t", f"k{number}")
        assert builder.ul.run(f"k{number}", "cat", "/a", "/b") == f"{number}\n{number}"
    assert -signal.SIGKILL in ended
    assert b" 0 lost" in builder.ul("system", "check", code=None).stdout
    nothing_left(builder.ul)


def test_nothing_is_to_be_repaired_after_a_build(builder: Builder) -> None:
    builder("FROM box\nRUN echo check > /check\n", "-t", "checked")
    assert "0 to repair" in builder.ul.out("system", "check")


# Builds beside each other


def test_two_builds_do_the_same_step_once(builder: Builder) -> None:
    dockerfile = "FROM box\nRUN --mount=type=cache,id=once,target=/c echo x >> /c/log; sleep 1; wc -l < /c/log > /n\n"
    pair = [begin(builder, dockerfile, "-t", f"twice{n}") for n in range(2)]
    said = [each.communicate(timeout=60)[1].decode() for each in pair]
    assert [each.returncode for each in pair] == [0, 0], said
    assert sorted(len(cached(each)) for each in said) == [0, 1]
    assert builder.ul.run("twice0", "cat", "/n") == builder.ul.run("twice1", "cat", "/n") == "1"
    ids = {builder.ul.out("inspect", "-f", "{{.Id}}", f"twice{n}") for n in range(2)}
    assert len(ids) == 1


def test_one_of_two_builds_is_killed(builder: Builder) -> None:
    """The other, which waits for the same step, does it then."""
    dockerfile = "FROM box\nRUN --mount=type=cache,id=kill,target=/c mkdir /c/first && sleep 1006; echo done > /n\n"
    first = begin(builder, dockerfile)
    group = group_of(waiting("sleep 1006")[0])
    second = begin(builder, dockerfile, "-t", "survivor")
    assert until(lambda: second.stderr is not None and b"RUN" in second.stderr.readline())
    first.kill()
    first.communicate()
    said = second.communicate(timeout=30)[1].decode()
    assert second.returncode == 0, said
    assert builder.ul.run("survivor", "cat", "/n") == "done"
    nothing_left(builder.ul, group)


def test_pruning_beside_a_build(builder: Builder) -> None:
    build = begin(builder, "FROM box\nRUN echo first > /a\nRUN sleep 1.5\nRUN cat /a\n", "-t", "pruned")
    waiting("sleep 1.5")
    builder.ul("builder", "prune", "-af")
    builder.ul("image", "prune", "-f")
    said = build.communicate(timeout=30)[1].decode()
    assert build.returncode == 0 and outputs(said) == ["first"], said
    assert builder.ul.run("pruned", "cat", "/a") == "first"


# Disks that are full


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Builder]:
    """What builds with an installation on a small disk of its own."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "small", place], check=True)
    installation = Installation(place)
    try:
        installation("import", "--change", 'CMD ["sh"]', "-", "box", input=image_tar())
        yield Builder(installation, tmp_path)
    finally:
        for point in [*(installation.state / "mounts").glob("*"), place]:
            subprocess.run(["umount", "-l", point], capture_output=True)


@pytest.mark.parametrize("what", ["run", "copy", "context"])
def test_a_full_disk(small: Builder, what: str) -> None:
    ul = small.ul
    small("FROM box\nRUN echo before > /kept\n", "-t", "kept")
    if what == "run":
        message = small.fails("FROM box\nRUN head -c 30000000 /dev/zero > /big\n")
    elif what == "copy":
        message = small.fails("FROM box\nCOPY big /big\n", files={"big": os.urandom(15_000_000)})
    else:
        from buildcases import tar

        data = tar({"Dockerfile": "FROM box\nCOPY . /x\n", "big": os.urandom(15_000_000)})
        message = small.refused("-", input=data)
    assert "No space left" in message or "disk" in message or "exit code" in message, message
    nothing_left(ul)
    assert ul.run("kept", "cat", "/kept") == "before"
    assert b" 0 lost" in ul("system", "check", code=None).stdout
    # There is room for as much as before.
    assert list(steps(small("FROM box\nRUN echo after\n", "-t", "after")).values())[-1] == "DONE"


def test_a_disk_that_is_full_at_each_step(small: Builder) -> None:
    place = small.ul.root.parent
    codes = set()
    for number, leave in enumerate((0, 4096, 16384, 65536, 131072, 400_000)):
        facts = os.statvfs(place)
        size = max(0, facts.f_bavail * facts.f_frsize - leave)
        with (place / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        context = small.context(f"FROM box\nRUN echo {number} > /a\nCOPY a /b\n", {"a": str(number)})
        done = small.ul("build", "-t", "made", str(context), code=None)
        said = done.stderr.decode()
        assert done.returncode in (0, 1) and "Traceback" not in said, said
        assert done.returncode == 0 or "No space left" in said or "full" in said or "exit code" in said, said
        codes.add(done.returncode)
        (place / "filler").unlink()
        nothing_left(small.ul)
        small.at(context, "-t", "made")
        assert small.ul.run("made", "cat", "/a", "/b") == f"{number}\n{number}"
        small.ul("rmi", "made")
        small.ul("builder", "prune", "-af")
    assert codes == {0, 1}
