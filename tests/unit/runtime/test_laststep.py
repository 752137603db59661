"""The tiny program of the last step: its calls, failures, forks and process 1, for each processor that we can run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from underlay.errors import StartFailed
from underlay.linux import libc
from underlay.runtime.apply import laststep
from underlay.runtime.apply.last_step_program import PROGRAMS

NATIVE = os.uname().machine
RUNNERS = {"aarch64": ["qemu-aarch64"], "x86_64": ["qemu-x86_64"]} | {NATIVE: []}

# A script of calls made by this interpreter itself ("python"), from sealed memory ("sealed"), or as a file.
RUN = """
import os, sys
from underlay.linux import libc
from underlay.runtime.apply import laststep
how, channel, calls = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if how not in ("python", "sealed"):
    libc._COLUMN = 0 if how == "x86_64" else 1
script = laststep.Script(sealed=how != "python")
exec(calls)
if how in ("python", "sealed"):
    script.become(script.calls, channel)
for call in script.calls:
    call.text = call.text or b"!{"
with open(sys.argv[4], "wb") as file:
    file.write(script.image(how, script.calls, channel))
os.chmod(sys.argv[4], 0o755)
"""
SHELL = """
words = script.strings(["sh", "-c", text])
script.add("execute", "execve", script.string("/bin/sh"), words, script.strings(["A=b"]), failure="exec")
"""
# As `program` makes it for --init: a child that becomes the program, the parent stays.
INIT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
slot = script.add("fork", "clone", 17, 0, 0, 0, 0, keep=True)
script.add("fork", "reap", laststep.answer(slot), parent=True)
script.add("fork", "setpgid", 0, 0)
script.add("fork", "rt_sigprocmask", 2, script.place(bytes(8)), 0, 8)
"""


@pytest.fixture(params=["sealed", "python", "x86_64", "aarch64"])
def how(request: pytest.FixtureRequest) -> str:
    runner = RUNNERS.get(request.param)
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    return str(request.param)


class Running:
    """A script that runs: its process and our end of its channel."""

    def __init__(self, how: str, calls: str, place: Path) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(20)
        number = theirs.fileno()
        environment = {**os.environ, "PYTHONPATH": str(Path(laststep.__file__).parents[3])}
        words = [sys.executable, "-c", RUN, how, str(number), calls, str(place / "program")]
        if how in ("sealed", "python"):
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, pass_fds=(number,))
        else:
            subprocess.run(words, check=True, env=environment, pass_fds=(number,))
            block = "import os, signal, sys; os.execvp(sys.argv[1], sys.argv[1:])"
            if "SIG_BLOCK" in calls:
                block = block.replace("; ", "; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); ", 1)
            words = [sys.executable, "-c", block, *RUNNERS[how], str(place / "program")]
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, pass_fds=(number,))
        theirs.close()

    def end(self) -> tuple[int, bytes]:
        """Return exit code and standard output."""
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out


@pytest.fixture
def start(how: str, tmp_path: Path):
    return lambda calls: Running(how, calls, tmp_path)


def test_the_last_call_becomes_the_program(start) -> None:
    running = start(f"text = 'echo $A $0 $#; exit 7'{SHELL}")
    assert running.end() == (7, b"b sh 0\n")


def test_what_is_refused_is_told_with_its_number(start) -> None:
    running = start("script.step = 'here'\nscript.add('x', 'chdir', script.string('/nowhere'), failure='go', code=99)")
    told = running.channel.recv(9000)
    assert running.end()[0] == 125
    assert told[:1] == b"!" and json.loads(told[1:]) == {
        "step": "here",
        "message": "go",
        "hint": "",
        "code": 99,
        "errno": 2,
    }


def test_errors_that_are_none_and_those_that_always_are(start) -> None:
    running = start(
        "script.add('x', 'chdir', script.string('/nowhere'), errnos=(13, 2))\n"
        "script.add('x', 'fail', 2000, failure='always', cases={'2000': ('another', 'hint', 3)})"
    )
    told = json.loads(running.channel.recv(9000)[1:])
    assert told["errno"] == 2000 and running.end()[0] == 125
    error = laststep.failure(told)
    assert isinstance(error, StartFailed)
    assert (error.message, error.hint, error.exit_code) == ("another", "hint", 3)


def test_answers_and_their_addresses_are_arguments(start) -> None:
    running = start(
        "slot = script.add('x', 'getpid', keep=True)\n"
        "script.add('x', 'write', channel, laststep.address(slot), 8)\n"
        "script.add('x', 'exit_group', 5)"
    )
    assert laststep.pid_of(running.channel.recv(100)) > 1
    assert running.end()[0] == 5


