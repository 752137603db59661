"""The connection of stand-in and agent: messages, streams and their windows; and what a hostile end can do: end it."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from underlay.errors import Corrupt
from underlay.runtime.machine import link
from underlay.runtime.machine.link import CREDIT, DATA, END, MESSAGE, PART, STDERR, STDIN, STDOUT, WINDOW, Link

MOST = 200 << 10  # bytes of a message
CHUNK = 64 << 10


class End:
    """One end, and the messages that it has got."""

    def __init__(self, sock: socket.socket) -> None:
        self.poll = select.poll()
        self.link = Link(self.poll, sock.detach(), MOST)
        self.messages: list[tuple[int, Any]] = []

    def turn(self) -> bool:
        """Do what is ready; returns whether something was."""
        ready = self.poll.poll(0)
        for fd, mask in ready:
            self.messages += self.link.handle(fd, mask) or ()
        return bool(ready)

    def size(self) -> int:
        """The bytes that it keeps for the other end."""
        parts = sum(map(len, self.link._parts.values()))
        return len(self.link._in) + len(self.link._out) + parts + sum(len(s.held) for s in self.link._sinks.values())


def pump(*ends: End, turns: int = 5000) -> None:
    """Let both ends work until nothing is ready any more."""
    for _ in range(turns):
        busy = [end.turn() for end in ends]
        if not any(busy):
            return
    raise AssertionError("the ends keep each other busy")


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    left, right = socket.socketpair()
    made = End(left), End(right)
    yield made
    for end in made:
        for conversation in {key[0] for key in (*end.link._sources, *end.link._sinks)}:
            end.link.end(conversation)
        os.close(end.link.fd)


class Pipe:
    """A pipe whose ends are used one by one."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        os.set_blocking(self.out, False)
        os.set_blocking(self.into, False)

    def read(self) -> bytes:
        """What can be read now."""
        data = b""
        try:
            while part := os.read(self.out, 1 << 20):
                data += part
        except BlockingIOError:
            pass
        return data

    def fill(self) -> int:
        """Write until it is full; returns the bytes."""
        count = 0
        try:
            while True:
                count += os.write(self.into, bytes(CHUNK))
        except BlockingIOError:
            return count

    def ended(self) -> bool:
        """Whether it is at its end."""
        try:
            return os.read(self.out, 1) == b""
        except BlockingIOError:
            return False


