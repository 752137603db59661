"""Raw streams: a connection that carries a program's input and output after its HTTP request (attach, exec).

The client asks for an upgrade to `tcp`, or, if it is older, just goes on after the head of the answer. Without a terminal
output comes in frames of stdout and stderr (Engine API, "ContainerAttach"). When the client has closed its side, that is
the end of the program's input; its output still comes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
from typing import TYPE_CHECKING, cast

from aiohttp import web

from ...errors import InvalidInput
from ...runtime.monitor.attachment import Attachment
from ..requests import query
from .door import Door

if TYPE_CHECKING:
    from collections.abc import Callable

STDOUT, STDERR = 1, 2
RAW, FRAMED = "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"
_PIPE = 1 << 18  # bytes that a pipe holds, so that a program seldom waits for the client
_F_SETPIPE_SZ = 1031
_LOOK = 1.0  # seconds between two looks whether a client that says no more is there
_PATIENCE = 10.0  # seconds for a small body to come


def is_cells(number: object) -> bool:
    """Return whether this may be the rows or the columns of a terminal (ioctl_tty(2), winsize)."""
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 16


def asked_size(request: web.Request) -> tuple[int, int]:
    """Return rows and columns of a terminal that the query of a request must say (h, w). Raises InvalidInput."""
    for name in ("h", "w"):
        if not is_cells(query.number(request, name, -1)):
            raise InvalidInput(f"invalid {name}: {request.query.get(name, '')!r} is no size of a terminal")
    return query.number(request, "h"), query.number(request, "w")


def frame(stream: int, data: bytes) -> bytes:
    """Return data as a frame of a stream: a head of eight bytes before it."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


class Pipes:
    """The pipes between a program and a client: `theirs` are the ends for the program, as an attachment."""

    def __init__(self, stdin: bool, stdout: bool, stderr: bool) -> None:
        self.ours = [-1, -1, -1]
        ends = [-1, -1, -1]
        for number, wanted in enumerate((stdin, stdout, stderr)):
            if wanted:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                ends[number], self.ours[number] = (reading, writing) if number == 0 else (writing, reading)
                try:
                    fcntl.fcntl(writing, _F_SETPIPE_SZ, _PIPE)
                except OSError:
                    pass  # a user's pipes are limited: it works, with more waiting
        self.theirs = Attachment(ends[0], ends[1], ends[2])
        self.claimed = False  # whether a start has taken them

    def given(self) -> None:
        """Close the program's ends: it has them by now, or never will."""
        for name in ("stdin", "stdout", "stderr"):
            if getattr(self.theirs, name) >= 0:
                os.close(getattr(self.theirs, name))
                setattr(self.theirs, name, -1)

    def close(self) -> None:
        """Close all ends that are still open."""
        self.given()
        for number, fd in enumerate(self.ours):
            if fd >= 0:
                os.close(fd)
                self.ours[number] = -1


class _Output(asyncio.Protocol):
    """Reads one output of the program."""

    def __init__(self, connection: Connection, stream: int) -> None:
        self._connection = connection
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        self._connection.send(self._stream, data)

    def connection_lost(self, _: Exception | None) -> None:
        self._connection.ended()