def test_both_sides_of_a_fork(start) -> None:
    running = start(
        "slot = script.add('x', 'clone', 17, 0, 0, 0, 0, keep=True)\n"
        "script.add('x', 'write', channel, laststep.address(slot), 8, parent=True)\n"
        "script.add('x', 'exit_group', 0, parent=True)\n"
        f"text = 'echo child $$'{SHELL}"
    )
    pid = laststep.pid_of(running.channel.recv(100))
    assert running.end() == (0, b"child %d\n" % pid)


def test_an_answer_of_zero_may_end_it(start) -> None:
    running = start("script.add('x', 'chdir', script.string('/'), ends_on_zero=True)\nscript.add('x', 'exit_group', 1)")
    assert running.end()[0] == 125


def test_the_channel_does_not_reach_the_program(start, how: str) -> None:
    if how not in ("sealed", "python"):
        pytest.skip("what marks it is added by `become`")
    code, out = start(f"script.inherit(os.open('/', os.O_PATH))\ntext = 'ls /proc/$$/fd'{SHELL}").end()
    assert code == 0 and {int(line) for line in out.split()} <= {0, 1, 2, 10, 255}


def test_the_listener_has_the_number_that_is_sent(how: str, start) -> None:
    if how not in ("sealed", "python"):
        pytest.skip("what sends it is added by `become`")
    # An answer of another kind stands for the listener: the lowest free descriptor.
    running = start(
        "first = script.inherit(os.open('/', os.O_PATH))\n"
        "second = script.inherit(os.open('/', os.O_PATH))\n"
        "script.add('x', 'close', first)\n"
        "flags = script.place(libc.words(8, os.O_RDONLY | os.O_CLOEXEC, 0, 0))\n"
        "script.add('x', 'openat2', -100, script.string('/etc/passwd'), flags, 24)\n"
        "script.listener = script.calls[-1]\n"
        "script.add('x', 'exit_group', 0)"
    )
    data, [fd], _, _ = socket.recv_fds(running.channel, 100, 1)
    assert data == laststep.LISTENER and os.readlink(f"/proc/self/fd/{fd}") == "/etc/passwd"
    os.close(fd)
    assert running.end()[0] == 0


def test_sealed_memory_takes_no_writing(start, how: str) -> None:
    if how != "sealed":
        pytest.skip("only there is a memfd")
    # The program looks at its parent, which waits as process 1 does.
    script = "readlink /proc/$PPID/exe; cat /proc/$PPID/comm; (echo x >/proc/$PPID/exe) 2>&1 | grep -c . ; exit 0"
    code, out = start(f"{INIT}text = {script!r}{SHELL}").end()
    assert code == 0 and out.startswith(b"/memfd:init (deleted)\n") and out.endswith(b"1\n")


def test_programs_are_small() -> None:
    for machine, (entry, code) in PROGRAMS.items():
        assert 0x400000 < entry < 0x401000 and len(bytes.fromhex(code)) < 2048, machine


def test_long_messages_are_cut(start) -> None:
    running = start(
        "script.add('x', 'fail', 1, failure='x' * 9000, cases={str(n): ('y' * 900, 'z' * 900, 1) for n in range(20)})"
    )
    assert json.loads(running.channel.recv(9000)[1:])["errno"] == 1


def test_numbers_of_calls_are_those_of_the_tables() -> None:
    from underlay.linux.security import tables

    for column, abi in enumerate(("x86_64", "aarch64")):
        known = tables.numbers(abi)
        for name, numbers in libc._NUMBERS.items():
            if name != "mount_setattr" or name in known:
                assert known[{"prlimit64": "prlimit64"}.get(name, name)] == numbers[column], name


# Process 1 of --init.


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 77", 77), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_ends_as_the_program_ends(start, script: str, code: int) -> None:
    assert start(f"{INIT}text = {script!r}{SHELL}").end()[0] == code


def test_passes_signals_on(start) -> None:
    script = "trap 'echo got; exit 5' USR1; echo up; while :; do sleep 0.05; done"
    running = start(f"{INIT}text = {script!r}{SHELL}")
    assert running.process.stdout.readline() == b"up\n"
    running.process.send_signal(signal.SIGUSR1)
    assert running.process.stdout.readline() == b"got\n"
    assert running.process.wait(20) == 5


def test_other_children_do_not_end_it(start) -> None:
    # The grandchild's end is not the program's; without a pid namespace it goes to another parent.
    assert start(f"{INIT}text = '(exit 3) & sleep 0.3; exit 4'{SHELL}").end()[0] == 4


def test_waits_while_the_program_runs(start) -> None:
    running = start(f"{INIT}text = 'echo up; sleep 0.4'{SHELL}")
    assert running.process.stdout.readline() == b"up\n"
    time.sleep(0.1)
    assert running.process.poll() is None
    assert running.process.wait(20) == 0
