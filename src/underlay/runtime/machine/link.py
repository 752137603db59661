"""The connection between stand-in and agent: frames with messages and streams, the same at both ends. Imports little.

A frame is a head (length of what follows, conversation, kind, stream) and at most 64 KiB. Conversation 0 is about the
machine, every other about one program. Kinds: MESSAGE, a JSON object, which PARTs may come before; DATA of a stream, END of
it, and CREDIT, the bytes that the reader of a stream has taken. A sender may have WINDOW bytes of each stream on their way,
so a slow reader holds up its own stream only, and no end keeps more than WINDOW bytes a stream for the other. The other end
of the stand-in's is not to be trusted: whatever does not keep to this raises Corrupt.
"""

from __future__ import annotations

import os
import select
import struct

from ...errors import Corrupt
from ...lean.jsontext import dumps, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]
    Key = tuple[int, int]  # conversation, stream

PROTOCOL = 1  # its version: both ends must have the same
WINDOW = 256 << 10
_HEAD = struct.Struct("<IIBB")
_CHUNK = 64 << 10
_QUEUE = 1 << 20  # bytes that wait for the other end; then no stream is read any more
_PATIENCE = 8 << 20  # bytes that wait for an end which does not read
MESSAGE, PART, DATA, END, CREDIT = 1, 2, 3, 4, 5
STDIN, STDOUT, STDERR = 0, 1, 2
MACHINE = 0  # the conversation about the machine itself
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class _Source:
    """A descriptor that is read, for the other end."""

    __slots__ = ("credit", "fd", "reading")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.credit = WINDOW
        self.reading = False


class _Sink:
    """A descriptor that what the other end sends is written to; -1 when nobody takes it any more."""

    __slots__ = ("closes", "ended", "fd", "held", "taken", "writing")

    def __init__(self, fd: int, closes: bool) -> None:
        self.fd = fd
        self.closes = closes  # whether the descriptor is closed at the end of the stream
        self.held = bytearray()
        self.taken = 0  # bytes that the other end has no credit for yet
        self.ended = False
        self.writing = False


