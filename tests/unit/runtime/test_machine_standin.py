"""The stand-in of a container in a machine, with an agent of the test's own: what the monitor and callers get of it.

The stand-in runs in a process, as it does in its sandbox; in QEMU's place is a program that sleeps.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from standins import CONTAINER, Agent
from underlay.errors import Conflict, StartFailed
from underlay.runtime.machine import calls, driver
from underlay.runtime.machine.link import DATA, MACHINE, MESSAGE, PROTOCOL, STDERR, STDIN, STDOUT, WINDOW
from underlay.runtime.monitor import control
from underlay.runtime.process import child_channel

Maker = Callable[..., Agent]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Makes the stand-in and its agent."""
    made: list[Agent] = []

    def maker(**settings: Any) -> Agent:
        made.append(Agent(tmp_path, **settings))
        return made[-1]

    yield maker
    for agent in made:
        agent.close()


def answer(channel: Any) -> Any:
    """The next message of the stand-in to a caller, None at its end."""
    channel.settimeout(20)
    message, fds = control.receive(channel)
    return (message, fds) if fds else message


def passed(agent: Agent, conversation: int, stream: int, fd: int, sent: bytes) -> bytes:
    """Have a program of the agent's write to a stream until its end; returns what comes out at `fd`."""
    source, end = os.pipe()
    os.set_blocking(end, False)
    agent.link.source(conversation, stream, source)
    got, left = b"", sent
    while left or len(got) < len(sent):
        try:
            left = left[os.write(end, left) :] if left else left
        except BlockingIOError:
            pass
        agent.turn(0.01)
        if select.select([fd], [], [], 0)[0]:
            got += os.read(fd, 1 << 20)
    os.close(end)
    agent.until(lambda: (conversation, stream) not in agent.link._sources)
    return got


def test_a_container_from_its_start_to_its_end(make: Maker) -> None:
    agent = make(more={"files": {"hosts": "127.0.0.1 localhost\n"}})
    agent.start()
    [(_, told)] = agent.heard("start")
    assert told["files"] == {"hosts": "127.0.0.1 localhost\n"} and abs(told["time"] - time.time()) < 100
    reading, writing = os.pipe()
    agent.link.sink(CONTAINER, STDIN, writing)
    os.write(agent.input[1], b"typed")
    agent.until(lambda: select.select([reading], [], [], 0)[0])
    assert os.read(reading, 100) == b"typed"
    os.close(agent.input[1])
    agent.until(lambda: not agent.link._sinks)
    assert os.read(reading, 100) == b""
    os.close(reading)
    for stream, fd in ((STDOUT, agent.output[0]), (STDERR, agent.errors[0])):
        sent = os.urandom(300_000)
        assert passed(agent, CONTAINER, stream, fd, sent) == sent
    agent.end(7)
    assert agent.result() == (7, b"", b"")
    assert not driver.ran_out_of_memory(str(agent.place))


def test_what_the_monitor_is_told_of_the_end(make: Maker) -> None:
    agent = make()
    agent.start()
    agent.end(137, oom=True)
    assert agent.result()[0] == 137 and driver.ran_out_of_memory(str(agent.place))


def test_output_is_not_lost_when_its_reader_is_slow(make: Maker) -> None:
    """The machine has long powered off."""
    agent = make()
    agent.start()
    source, end = os.pipe()
    os.set_blocking(end, False)
    agent.link.source(CONTAINER, STDOUT, source)
    sent = 0
    for _ in range(100):
        try:
            sent += os.write(end, b"x" * 10_000)
        except BlockingIOError:
            pass
        agent.turn(0.001)
    assert agent.link.blocked(CONTAINER)
    agent.link.end(CONTAINER)
    agent.end(3)
    time.sleep(1)
    assert agent.process.poll() is None
    code, out, _ = agent.result()
    assert code == 3 and WINDOW < len(out) < sent and out == b"x" * len(out)