def test_messages_of_all_lengths(ends: tuple[End, End]) -> None:
    one, other = ends
    told = [
        {"n": n, "text": "ä" * n, "list": [None, True, 1.5, {"deep": []}]} for n in (0, 1, CHUNK // 2, CHUNK, 90_000)
    ]
    for number, message in enumerate(told):
        one.link.tell(number, message)
        other.link.tell(number, message)
    pump(*ends)
    assert one.messages == other.messages == list(enumerate(told))
    assert not one.link.waiting and one.size() == other.size() == 0
    one.link.tell(7, {"name": os.fsdecode(b"caf\xe9")})  # not UTF-8, as names of files are
    pump(*ends)
    assert other.messages[-1] == (7, {"name": os.fsdecode(b"caf\xe9")})


def test_streams_go_both_ways_to_their_ends(ends: tuple[End, End]) -> None:
    one, other = ends
    rng = random.Random(1)
    sent: dict[tuple[int, int, int], bytes] = {}
    got: dict[tuple[int, int, int], bytes] = {}
    pipes = {}
    for side, conversation, stream in ((0, 1, STDOUT), (0, 1, STDERR), (0, 2, STDOUT), (1, 1, STDIN), (1, 2, STDIN)):
        into, out = Pipe(), Pipe()
        ends[side].link.source(conversation, stream, into.out)
        ends[1 - side].link.sink(conversation, stream, out.into)
        key = side, conversation, stream
        pipes[key], sent[key], got[key] = (into, out), rng.randbytes(1_000_000), b""
    left = dict(sent)
    while any(left.values()):
        for key, (into, out) in pipes.items():
            try:
                left[key] = left[key][os.write(into.into, left[key][:CHUNK]) :]
            except BlockingIOError:
                pass
            got[key] += out.read()
        pump(*ends)
    for into, _ in pipes.values():
        os.close(into.into)
    for _ in range(50):
        pump(*ends)
        for key, (_, out) in pipes.items():
            got[key] += out.read()
    assert got == sent
    for _, out in pipes.values():
        assert out.ended()
        os.close(out.out)
    assert not one.link._sources and not one.link._sinks and not other.link._by_fd
    assert one.size() == other.size() == 0


def test_a_reader_that_does_not_read_holds_up_its_stream_only(ends: tuple[End, End]) -> None:
    one, other = ends
    lazy_in, lazy_out, quick_in, quick_out = Pipe(), Pipe(), Pipe(), Pipe()
    for stream, into, out in ((STDOUT, lazy_in, lazy_out), (STDERR, quick_in, quick_out)):
        one.link.source(1, stream, into.out)
        other.link.sink(1, stream, out.into)
    written = passed = 0
    while count := lazy_in.fill():
        written += count
        pump(*ends)
        assert len(other.link._sinks[1, STDOUT].held) <= WINDOW
    pump(*ends)
    assert one.link.blocked(1) and one.link.sends(1) and other.link.held(1)
    assert len(other.link._sinks[1, STDOUT].held) <= WINDOW and one.size() < WINDOW and other.size() <= WINDOW + CHUNK
    for _ in range(40):
        passed += quick_in.fill()
        pump(*ends)
        passed -= len(quick_out.read())
        pump(*ends)
        passed -= len(quick_out.read())
    one.link.tell(1, {"still": "heard"})
    pump(*ends)
    assert passed == 0 and other.messages == [(1, {"still": "heard"})]
    # When it does read, all of it comes.
    got = 0
    os.close(lazy_in.into)
    for _ in range(200):
        got += len(lazy_out.read())
        pump(*ends)
    assert got == written and lazy_out.ended() and not one.link.sends(2)
    assert (1, STDOUT) not in one.link._sources and not other.link.held(1)
    for fd in (quick_in.into, quick_out.out, lazy_out.out):
        os.close(fd)


def test_a_reader_that_is_gone_stops_the_sender(ends: tuple[End, End]) -> None:
    one, other = ends
    into, out = Pipe(), Pipe()
    one.link.source(3, STDOUT, into.out)
    other.link.sink(3, STDOUT, out.into)
    os.close(out.out)
    os.write(into.into, b"nobody wants it")
    pump(*ends)
    assert one.messages == [(3, {"unread": STDOUT})]
    # What is on its way is dropped, and gives credit all the same.
    for _ in range(20):
        into.fill()
        pump(*ends)
    assert other.size() == 0 and one.link._sources[3, STDOUT].credit == WINDOW
    one.link.end_source(3, STDOUT)
    one.link.end_source(3, STDOUT)
    pump(*ends)
    with pytest.raises(BrokenPipeError):
        os.write(into.into, b"x")
    assert not other.link._sinks and not other.link._by_fd
    os.close(into.into)


def test_a_reader_that_goes_with_something_held_for_it(ends: tuple[End, End]) -> None:
    one, other = ends
    into, out = Pipe(), Pipe()
    one.link.source(3, STDOUT, into.out)
    other.link.sink(3, STDOUT, out.into)
    for _ in range(20):
        into.fill()
        pump(*ends)
    assert other.link.held(3)
    os.close(out.out)
    pump(*ends)
    assert not other.link.held(3) and other.size() == 0 and one.messages == [(3, {"unread": STDOUT})]
    os.close(into.into)


def test_the_end_of_a_conversation(ends: tuple[End, End]) -> None:
    one, other = ends
    into, out, kept = Pipe(), Pipe(), Pipe()
    one.link.source(1, STDOUT, into.out)
    one.link.sink(1, STDIN, kept.into)
    one.link.source(2, STDOUT, os.open("/dev/null", os.O_RDONLY))
    one.link.end(1)
    one.link.end(1)
    with pytest.raises(BrokenPipeError):
        os.write(into.into, b"x")
    assert kept.ended() and not one.link.sends(1) and one.link.sends(2)
    # What comes late is dropped, whatever it is.
    raw = struct.Struct("<IIBB")
    for kind, payload in ((DATA, b"late"), (END, b""), (CREDIT, b"\1\0\0\0"), (DATA, b"")):
        os.write(other.link.fd, raw.pack(len(payload), 1, kind, STDIN) + payload)
    other.link.sink(2, STDOUT, -1)
    pump(*ends)
    assert one.size() == other.size() == 0 and not one.link.sends(2)
    for fd in (into.into, kept.out, out.into, out.out):
        os.close(fd)


def test_the_end_of_a_conversation_amid_a_message(ends: tuple[End, End]) -> None:
    one, other = ends
    one.link._frame(1, PART, 0, b'{"text":"begun')
    pump(*ends)
    other.link.end(1)
    one.link._frame(1, MESSAGE, 0, b' and ended"}')
    pump(*ends)
    assert other.messages == [(1, {"text": "begun and ended"})]


def test_a_connection_that_is_closed(ends: tuple[End, End]) -> None:
    one, other = ends
    other.link.tell(1, {"exited": 3})
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, other.link.fd)  # the fixture closes it
    os.close(null)
    # What was said before is heard, though nothing can be said any more.
    one.link.tell(1, {"signal": 15})
    one.link.tell(1, {"signal": 15})
    assert not one.link.closed and not one.link.waiting
    pump(one)
    assert one.messages == [(1, {"exited": 3})] and one.link.closed
    into = Pipe()
    one.link.source(1, STDIN, into.out)
    for _ in range(100):
        into.fill()
        pump(one)
        one.link.tell(1, {"text": "x" * CHUNK})
    assert one.size() == 0
    os.close(into.into)