class Link:
    """One end of the connection over the descriptor `fd`. The owner polls, and gives `handle` each ready descriptor.

    `most` are the bytes of the longest message that is taken.
    """

    def __init__(self, poll: select.poll, fd: int, most: int) -> None:
        os.set_blocking(fd, False)
        self.poll = poll
        self.fd = fd
        self.most = most
        self.closed = False
        self._deaf = False  # whether the other end takes nothing any more; what it has sent before is read all the same
        self._in = bytearray()
        self._out = bytearray()
        self._parts: dict[int, bytearray] = {}
        self._sources: dict[Key, _Source] = {}
        self._sinks: dict[Key, _Sink] = {}
        self._by_fd: dict[int, Key] = {}
        poll.register(fd, select.POLLIN)

    # What goes out.

    def tell(self, conversation: int, message: Message) -> None:
        """Send a message."""
        data = dumps(message).encode()
        while len(data) > _CHUNK:
            self._frame(conversation, PART, 0, data[:_CHUNK])
            data = data[_CHUNK:]
        self._frame(conversation, MESSAGE, 0, data)

    def _frame(self, conversation: int, kind: int, stream: int, payload: bytes | memoryview) -> None:
        if self._deaf:
            return
        self._out += _HEAD.pack(len(payload), conversation, kind, stream)
        self._out += payload
        self._flush()
        if len(self._out) > _PATIENCE:
            raise Corrupt(f"{len(self._out)} bytes that are not read")

    def _flush(self) -> None:
        full = len(self._out) >= _QUEUE
        while self._out and not self.closed:
            try:
                with memoryview(self._out) as view:
                    written = os.write(self.fd, view[: 4 * _CHUNK])
                del self._out[:written]
            except BlockingIOError:
                break
            except OSError:
                self._deaf = True
                self._out.clear()
        if not self.closed:
            self.poll.modify(self.fd, select.POLLIN | (select.POLLOUT if self._out else 0))
        if full and len(self._out) < _QUEUE:
            for source in self._sources.values():
                self._read_on(source)

    @property
    def waiting(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._out) and not self.closed

    def sends(self, conversation: int) -> bool:
        """Return whether a stream of a conversation that is read here has not come to its end."""
        return any(key[0] == conversation for key in self._sources)

    def blocked(self, conversation: int) -> bool:
        """Return whether the other end is slow to take a stream of a conversation."""
        return any(key[0] == conversation and not source.reading for key, source in self._sources.items())

    # Streams.

    def source(self, conversation: int, stream: int, fd: int) -> None:
        """Send what can be read from `fd`, until its end; then it is closed."""
        os.set_blocking(fd, False)
        source = _Source(fd)
        self._sources[conversation, stream] = source
        self._by_fd[fd] = conversation, stream
        self._read_on(source)

    def sink(self, conversation: int, stream: int, fd: int, closes: bool = True) -> None:
        """Write to `fd` what the other end sends; -1 to drop it."""
        if fd >= 0:
            os.set_blocking(fd, False)
            self._by_fd[fd] = conversation, stream
        self._sinks[conversation, stream] = _Sink(fd, closes)

    def _watch(self, fd: int, mask: int) -> None:
        """Poll a descriptor of a stream for `mask`, or not at all."""
        try:
            if mask:
                self.poll.register(fd, mask)
            else:
                self.poll.unregister(fd)
        except (OSError, KeyError):
            pass  # it was not watched

    def _read_on(self, source: _Source) -> None:
        wanted = source.credit > 0 and len(self._out) < _QUEUE
        if wanted != source.reading:
            source.reading = wanted
            self._watch(source.fd, select.POLLIN if wanted else 0)

    def _read(self, key: Key, source: _Source) -> None:
        try:
            data = os.read(source.fd, min(source.credit, _CHUNK))
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal answers EIO when its last user is gone
        if not data:
            self.end_source(*key)
            return
        source.credit -= len(data)
        self._frame(key[0], DATA, key[1], data)
        self._read_on(source)

    def end_source(self, conversation: int, stream: int) -> None:
        """Read a source no more, and tell the other end so. Harmless when there is none."""
        source = self._sources.pop((conversation, stream), None)
        if source is None:
            return
        self._forget(source.fd)
        self._frame(conversation, END, stream, b"")

    def _forget(self, fd: int, closes: bool = True) -> None:
        self._by_fd.pop(fd, None)
        self._watch(fd, 0)
        if closes:
            os.close(fd)

    def _taken(self, key: Key, sink: _Sink, size: int) -> None:
        sink.taken += size
        if sink.taken >= WINDOW // 4 or (not sink.held and sink.taken):
            self._frame(key[0], CREDIT, key[1], sink.taken.to_bytes(4, "little"))
            sink.taken = 0

    def _write(self, key: Key, sink: _Sink) -> None:
        while sink.held and sink.fd >= 0:
            try:
                with memoryview(sink.held) as view:
                    written = os.write(sink.fd, view[:_CHUNK])
            except BlockingIOError:
                break
            except OSError:
                self._drop(key, sink)
                break
            del sink.held[:written]
            self._taken(key, sink, written)
        if sink.fd < 0 and sink.held:
            size = len(sink.held)
            sink.held.clear()
            self._taken(key, sink, size)
        if sink.fd >= 0 and bool(sink.held) != sink.writing:
            sink.writing = bool(sink.held)
            self._watch(sink.fd, select.POLLOUT if sink.writing else 0)
        if sink.ended and not sink.held:
            self._sinks.pop(key, None)
            if sink.fd >= 0:
                self._forget(sink.fd, sink.closes)

    def _drop(self, key: Key, sink: _Sink) -> None:
        """Note that nobody reads what is written to a sink: the rest is dropped, and its sender told to stop."""
        fd, sink.fd = sink.fd, -1
        self._forget(fd, sink.closes)
        self.tell(key[0], {"unread": key[1]})

    def end(self, conversation: int) -> None:
        """Close what is left of a conversation's streams. A message of which parts have come is still taken."""
        for key in [key for key in self._sources if key[0] == conversation]:
            self._forget(self._sources.pop(key).fd)
        for key in [key for key in self._sinks if key[0] == conversation]:
            sink = self._sinks.pop(key)
            if sink.fd >= 0:
                self._forget(sink.fd, sink.closes)

    def held(self, conversation: int) -> bool:
        """Return whether something that has come for a conversation's sinks is not written yet."""
        return any(sink.held for key, sink in self._sinks.items() if key[0] == conversation and sink.fd >= 0)

    # What comes in.

    def handle(self, fd: int, mask: int) -> list[tuple[int, Message]] | None:
        """Do what a ready descriptor asks for; returns the messages that have come, None when it is not one of ours.

        Raises Corrupt when the other end does not keep to the protocol.
        """
        if fd == self.fd:
            if mask & select.POLLOUT:
                self._flush()
            return self._receive() if mask & (select.POLLIN | _GONE) else []
        key = self._by_fd.get(fd)
        if key is None:
            return None
        source, sink = self._sources.get(key), self._sinks.get(key)
        if source is not None and source.fd == fd:
            self._read(key, source)
        elif sink is not None and sink.fd == fd:
            if mask & _GONE and not sink.held:
                self._drop(key, sink)
            else:
                self._write(key, sink)
        return []

    def _receive(self) -> list[tuple[int, Message]]:
        try:
            data = os.read(self.fd, 4 * _CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.closed = True
            self.poll.unregister(self.fd)
            return []
        self._in += data
        messages: list[tuple[int, Message]] = []
        start = 0
        while len(self._in) - start >= _HEAD.size:
            size, conversation, kind, stream = _HEAD.unpack_from(self._in, start)
            if size > _CHUNK:
                raise Corrupt(f"a frame of {size} bytes")
            after = start + _HEAD.size + size
            if len(self._in) < after:
                break
            payload = bytes(self._in[start + _HEAD.size : after])
            start = after
            message = self._take(conversation, kind, stream, payload)
            if message is not None:
                messages.append((conversation, message))
        del self._in[:start]
        return messages

    def _take(self, conversation: int, kind: int, stream: int, payload: bytes) -> Message | None:
        key = conversation, stream
        if kind == PART:
            part = self._parts.setdefault(conversation, bytearray())
            part += payload
            if sum(map(len, self._parts.values())) > self.most or len(self._parts) > 64:
                raise Corrupt(f"a message of more than {self.most} bytes")
        elif kind == MESSAGE:
            return self._message(bytes(self._parts.pop(conversation, b"")) + payload)
        elif kind == DATA:
            sink = self._sinks.get(key)
            if sink is None or sink.ended:
                return None  # a program that has ended meanwhile
            if len(sink.held) + sink.taken + len(payload) > WINDOW:
                raise Corrupt(f"more than {WINDOW} bytes of stream {stream} without credit")
            sink.held += payload
            self._write(key, sink)
        elif kind == END:
            sink = self._sinks.get(key)
            if sink is not None:
                sink.ended = True
                self._write(key, sink)
        elif kind == CREDIT:
            source = self._sources.get(key)
            if source is not None:
                source.credit += int.from_bytes(payload[:4], "little")
                if source.credit > WINDOW:
                    raise Corrupt(f"credit for bytes of stream {stream} that were not sent")
                self._read_on(source)
        else:
            raise Corrupt(f"a frame of the unknown kind {kind}")
        return None

    def _message(self, data: bytes) -> Message | None:
        if len(data) > self.most:
            raise Corrupt(f"a message of more than {self.most} bytes")
        try:
            message = known(data)
        except (ValueError, RecursionError):
            raise Corrupt("a message that is not JSON") from None
        if not isinstance(message, dict):
            raise Corrupt("a message that is not an object")
        return message