@pytest.mark.parametrize(
    ("told", "message", "code"),
    [
        ({"message": 'exec: "no": not found', "hint": "look", "code": 127}, 'exec: "no": not found', 127),
        ({"message": "denied", "code": 126}, "denied", 126),
        ({"message": "odd", "code": 0}, "odd", 125),
        ({"message": ["a"], "hint": {"b": 1}, "code": [127]}, "['a']", 125),
        ({"message": "\0\ud800" * 5000, "hint": "\U0001f427" * 5000, "code": 10**300}, "\0\ud800" * 1000, 125),
        ({"code": 127.0}, "", 127),
        ({}, "", 125),
    ],
)
def test_a_container_that_cannot_start(make: Maker, told: dict[str, Any], message: str, code: int) -> None:
    agent = make()
    agent.greet()
    agent.heard("start")
    agent.link.tell(CONTAINER, {"failed": told})
    with pytest.raises(StartFailed) as raised:
        child_channel.await_start(agent.channel)
    assert raised.value.message == message and raised.value.exit_code is not True
    assert (raised.value.exit_code, type(raised.value.exit_code)) == (code, int)
    assert agent.result() == (125, b"", b"")


def test_an_agent_of_another_version(make: Maker) -> None:
    agent = make()
    agent.link.tell(MACHINE, {"hello": PROTOCOL + 1})
    with pytest.raises(StartFailed, match="another version") as raised:
        child_channel.await_start(agent.channel)
    assert raised.value.hint == "the machine's console ends with: [    0.1] Linux / [    0.2] its last words"
    assert agent.result()[0] == 125


def test_an_agent_that_never_answers(make: Maker) -> None:
    agent = make(patience=0.3)
    with pytest.raises(StartFailed, match="the machine has not answered within 0 seconds"):
        child_channel.await_start(agent.channel)
    assert agent.result()[0] == 125


def test_a_machine_that_ends_before_it_has_answered(make: Maker) -> None:
    agent = make()
    os.dup2(agent.output[0], agent.fd)
    with pytest.raises(StartFailed, match="the machine has ended before its container") as raised:
        child_channel.await_start(agent.channel)
    assert "its last words" in raised.value.hint
    assert agent.result()[0] == 125


GARBAGE = [
    (b"\xff" * 100, "a frame of 4294967295 bytes"),
    (struct.pack("<IIBB", 4, 1, MESSAGE, 0) + b"null", "a message that is not an object"),
    (struct.pack("<IIBB", 4, 1, MESSAGE, 0) + b"{{}}", "a message that is not JSON"),
    (struct.pack("<IIBB", 0, 1, 99, 0), "a frame of the unknown kind 99"),
    (struct.pack("<IIBB", 4, 1, 5, 0) + b"\1\0\0\0", "credit for bytes of stream 0 that were not sent"),
    (b"", "the machine has ended before its container"),
]


@pytest.mark.parametrize(("data", "why"), GARBAGE, ids=[why for _, why in GARBAGE])
def test_an_agent_that_does_not_keep_to_the_protocol(make: Maker, data: bytes, why: str) -> None:
    agent = make()
    agent.start()
    if data:
        os.write(agent.fd, data)
    else:
        os.dup2(agent.output[0], agent.fd)  # it is closed
    code, out, errors = agent.result()
    said = [f"underlay: machine: {line}" for line in (why, "[    0.1] Linux", "[    0.2] its last words")]
    assert (code, out, errors.decode().splitlines()) == (137, b"", said)
    assert until(lambda: not alive(int((agent.place / "qemu").read_text())))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_an_end_that_is_said_just_before_the_connection_closes(make: Maker) -> None:
    """A signal that comes meanwhile cannot be passed on: no reason to forget what was said."""
    agent = make()
    agent.start()
    os.kill(agent.process.pid, signal.SIGSTOP)
    agent.end(5)
    os.dup2(agent.output[0], agent.fd)
    os.kill(agent.process.pid, signal.SIGUSR1)
    os.kill(agent.process.pid, signal.SIGCONT)
    assert agent.result()[0] == 5


