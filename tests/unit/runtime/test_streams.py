"""Copying streams: slow readers, lost readers, input that waits, detach keys split over reads."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.runtime.monitor import streams
from underlay.runtime.monitor.streams import STDERR, STDOUT, Relay


class Recorder:
    """Stands in for the log."""

    def __init__(self) -> None:
        self.data: dict[int, bytes] = {}

    def write(self, stream: int, data: bytes) -> None:
        self.data[stream] = self.data.get(stream, b"") + data


class Bench:
    """A relay with the container's ends of its streams in our hands."""

    def __init__(self, terminal: bool = False) -> None:
        self.poll = select.poll()
        self.log = Recorder()
        self.relay = Relay(self.poll, self.log, terminal)  # type: ignore[arg-type]
        out, self.out = streams.output_pipe()
        err, self.err = streams.output_pipe()
        self.relay.add_output(out, STDOUT)
        self.relay.add_output(err, STDERR)
        self.input, self.relay.input = streams.input_pipe()
        self.extra: list[int] = []

    def client(self, keys: bytes = b"", stdin: bool = True) -> tuple[streams.Client, int, int]:
        """Attach someone; returns (client, his writing end of stdin, his reading end of stdout)."""
        source, give = os.pipe()
        take, target = os.pipe()
        os.set_blocking(take, False)
        client = self.relay.attach(source if stdin else -1, target, target, keys)
        os.close(source)
        os.close(target)
        self.extra += [give, take]
        return client, give, take

    def turn(self, times: int = 200) -> None:
        """Handle what is ready until nothing is."""
        for _ in range(times):
            ready = self.poll.poll(0)
            if not ready:
                return
            for fd, mask in ready:
                self.relay.handle(fd, mask)

    def close(self, *fds: int) -> None:
        for fd in fds:
            os.close(fd)
            if fd in self.extra:
                self.extra.remove(fd)


@pytest.fixture(autouse=True)
def no_sigpipe() -> Iterator[None]:
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGPIPE, before)


@pytest.fixture
def bench() -> Iterator[Bench]:
    before = set(os.listdir("/proc/self/fd"))
    made = Bench()
    yield made
    made.relay.close()
    for fd in [*made.extra, made.out, made.err, made.input]:
        try:
            os.close(fd)
        except OSError:
            pass
    assert set(os.listdir("/proc/self/fd")) <= before, "descriptors left open"


def drain(fd: int) -> bytes:
    data = b""
    while True:
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


def test_both_streams_reach_log_and_reader(bench: Bench) -> None:
    _, _, take = bench.client()
    os.write(bench.out, b"out")
    bench.turn()
    os.write(bench.err, b"err")
    bench.turn()
    assert bench.log.data == {STDOUT: b"out", STDERR: b"err"} and drain(take) == b"outerr"


def test_a_slow_reader_stops_the_container_and_loses_nothing(bench: Bench) -> None:
    _, _, take = bench.client()
    os.set_blocking(bench.out, False)
    sent = b""
    for number in range(200):
        piece = bytes([number]) * 8192
        try:
            sent += piece[: os.write(bench.out, piece)]
        except BlockingIOError:
            break
        bench.turn(5)
    else:
        pytest.fail("the container never had to wait")
    assert bench.relay.blocked
    # One chunk at most is held back; the rest waits in the pipe.
    waiting = sum(len(d) for client in bench.relay.clients for d in client.pending.values())
    assert 0 < waiting <= streams.CHUNK
    received = b""
    while piece := drain(take):
        received += piece
        bench.turn()
    assert received == sent and not bench.relay.blocked
    assert bench.log.data[STDOUT] == sent


def test_a_second_reader_gets_all_too(bench: Bench) -> None:
    _, _, slow = bench.client()
    _, _, other = bench.client(stdin=False)
    data = os.urandom(200_000)
    os.write(bench.out, data)
    received, second = b"", b""
    for _ in range(100):
        bench.turn()
        second += drain(other)
        received += os.read(slow, 5000) if select.select([slow], [], [], 0)[0] else b""
        if len(received) == len(data):
            break
    bench.turn()
    second += drain(other)
    assert received == data and second == data


def test_a_lost_reader_is_noticed_and_the_container_goes_on(bench: Bench) -> None:
    client, _, take = bench.client()
    bench.close(take)
    os.write(bench.out, b"x")
    bench.turn()
    assert client.lost and not client.targets.get(STDOUT)
    bench.relay.detach(client)
    for _ in range(100):
        os.write(bench.out, b"y" * 10_000)
        bench.turn()
    assert len(bench.log.data[STDOUT]) == 1_000_001


def test_a_reader_lost_while_it_was_slow_releases_the_container(bench: Bench) -> None:
    client, _, take = bench.client()
    os.set_blocking(bench.out, False)
    os.write(bench.out, b"z" * 200_000)
    bench.turn()
    assert bench.relay.blocked
    bench.close(take)
    bench.turn()
    assert client.lost and not bench.relay.blocked
    assert len(bench.log.data[STDOUT]) == 200_000