# A hostile other end: Corrupt, or nothing.


class Attack:
    """An end, and the bare connection to it."""

    def __init__(self) -> None:
        left, self.raw = socket.socketpair()
        self.raw.setblocking(False)
        self.end = End(left)
        self.pipes = [Pipe() for _ in range(4)]
        self.end.link.sink(1, STDOUT, self.pipes[0].into)
        self.end.link.sink(1, STDERR, -1)
        self.end.link.source(1, STDIN, self.pipes[1].out)
        self.end.link.sink(2, STDOUT, self.pipes[2].into)
        self.end.link.source(2, STDIN, self.pipes[3].out)

    def close(self) -> None:
        """Close all."""
        for conversation in (1, 2):
            self.end.link.end(conversation)
        for fd in (*(self.pipes[n].out for n in (0, 2)), *(self.pipes[n].into for n in (1, 3)), self.end.link.fd):
            os.close(fd)
        self.raw.close()

    def send(self, data: bytes) -> None:
        """Send bytes, of which the end takes some as often as need be; what it says is not read."""
        while data:
            try:
                data = data[self.raw.send(data) :]
            except BlockingIOError:
                self.end.turn()
        pump(self.end)

    def frame(self, kind: int, payload: bytes = b"", conversation: int = 1, stream: int = STDOUT) -> None:
        """Send a frame."""
        self.send(frame(kind, payload, conversation, stream))


def frame(kind: int, payload: bytes = b"", conversation: int = 1, stream: int = STDOUT) -> bytes:
    return struct.pack("<IIBB", len(payload), conversation, kind, stream) + payload


@pytest.fixture
def attack() -> Iterator[Attack]:
    made = Attack()
    yield made
    made.close()


@pytest.mark.parametrize("size", [CHUNK + 1, 1 << 20, (1 << 32) - 1])
def test_a_frame_that_is_too_long(attack: Attack, size: int) -> None:
    with pytest.raises(Corrupt, match=f"a frame of {size} bytes"):
        attack.send(struct.pack("<IIBB", size, 1, DATA, STDOUT))