def test_signals_are_those_of_the_program(make: Maker) -> None:
    agent = make()
    agent.greet()
    agent.heard("start")
    # Before it is there they wait for it.
    os.kill(agent.process.pid, signal.SIGUSR1)
    time.sleep(0.2)
    agent.link.tell(CONTAINER, {"started": 70})
    assert child_channel.await_start(agent.channel) == -1
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGRTMIN + 1, signal.SIGRTMAX):
        os.kill(agent.process.pid, number)
        agent.until(lambda number=number: (CONTAINER, number) in agent.heard("signal"))
    assert agent.heard("signal", 7)[0] == (CONTAINER, signal.SIGUSR1)
    os.kill(agent.process.pid, signal.SIGCHLD)
    agent.end(143)
    assert agent.result()[0] == 143 and len(agent.heard("signal")) == 7


def test_a_program_in_the_container(make: Maker) -> None:
    agent = make()
    agent.start()
    into, out, errors = os.pipe(), os.pipe(), os.pipe()
    channel = agent.call({"exec": {"command": ["id"]}}, {STDIN: into[0], STDOUT: out[1], STDERR: errors[1]})
    for fd in (into[0], out[1], errors[1]):
        os.close(fd)
    [(number, told)] = agent.heard("exec")
    assert told == {"command": ["id"]} and number > CONTAINER
    agent.link.tell(number, {"started": 71})
    assert answer(channel) == {"started": 71}
    reading, writing = os.pipe()
    agent.link.sink(number, STDIN, writing)
    os.write(into[1], b"in")
    os.close(into[1])
    agent.until(lambda: not agent.link._sinks)
    assert os.read(reading, 10) == b"in"
    sent = os.urandom(200_000)
    assert passed(agent, number, STDOUT, out[0], sent) == sent
    assert passed(agent, number, STDERR, errors[0], b"wrong") == b"wrong"
    control.send(channel, {"signal": 2})
    control.send(channel, {"resize": [30, 100]})
    assert agent.heard("signal") == [(number, 2)] and agent.heard("resize") == [(number, [30, 100])]
    agent.link.tell(number, {"exited": 6})
    assert answer(channel) == {"exited": 6} and answer(channel) is None
    assert os.read(out[0], 10) == os.read(errors[0], 10) == b""
    # The next is another one.
    with pytest.raises(StartFailed, match="not found") as raised:
        channel = agent.call({"exec": {}}, {})
        number, _ = agent.heard("exec", 2)[1]
        agent.link.tell(number, {"failed": {"message": "not found", "code": 127}})
        calls._answer(channel)
    assert raised.value.exit_code == 127
    for fd in (reading, out[0], errors[0]):
        os.close(fd)
    agent.end()
    assert agent.result()[0] == 0


def test_somebody_who_goes_while_his_program_runs(make: Maker) -> None:
    """The agent is told: nobody takes what the program writes, and its input has ended."""
    agent = make()
    agent.start()
    into, out = os.pipe(), os.pipe()
    channel = agent.call({"exec": {}}, {STDIN: into[0], STDOUT: out[1]})
    [(number, _)] = agent.heard("exec")
    channel.close()
    assert agent.heard("gone") == [(number, True)]
    agent.link.tell(number, {"started": 5})
    agent.link.tell(number, {"exited": 5})
    agent.raw(DATA, b"late", number, STDOUT)
    for fd in (*into, *out):
        os.close(fd)
    agent.end()
    assert agent.result() == (0, b"", b"")


def test_more_programs_than_there_may_be(make: Maker) -> None:
    agent = make()
    agent.start()
    channels = [agent.call({"exec": {}}, {}) for _ in range(3)]
    agent.heard("exec", 3)
    with pytest.raises(StartFailed, match="3 programs run in the machine already"):
        calls._answer(agent.call({"exec": {}}, {}))
    channels[1].close()
    agent.heard("gone")
    channels.append(agent.call({"exec": {}}, {}))
    agent.heard("exec", 4)
    for channel in channels:
        channel.close()
    agent.end()
    assert agent.result()[0] == 0