def test_input_waits_for_the_container(bench: Bench) -> None:
    _, give, _ = bench.client()
    os.set_blocking(give, False)
    data = os.urandom(400_000)
    sent = 0
    received = b""
    for _ in range(1000):
        if sent < len(data):
            try:
                sent += os.write(give, data[sent : sent + 30_000])
            except BlockingIOError:
                received += os.read(bench.input, 7777)
            if sent == len(data):
                bench.close(give)
        elif piece := os.read(bench.input, 7777):
            received += piece
        else:
            break
        bench.turn(3)
    assert received == data  # and its end was passed on, after the last byte
    assert bench.relay.input == -1


def test_input_that_nobody_reads_ends(bench: Bench) -> None:
    _, give, _ = bench.client()
    os.close(bench.input)
    os.write(give, b"x")
    bench.turn()
    assert bench.relay.input == -1 and bench.relay.clients[0].source == -1
    bench.input = os.open("/dev/null", os.O_RDONLY)


def test_unread_input_goes_with_the_next_process(bench: Bench) -> None:
    _, give, _ = bench.client()
    os.set_blocking(give, False)
    data = os.urandom(65536 + 50_000)
    sent = 0
    while sent < len(data):
        sent += os.write(give, data[sent:])
        bench.turn()
    bench.close(give)
    bench.turn()
    assert bench.relay.unread and bench.relay.input >= 0
    # Another relay takes over, as after the monitor's execve.
    second = Relay(select.poll(), None, False)
    second.input = os.dup(bench.relay.input)
    second.resume_input(bench.relay.unread)
    bench.relay.close()
    received = b""
    while piece := os.read(bench.input, 100_000):
        received += piece
        for fd, mask in second.poll.poll(0):
            second.handle(fd, mask)
    assert received == data and second.input == -1


def test_no_input_is_taken_for_a_client_without_one(bench: Bench) -> None:
    client, _, take = bench.client(stdin=False)
    assert client.source == -1
    bench.relay.detach(client)
    assert bench.relay.input >= 0  # it was not his to close
    bench.close(take)


def typed(bench: Bench, keys: bytes, pieces: list[bytes]) -> tuple[bytes, bool]:
    """What reaches the container of typed `pieces`, and whether they have detached."""
    client, give, _ = bench.client(keys)
    os.set_blocking(bench.input, False)
    for piece in pieces:
        os.write(give, piece)
        bench.turn()
        if client.detached:
            break
    return drain(bench.input), client.detached


@pytest.mark.parametrize(
    ("keys", "pieces", "expected", "detached"),
    [
        (b"\x10\x11", [b"ab\x10\x11cd"], b"ab", True),
        (b"\x10\x11", [b"a\x10", b"\x11"], b"a", True),
        (b"\x10\x11", [b"\x10x\x10", b"y"], b"\x10x\x10y", False),
        (b"\x10\x11", [b"\x10\x10\x11"], b"\x10", True),
        (b"\x10\x11", [b"\x11\x10"], b"\x11", False),  # half of the keys is held back
        (b"x", [b"abxcd"], b"ab", True),
        (b"", [b"\x10\x11"], b"\x10\x11", False),
        (b"aab", [b"aaab"], b"a", True),
    ],
)
def test_detach_keys(bench: Bench, keys: bytes, pieces: list[bytes], expected: bytes, detached: bool) -> None:
    assert typed(bench, keys, pieces) == (expected, detached)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=4).map(lambda b: bytes(x & 3 for x in b)), min_size=1, max_size=8))
def test_detach_keys_however_they_are_split(pieces: list[bytes]) -> None:
    keys = b"\1\2"
    whole = b"".join(pieces)
    made = Bench()
    try:
        received, detached = typed(made, keys, pieces)
    finally:
        made.relay.close()
        for fd in [*made.extra, made.out, made.err, made.input]:
            os.close(fd)
    if keys in whole:
        assert detached and received == whole[: whole.index(keys)]
    else:
        assert not detached and received == whole.removesuffix(b"\1")


def test_the_callers_descriptors_stay_blocking(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    copy = streams.own_description(writer, os.O_WRONLY)
    assert os.get_blocking(writer) and not os.get_blocking(copy) and not os.get_inheritable(copy)
    os.write(copy, b"same pipe")
    assert os.read(reader, 20) == b"same pipe"
    for fd in (reader, writer, copy):
        os.close(fd)
    with (tmp_path / "file").open("wb") as file:
        file.write(b"before ")
        file.flush()
        copy = streams.own_description(file.fileno(), os.O_WRONLY)
        os.write(copy, b"after")  # at the caller's position, not at 0
        os.close(copy)
    assert (tmp_path / "file").read_bytes() == b"before after"


def test_closed_terminal_is_an_end() -> None:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    relay = Relay(select.poll(), Recorder(), True)  # type: ignore[arg-type]
    relay.add_output(master, STDOUT)
    os.write(slave, b"bye")
    os.close(slave)
    for _ in range(5):
        for fd, mask in relay.poll.poll(0):
            relay.handle(fd, mask)
    assert relay.outputs == {}