def test_a_message_that_is_too_long(attack: Attack) -> None:
    with pytest.raises(Corrupt, match="a message of more than"):
        for _ in range(MOST // CHUNK + 2):
            attack.frame(PART, b" " * CHUNK)
            assert attack.end.size() <= MOST
    assert attack.end.size() <= MOST + 2 * CHUNK + 100  # with the frame itself


def test_a_message_that_its_last_part_makes_too_long(attack: Attack) -> None:
    for _ in range(MOST // CHUNK):
        attack.frame(PART, b" " * CHUNK)
    with pytest.raises(Corrupt, match="a message of more than"):
        attack.frame(MESSAGE, b" " * CHUNK)


def test_parts_of_many_messages(attack: Attack) -> None:
    with pytest.raises(Corrupt, match="a message of more than"):
        for conversation in range(1000):
            attack.frame(PART, b" " * 1000, conversation)
    assert len(attack.end.link._parts) <= 65 and attack.end.size() <= MOST + CHUNK


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[]", "not an object"),
        (b"1", "not an object"),
        (b"null", "not an object"),
        (b'"{}"', "not an object"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{}{}", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":Infinity}', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b'{"a":' * 10_000, "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
        (bytes(1000), "not JSON"),
    ],
)
def test_messages_that_are_none(attack: Attack, text: bytes, why: str) -> None:
    with pytest.raises(Corrupt, match=why):
        attack.frame(MESSAGE, text)


def test_data_without_credit(attack: Attack) -> None:
    attack.pipes[0].fill()
    with pytest.raises(Corrupt, match="without credit"):
        for _ in range(WINDOW // CHUNK + 1):
            attack.frame(DATA, bytes(CHUNK))
            assert attack.end.size() <= WINDOW + CHUNK


def test_credit_for_nothing(attack: Attack) -> None:
    os.write(attack.pipes[1].into, b"abc")
    pump(attack.end)
    attack.frame(CREDIT, b"\x03\0\0\0", 1, STDIN)
    attack.frame(CREDIT, b"", 1, STDIN)
    for payload in (b"\x01", b"\xff\xff\xff\xff", b"\x01\0\0\0"):
        with pytest.raises(Corrupt, match="not sent"):
            attack.frame(CREDIT, payload, 1, STDIN)


@pytest.mark.parametrize("kind", [0, 6, 17, 255])
def test_frames_of_no_kind(attack: Attack, kind: int) -> None:
    with pytest.raises(Corrupt, match=f"unknown kind {kind}"):
        attack.frame(kind, b"x")


def test_what_belongs_to_nothing_is_ignored(attack: Attack) -> None:
    for conversation, stream in ((9, STDOUT), (1, 77), (0, 0), ((1 << 32) - 1, 255), (1, STDIN)):
        for kind, payload in ((DATA, bytes(CHUNK)), (END, b"junk")):
            attack.frame(kind, payload, conversation, stream)
    attack.frame(CREDIT, b"\xff\xff\xff\xff", 9, STDIN)
    attack.frame(CREDIT, b"\xff\xff\xff\xff", 1, STDOUT)
    attack.frame(END)
    attack.frame(END)
    attack.frame(DATA, b"after the end")
    assert attack.end.messages == [] and attack.end.size() == 0 and attack.pipes[0].ended()


def test_who_provokes_answers_and_does_not_read_them(attack: Attack) -> None:
    with pytest.raises(Corrupt, match="bytes that are not read"):
        for _ in range(2000):
            attack.send(frame(DATA, b"x", 1, STDERR) * 1000)  # each is answered with its credit
    assert attack.end.size() < link._PATIENCE + (1 << 20)


def test_who_does_not_read_is_sent_no_more_of_a_stream(attack: Attack) -> None:
    """Credit without end, for what is not read."""
    for _ in range(200):
        attack.pipes[1].fill()
        pump(attack.end)
        credit = WINDOW - attack.end.link._sources[1, STDIN].credit
        if credit:
            attack.frame(CREDIT, credit.to_bytes(4, "little"), 1, STDIN)
    assert attack.end.size() <= link._QUEUE + CHUNK + 100


def random_frames(rng: random.Random) -> bytes:
    """Bytes that are mostly frames, some of them as they should be."""
    data = b""
    for _ in range(rng.randrange(1, 30)):
        way = rng.random()
        kind = rng.choice((MESSAGE, PART, DATA, END, CREDIT, rng.randrange(256)) if way < 0.2 else (1, 2, 3, 4, 5))
        text = rng.choice((b"{}", b'{"a":[1,2]}', b"[", b'{"unread":1}', rng.randbytes(rng.randrange(40)), bytes(5000)))
        payload = rng.choice((b"\1\0\0\0", b"\0\0\4\0", b"")) if kind == CREDIT else text
        made = frame(kind, payload, rng.choice((0, 1, 1, 2, 3, rng.getrandbits(32))), rng.choice((0, 1, 1, 2, 9)))
        if rng.random() < 0.02:
            made = bytes(byte ^ (rng.random() < 0.05) * rng.randrange(256) for byte in made)
        data += made
    return data if rng.random() < 0.7 else data[: rng.randrange(len(data) + 1)] + rng.randbytes(rng.randrange(30))


def test_random_bytes_and_frames() -> None:
    rng = random.Random(73)
    corrupt = 0
    for number in range(400):
        attack = Attack()
        try:
            for _ in range(10):
                data = rng.randbytes(rng.randrange(1, 300)) if number % 10 == 0 else random_frames(rng)
                try:
                    attack.send(data)
                except Corrupt:
                    corrupt += 1
                    break
                assert attack.end.size() <= MOST + 5 * WINDOW
                for pipe in (attack.pipes[0], attack.pipes[2]):
                    pipe.read()
                if rng.random() < 0.3:
                    os.write(attack.pipes[1].into, b"input")
        finally:
            attack.close()
    assert corrupt > 200
