"""The static process 1 of --init: its exit codes, signals passed on, orphans reaped; for each processor we can run."""

from __future__ import annotations

import binascii
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from underlay.runtime import reaper
from underlay.runtime.reaper_program import PROGRAMS

RUNNERS = {os.uname().machine: [], "aarch64": ["qemu-aarch64"], "x86_64": ["qemu-x86_64"]} | {os.uname().machine: []}

# As runtime.reaper does it: a child, then this process becomes the reaper of it, with all signals blocked.
SCRIPT = """
import os, signal, sys
everything = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
child = os.fork()
if child == 0:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, everything)
    os.execv("/bin/sh", ["sh", "-c", sys.argv[1]])
words = sys.argv[2:]
if words[0].startswith("python:"):
    from underlay.runtime import reaper
    reaper._loop(child, set(everything))
os.execvp(words[0], [*words, str(child)])
"""


@pytest.fixture(params=["x86_64", "aarch64", "python"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The words that run the reaper of a processor, natively or emulated; or the interpreter's own loop."""
    if request.param == "python":
        return ["python:"]
    runner = RUNNERS[request.param]
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    path = tmp_path / "reaper"
    path.write_bytes(binascii.a2b_base64(PROGRAMS[request.param]))
    path.chmod(0o755)
    return [*runner, str(path)]


def start(command: list[str], script: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(reaper.__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, script, *command], stdout=subprocess.PIPE, env=environment)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 77", 77), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_ends_as_the_program_ends(command: list[str], script: str, code: int) -> None:
    with start(command, script) as process:
        assert process.wait(20) == code


def test_passes_signals_on(command: list[str]) -> None:
    with start(command, "trap 'echo got; exit 5' USR1; echo up; while :; do sleep 0.05; done") as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == b"got\n"
        assert process.wait(20) == 5


def test_other_children_do_not_end_it(command: list[str]) -> None:
    # The grandchild's end is not the program's; without a pid namespace it goes to another parent.
    with start(command, "(exit 3) & sleep 0.3; exit 4") as process:
        assert process.wait(20) == 4


def test_programs_are_small_and_static() -> None:
    for machine, text in PROGRAMS.items():
        program = binascii.a2b_base64(text)
        assert program[:4] == b"\x7fELF" and len(program) < 1024, machine


def test_waits_while_the_program_runs(command: list[str]) -> None:
    with start(command, "sleep 0.4") as process:
        time.sleep(0.1)
        assert process.poll() is None
        assert process.wait(20) == 0
