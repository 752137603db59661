"""`--runtime`: containers run by runc, crun and our own runtime's program instead of the driver; with the same commands."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from engines import REPOSITORY, Installation, until
from persons import Person

pytestmark = pytest.mark.root


@pytest.fixture(params=["runc", "crun", "ours"])
def runtime(request: pytest.FixtureRequest, ul: Installation, tmp_path: Path) -> str:
    """The name of a runtime that runs containers here."""
    if request.param == "ours":
        script = tmp_path / "our-runtime"
        script.write_text(
            f'#!/bin/sh\nexec env PYTHONPATH={REPOSITORY}/src {sys.executable} -m underlay runtime "$@"\n'
        )
        script.chmod(0o755)
        return str(script)
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}")
    done = ul("run", "--rm", "--runtime", request.param, "--network", "none", "box", "true", code=None)
    if done.returncode:
        pytest.skip(f"{request.param} does not run here: {done.stderr.decode().strip()[:200]}")
    return str(request.param)


def test_a_program(ul: Installation, runtime: str, tmp_path: Path) -> None:
    (tmp_path / "shown").write_text("bound\n")
    words = ["-u", "1000:100", "-w", "/tmp", "-e", "A=1", "--memory", "64m", "--read-only", "--tmpfs", "/t"]
    words += ["-v", "fresh:/etc", "-v", f"{tmp_path}/shown:/shown:ro", "--cap-drop", "ALL", "--hostname", "inside"]
    script = (
        "id -u; id -g; pwd; echo $A $HOME; hostname; cat /shown; touch /t/x && echo written; touch /x || echo read-only;"
        "grep -E 'CapBnd|Seccomp:' /proc/self/status; wc -l < /etc/passwd; stat -f -c %T /"
    )
    out = ul("run", "--rm", "--runtime", runtime, *words, "box", "sh", "-c", script).stdout.decode().split()
    own = ul("run", "--rm", *words, "box", "sh", "-c", script).stdout.decode().split()
    assert out == own and "written" in out and "read-only" in out and "bound" in out
    assert ul("run", "-i", "--rm", "--runtime", runtime, "box", "cat", input=b"fed").stdout == b"fed"
    assert ul("run", "--rm", "--runtime", runtime, "box", "sh", "-c", "echo e >&2; exit 7", code=7).stderr == b"e\n"


def test_a_life(ul: Installation, runtime: str) -> None:
    words = ["--health-cmd", "true", "--health-interval", "200ms", "--restart", "on-failure:1", "--pids-limit", "50"]
    script = "trap 'exit 5' TERM; echo begun; while true; do sleep 0.05; done"
    ul.start("--name", "life", "--runtime", runtime, *words, "box", "sh", "-c", script)
    assert until(lambda: "begun" in ul.out("logs", "life"))
    assert ul.out("inspect", "-f", "{{.HostConfig.Runtime}}", "life") == runtime
    assert until(lambda: ul.out("inspect", "-f", "{{.State.Health.Status}}", "life") == "healthy")
    assert ul.out("exec", "-u", "1000", "life", "id", "-u") == "1000"
    assert "sh -c trap" in ul.out("top", "life")
    # The shell and its sleep, and for moments the program of a health check and what starts it.
    assert until(lambda: ul.out("stats", "--no-stream", "--format", "{{.PIDs}}", "life") in ("2", "3"))
    ul("update", "--pids-limit", "40", "life")
    ul("pause", "life")
    assert ul.out("inspect", "-f", "{{.State.Status}}", "life") == "paused"
    ul("unpause", "life")
    # Ended from within, it is started again, once.
    before = ul.pid("life")
    os.kill(before, signal.SIGTERM)
    assert until(lambda: ul.out("inspect", "-f", "{{.State.Running}} {{.RestartCount}}", "life") == "true 1")
    assert until(lambda: ul.pid("life") != before and ul.out("logs", "life").count("begun") == 2)
    ul("stop", "-t", "20", "life")
    assert ul.out("inspect", "-f", "{{.State.ExitCode}}", "life") == "5"
    ul("start", "life")
    ul("rm", "-f", "life")


def test_a_terminal(ul: Installation, runtime: str) -> None:
    person = Person(ul, "run", "-it", "--rm", "--runtime", runtime, "box", "sh", rows=33, columns=99)
    person.wait_for(b"# ")
    person.type(b"tty; stty size\r")
    person.wait_for(b"33 99")
    assert b"/dev/pts/0" in person.seen
    person.type(b"exit 4\r")
    assert person.end() == 4


def test_what_fails(ul: Installation, runtime: str) -> None:
    """Exit codes are docker's, the runtime's reason is told, and nothing is left (the fixture looks)."""
    for words, code, text in (
        (["box", "nosuch"], 127, b"executable file not found"),
        (["box", "/etc"], 126, b"/etc"),
        (["-w", "/etc/passwd", "box", "true"], 125, b"/etc/passwd"),
    ):
        done = ul("run", "--rm", "--runtime", runtime, *words, code=None)
        assert text in done.stderr and b"Traceback" not in done.stderr, done.stderr
        assert done.returncode == code or words[0] == "-w", done
        assert done.stderr.startswith(f"underlay: {os.path.basename(runtime)}: ".encode())


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, but for its exit code, which somebody has yet to take."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_killed_monitor(ul: Installation, runtime: str) -> None:
    """What it had started ends, and the container can be started again."""
    ul.start("--name", "orphan", "--runtime", runtime, "box", "sleep", "100")
    pid = ul.pid("orphan")
    os.kill(ul.monitor("orphan"), signal.SIGKILL)
    assert until(lambda: ul.out("inspect", "-f", "{{.State.Running}}", "orphan") == "false")
    assert until(lambda: "orphan" in ul.out("ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}"))
    assert until(lambda: has_ended(pid))
    ul("start", "orphan")
    assert ul.out("exec", "orphan", "echo", "again") == "again"


def test_what_another_runtime_cannot_do(ul: Installation, tmp_path: Path) -> None:
    script = tmp_path / "never-run"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    ul("run", "--rm", "--runtime", "underlay", "box", "true")
    (tmp_path / "value").write_text("x")
    for words, text in (
        (["--runtime", "no-such-runtime"], "unknown or invalid runtime name: no-such-runtime"),
        (["--runtime", f"{tmp_path}/missing"], "unknown or invalid runtime name"),
        (["--runtime", str(tmp_path)], "unknown or invalid runtime name"),
        (["--runtime", str(script), "--init"], "with --init is not possible"),
        (["--runtime", str(script), "--userns", "auto"], "with a user namespace is not possible"),
        (["--runtime", str(script), "--secret", f"id=x,src={tmp_path}/value"], "with --secret is not possible"),
        (["--runtime", str(script)], "never-run: never-run create failed and has not said why"),
    ):
        assert text in ul("run", "--rm", *words, "box", "true", code=125).stderr.decode()