class _Input(asyncio.BaseProtocol):
    """Writes the program's input: the client waits while the program reads nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pause_writing(self) -> None:
        self._connection.hold(True)

    def resume_writing(self) -> None:
        self._connection.hold(False)


class Connection(asyncio.Protocol):
    """A client's connection after the HTTP request, joined with the pipes of a program.

    `over` is done when all output has been sent, or the client is gone. `heard` is called with each piece of input.
    """

    def __init__(self, framed: bool, before: asyncio.BaseProtocol) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._framed = framed
        self._before = before  # aiohttp's, which counts its connections
        self._transport: asyncio.Transport
        self._stdin: asyncio.WriteTransport | None = None
        self._outputs: list[asyncio.ReadTransport] = []
        self._left = 0
        self._eof = False
        self.drained = False  # whether all output has ended, and not the client

    async def join(self, transport: asyncio.Transport, pipes: Pipes, early: bytes, ended: bool) -> None:
        """Take over the transport; `early` is input that came behind the request, `ended` says that there is no more."""
        loop = asyncio.get_running_loop()
        self._transport = transport
        transport.pause_reading()  # until there is somebody to take what comes, its end included
        transport.set_protocol(self)
        stdin, *outputs = pipes.ours
        pipes.ours = [-1, -1, -1]
        if stdin >= 0:
            os.set_blocking(stdin, False)
            self._stdin, _ = await loop.connect_write_pipe(lambda: _Input(self), os.fdopen(stdin, "wb", 0))
        self._left = sum(fd >= 0 for fd in outputs)
        for stream, fd in zip((STDOUT, STDERR), outputs, strict=True):
            if fd >= 0:
                os.set_blocking(fd, False)
                make = _maker(self, stream)
                made, _ = await loop.connect_read_pipe(make, os.fdopen(fd, "rb", 0))
                self._outputs.append(made)
        if not ended and not transport.is_closing():
            transport.resume_reading()
        if early:
            self.data_received(early)  # which may pause it
        if ended:
            self.eof_received()
        if not self._left:
            self.drained = True
            self._finish()

    def send(self, stream: int, data: bytes) -> None:
        """Send output of the program."""
        if not self._transport.is_closing():
            self._transport.write(frame(stream, data) if self._framed else data)

    def ended(self) -> None:
        """Take note that an output has ended; with the last one all is over."""
        self._left -= 1
        if self._left <= 0:
            self.drained = True
            self._finish()

    def hold(self, on: bool) -> None:
        """Read nothing from the client, or go on."""
        if self._eof or self._transport.is_closing():
            return
        if on:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def done(self) -> None:
        """Wait until all is over. A client that has closed more than its side is noticed though nothing is sent."""
        while not (await asyncio.wait([self.over], timeout=_LOOK))[0]:
            sock = self._transport.get_extra_info("socket")
            if self._eof and sock is not None and sock.fileno() >= 0:
                asking = select.poll()
                asking.register(sock.fileno(), 0)
                if asking.poll(0):  # POLLHUP: of a socket of this host that is closed, or one that was reset
                    self._transport.abort()

    def _finish(self) -> None:
        if self._stdin is not None:
            self._stdin.close()
        if not self.over.done():
            self.over.set_result(None)

    # asyncio's side.

    def data_received(self, data: bytes) -> None:
        """Pass input on."""
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(data)

    def eof_received(self) -> bool:
        """End the program's input; our side stays open."""
        self._eof = True
        if self._stdin is not None:
            self._stdin.close()
        return True

    def pause_writing(self) -> None:
        """Read no output while the client takes none."""
        for output in self._outputs:
            output.pause_reading()

    def resume_writing(self) -> None:
        """Read output again."""
        for output in self._outputs:
            output.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """End everything: the client is gone."""
        for output in self._outputs:
            output.close()
        self._finish()
        cast("asyncio.Protocol", self._before).connection_lost(error)


def _maker(connection: Connection, stream: int) -> Callable[[], _Output]:
    return lambda: _Output(connection, stream)


class _Taken(web.StreamResponse):
    """Stands for an answer of which aiohttp is to write nothing: the connection has another protocol by now."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


async def take(
    request: web.Request, pipes: Pipes, terminal: bool, kinds: bool
) -> tuple[Connection, web.StreamResponse]:
    """Answer the request with the head of a raw stream and join the connection with pipes.

    `kinds` says that the client tells framed streams by their media type (API 1.42). The returned answer is for aiohttp;
    the request's body must have been read. Raises OSError when the client is gone.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        pipes.close()
        raise ConnectionResetError("the client has closed the connection")
    protocol = transport.get_protocol()
    kind = FRAMED if kinds and not terminal else RAW
    upgraded = request.headers.get("Upgrade", "").lower() == "tcp"
    head = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" if upgraded else "HTTP/1.1 200 OK\r\n"
    connection = Connection(not terminal, protocol)
    transport.write(f"{head}Content-Type: {kind}\r\n\r\n".encode())
    # Nothing comes between this and the end of `join`'s first lines, where reading pauses: nobody waits meanwhile.
    early, ended = _tail(request.protocol), False
    if isinstance(protocol, Door):
        held, ended = protocol.taken()
        early += held
    await connection.join(transport, pipes, early, ended)
    return connection, _Taken()


async def body_of(request: web.Request) -> bytes:
    """Return the body of a request that asks for an upgrade: what comes behind it belongs to the stream.

    Some parsers of aiohttp take all that follows such a request for the new protocol's. Raises HTTPRequestTimeout or
    OSError when it does not come.
    """
    data = await query.bytes_of(request)
    wanted = (request.content_length or 0) - len(data)
    if wanted <= 0 or request.transport is None:
        return data
    protocol = request.protocol
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while len(getattr(protocol, "_message_tail", b"")) < wanted:
        if asyncio.get_running_loop().time() > deadline or request.transport.is_closing():
            raise ConnectionResetError("the request's body has not come")
        await asyncio.sleep(0.001)
    tail = _tail(protocol)
    protocol._message_tail = tail[wanted:]
    return data + tail[:wanted]


def _tail(protocol: asyncio.BaseProtocol) -> bytes:
    """Return what has come behind an upgraded request, which aiohttp keeps."""
    tail = getattr(protocol, "_message_tail", b"")
    if tail:
        protocol._message_tail = b""  # type: ignore[attr-defined]
    return bytes(tail)
