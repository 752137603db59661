"""The control socket: modes, long paths, descriptors, and garbage that must never raise."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.errors import Conflict
from underlay.lean import jsontext
from underlay.runtime.monitor import control
from underlay.runtime.monitor.monitor import Monitor


def test_mode_is_right_from_the_first_instant(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        server = control.listen(str(tmp_path))
        assert (tmp_path / "control").stat().st_mode & 0o777 == 0o600
        assert os.umask(0) == 0  # and the caller's umask is what it was
    finally:
        os.umask(before)
    server.close()


def test_long_directories_and_remains(tmp_path: Path) -> None:
    place = tmp_path / ("d" * 100) / ("e" * 100)
    place.mkdir(parents=True)
    (place / "control").write_text("left by a crash")
    server = control.listen(str(place))
    client = control.connect(str(place))
    assert client is not None
    channel = control.accept(server)
    assert control.send(client, {"a": 1})
    assert control.receive(channel) == ({"a": 1}, [])
    client.close()
    assert control.receive(channel) == (None, [])
    channel.close()
    server.close()
    assert control.connect(str(place)) is None
    assert control.connect(str(tmp_path / "nowhere")) is None


def test_descriptors_come_along_closed_on_exec() -> None:
    left, right = control.pair()
    reader, writer = os.pipe()
    assert control.send(left, {"x": "y"}, (reader, writer))
    message, fds = control.receive(right)
    assert message == {"x": "y"} and len(fds) == 2
    assert not any(os.get_inheritable(fd) for fd in fds)
    os.write(fds[1], b"through")
    assert os.read(reader, 10) == b"through"
    for fd in (reader, writer, *fds):
        os.close(fd)
    left.close()
    assert control.receive(right) == (None, [])
    assert control.send(right, {}) is False


def test_names_that_are_no_utf8() -> None:
    left, right = control.pair()
    odd = os.fsdecode(b"a\xffb\xed\xa0\x80")
    assert control.send(left, {"failed": {"message": odd}})
    assert control.receive(right) == ({"failed": {"message": odd}}, [])


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
WORDS = st.sampled_from(["attach", "resize", "signal", "stopping", "paused", "keys", "stdin", "stdout", "removes", "x"])
MESSAGE = st.dictionaries(WORDS, st.one_of(JSON, st.dictionaries(WORDS, JSON, max_size=4)), max_size=4)
ODD = [
    {"signal": 1 << 70},
    {"signal": -5},
    {"signal": True},
    {"resize": [1e999, 2]},
    {"resize": [None, "x"]},
    {"resize": [1 << 80, -1]},
    {"attach": {"keys": 5, "stdin": True}},
    {"attach": {"keys": True, "stdout": 1}},
    {"attach": {"keys": [1 << 70, "a", None], "stdout": 1}},
    {"attach": []},
    {"paused": "perhaps"},
]


def monitor(directory: Path) -> tuple[Monitor, socket.socket]:
    """A monitor of nothing, and a connection to it."""
    launch = {
        "directory": str(directory),
        "state": str(directory),
        "log": {"path": str(directory / "log"), "driver": "none", "limit": 0, "keep": 1},
        "terminal": True,
        "stdin_once": True,
        "cgroup_used": {},
    }
    made = Monitor(launch, -1, -1)
    ours, theirs = control.pair()
    made.relay.input = os.open("/dev/null", os.O_WRONLY)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # signals reach nobody
    made.pid, made.pidfd = pid, os.pidfd_open(pid)
    made.add_channel(theirs, None)
    return made, ours


def answer_all(made: Monitor) -> None:
    for _ in range(100):
        ready = made.poll.poll(0)
        if not ready:
            return
        for fd, mask in ready:
            made._handle(fd, mask)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(MESSAGE, st.binary(min_size=1, max_size=60)), min_size=1, max_size=5), st.booleans())
def test_garbage_never_raises(tmp_path_factory: pytest.TempPathFactory, messages: list, with_fds: bool) -> None:
    directory = tmp_path_factory.mktemp("control")
    made, client = monitor(directory)
    null = os.open("/dev/null", os.O_RDWR)
    before = len(os.listdir("/proc/self/fd"))
    try:
        for message in messages:
            if isinstance(message, bytes):
                client.send(message)
            else:
                control.send(client, message, (null,) * 3 if with_fds else ())
            answer_all(made)
        client.close()
        answer_all(made)
        assert made.channels == {} and made.removers == set()
        made.relay.close()
        assert len(os.listdir("/proc/self/fd")) <= before
    finally:
        os.waitpid(made.pid, 0)
        os.close(made.pidfd)
        os.close(null)


@pytest.mark.parametrize("message", ODD)
def test_odd_messages(tmp_path: Path, message: dict) -> None:
    made, client = monitor(tmp_path)
    null = os.open("/dev/null", os.O_RDWR)
    assert control.send(client, message, (null, null, null))
    answer_all(made)
    assert control.send(client, {"stopping": True})
    answer_all(made)
    assert made.stopping
    seen = []
    while select.select([client], [], [], 0)[0]:
        seen.append(control.receive(client)[0])
    assert {"noted": True} in seen
    os.waitpid(made.pid, 0)
    os.close(made.pidfd)
    os.close(null)
    made.relay.close()


def test_descriptors_that_cannot_be_used_cost_the_connection_only(tmp_path: Path) -> None:
    made, client = monitor(tmp_path)
    listening = socket.socket(socket.AF_UNIX)
    control.send(client, {"attach": {"stdin": True, "stdout": True, "stderr": True}}, (listening.fileno(),) * 3)
    answer_all(made)
    client.close()
    answer_all(made)
    assert made.channels == {}
    os.waitpid(made.pid, 0)
    os.close(made.pidfd)


@given(st.text())
def test_json_text_keeps_all_strings(text: str) -> None:
    value = {"k": [text, os.fsdecode(text.encode("utf-8", "surrogatepass"))]}
    assert jsontext.loads(jsontext.dumps(value).encode()) == value


def test_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    ours, theirs = control.pair()
    control.send(theirs, {"attached": True})  # something else first
    control.send(theirs, {"noted": True})
    control.ask(ours, {"stopping": True})
    assert control.receive(theirs)[0] == {"stopping": True}
    with pytest.raises(Conflict, match="has not answered"):
        control.ask(ours, {"relaunch": True})
    # Whoever reads it now learns that the answer is not wanted any more.
    assert control.receive(theirs)[0] == {"relaunch": True}
    assert not control.send(theirs, {"noted": True})
    ours.close()
    theirs.close()
    ours, theirs = control.pair()
    theirs.close()
    control.ask(ours, {"stopping": True})  # there is nobody to answer
    ours.close()