STRANGE = [
    {"started": True},
    {"started": -1},
    {"started": 10**300},
    {"started": [1]},
    {"started": None},
    {"started": "70", "failed": {}},
    {"failed": {"message": {"a": []}, "code": {}}, "processes": {}},
    {"failed": {}, "exited": 1, "started": 3},
    {"failed": {"message": "x" * 500_000}},
    {"failed": []},
    {"exited": -1},
    {"exited": 10**300},
    {"exited": False},
    {"exited": 1.5},
    {"processes": []},
    {"limited": {}},
    {"processes": {"files": "x" * 300_000, "uptime": "\ud800"}},
    {"unread": []},
    {"unread": 10**300},
    {"unread": None},
    {"unread": True},
    {"question": 1, "data": "00"},
    {"hello": 3},
    {"off": True},
    {"signal": 9},
    {"": {"": {}}},
    {},
]


@pytest.mark.parametrize("message", STRANGE, ids=lambda message: json.dumps(message)[:30])
def test_strange_words_about_a_program(make: Maker, message: dict[str, Any]) -> None:
    """Whoever has asked for it gets an answer that makes sense, or is told that it has ended; the container runs on."""
    agent = make()
    agent.start()
    out, _ = os.pipe(), agent.link.tell(77, message)
    channel = agent.call({"exec": {}}, {STDOUT: out[1]})
    [(number, _)] = agent.heard("exec")
    for _ in range(3):
        agent.link.tell(number, message)
    agent.link.tell(number, {"started": 4})
    agent.link.tell(number, {"exited": 0})
    agent.until(lambda: not agent.link.waiting)
    while (got := answer(channel)) is not None:
        if isinstance(got, tuple):
            [parcel] = got[1]
            assert calls.ProcessFiles(control.unpack(parcel)).files == {}
        elif "started" in got:
            assert isinstance(got["started"], int)
        elif "failed" in got:
            assert isinstance(got["failed"]["message"], str) and got["failed"]["code"] in (125, 126, 127)
        else:
            assert got["exited"] in range(256)
    os.close(out[0])
    os.close(out[1])
    agent.end(9)
    assert agent.result() == (9, b"", b"")


@pytest.mark.parametrize("message", STRANGE, ids=lambda message: json.dumps(message)[:30])
def test_strange_words_about_the_container(make: Maker, message: dict[str, Any]) -> None:
    agent = make()
    agent.greet()
    agent.heard("start")
    for _ in range(2):
        agent.link.tell(CONTAINER, message)
    agent.link.tell(CONTAINER, {"started": 1})
    agent.end(9)
    agent.until(lambda: not agent.link.waiting)
    try:
        child_channel.await_start(agent.channel)
    except StartFailed as error:
        assert isinstance(error.message, str) and error.exit_code == 125
    code, out, errors = agent.result()
    expected = 9
    if isinstance(message.get("failed"), dict):
        expected = 125
    elif isinstance(message.get("exited"), int):
        expected = message["exited"] & 0xFF
    assert (code, out, errors) == (expected, b"", b"")


@pytest.mark.parametrize(
    "message",
    [
        *({"hello": value} for value in (None, True, 1.0)),
        *({"question": 1, "data": data} for data in ("", "0", "zz", "00" * 100_000, 5, None, [])),
        *({"question": number, "data": "00"} for number in (-1, True, 10**300, "1", None, {})),
        {"off": 0},
        {"off": []},
        {"question": None, "off": False, "hello": None},
        {"answer": 1, "data": "00"},
    ],
    ids=lambda message: json.dumps(message)[:30],
)
def test_strange_words_about_the_machine(make: Maker, message: dict[str, Any]) -> None:
    agent = make()
    agent.start()
    for _ in range(3):
        agent.link.tell(MACHINE, message)
    agent.end(9)
    assert agent.result() == (9, b"", b"")


def test_a_flood_of_questions(make: Maker) -> None:
    agent = make()
    agent.start()
    for number in range(3000):
        agent.link.tell(MACHINE, {"question": number, "data": "00" * 12})
        agent.turn(0)
    agent.until(lambda: not agent.link.waiting)
    assert len(os.listdir(f"/proc/{agent.process.pid}/fd")) < 100
    agent.end(1)
    assert agent.result()[0] == 1


def test_a_flood_of_data_for_nobody(make: Maker) -> None:
    agent = make()
    agent.start()
    for number in range(300):
        agent.link.tell(number % 3 + 5, {"exited": 1, "text": "x" * 50_000})
        agent.turn(0)
    agent.until(lambda: not agent.link.waiting)
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    assert int(status.partition("VmHWM:")[2].split()[0]) < 100_000
    agent.end(1)
    assert agent.result()[0] == 1


def test_a_terminal(make: Maker) -> None:
    agent = make(terminal=True)
    agent.start()
    assert agent.heard("resize") == [(CONTAINER, [24, 81])]
    fcntl.ioctl(agent.output[0], termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    os.kill(agent.process.pid, signal.SIGWINCH)
    assert agent.heard("resize", 2)[1] == (CONTAINER, [30, 100])
    os.write(agent.input[1], b"\x03raw\n")
    reading, writing = os.pipe()
    agent.link.sink(CONTAINER, STDIN, writing)
    agent.until(lambda: select.select([reading], [], [], 0)[0])
    assert os.read(reading, 10) == b"\x03raw\n"  # nothing is done to it on the host
    assert passed(agent, CONTAINER, STDOUT, agent.output[0], b"shown\n") == b"shown\n"
    os.close(reading)
    agent.end(3)
    agent.until(lambda: agent.process.poll() is not None)
    assert agent.process.returncode == 3


def limited(agent: Agent, resources: Any, answer: dict[str, Any]) -> list[str]:
    """Have limits changed, to which the agent says `answer`; returns what the caller is told of an error."""
    errors: list[str] = []

    def work() -> None:
        try:
            calls.limit(str(agent.place), resources)
        except Conflict as error:
            errors.append(f"{error.message} ({error.hint})")

    caller = threading.Thread(target=work)
    count = len([1 for _, message in agent.told if "limits" in message])
    caller.start()
    number, given = agent.heard("limits", count + 1)[-1]
    assert given == resources
    agent.link.tell(number, answer)
    agent.until(lambda: not caller.is_alive())
    return errors


def test_limits_that_change(make: Maker) -> None:
    agent = make()
    agent.start()
    assert limited(agent, {"pids": {"limit": 5}}, {"limited": True}) == []
    assert limited(agent, None, {"limited": True}) == []
    refused = {"failed": {"message": "write: no", "hint": "memory.limit"}}
    assert limited(agent, {}, refused) == ["the container's machine has refused the change: write: no (memory.limit)"]


def test_limits_of_a_machine_that_does_not_answer(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should it do so later, it takes back what it was asked for."""
    agent = make()
    agent.start()
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    with pytest.raises(Conflict, match="has not answered"):
        calls.limit(str(agent.place), {"pids": {"limit": 5}})
    assert [given for _, given in agent.heard("limits", 2)] == [{"pids": {"limit": 5}}, None]


def test_calls_of_a_machine_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="does not answer"):
        calls.processes(str(tmp_path))
    with pytest.raises(Conflict, match="does not answer"):
        calls.limit(str(tmp_path), None)
    record: Any = {"machine": str(tmp_path), "terminal": False, "detach": False, "interactive": True}
    with pytest.raises(Conflict, match="does not answer"):
        calls.begin(record)


@pytest.mark.parametrize(
    "told",
    [None, 1, [], {}, {"files": {}}, {"files": [1, [], [1, 2, 3], ["1", "", "", ""]], "uptime": 5}, {"uptime": "x"}],
)
def test_lists_of_processes_that_are_none(told: object) -> None:
    made = calls.ProcessFiles(told)
    assert made.files == {} and made.uptime == 0.0
