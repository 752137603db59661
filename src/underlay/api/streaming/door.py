"""What stands between a connection and aiohttp's protocol: it keeps a stream's early input from the parser of HTTP.

A client may send input together with the request that begins a raw stream (attach, exec). aiohttp would read it as the
next request, or keep it, depending on its parser and on the headers. So what comes behind such a request's head and body
is held here until the stream takes it, or until the request has been answered otherwise: then it is a request after all.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from aiohttp import web

_METHOD = b"POST /"
_STREAMS = re.compile(rb"POST [^ ?]*/(?:containers/[^/ ?]+/attach|exec/[^/ ?]+/start)(?:\?[^ ]*)? HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_LONGEST = 1 << 16  # bytes of a head that are looked at
_AHEAD = 1 << 16  # bytes that are held before the client must wait


class Door(asyncio.Protocol):
    """A connection before `handler` of aiohttp; `doors` are those of all connections that the server has.

    `since` is when the head of a request began to come, or could have, that is not whole yet; None between requests.
    """

    def __init__(self, handler: web.RequestHandler, doors: set[Door]) -> None:
        self.since: float | None = asyncio.get_running_loop().time()
        self._handler = handler
        self._doors = doors
        self._transport: asyncio.Transport
        self._head = bytearray()  # of what may become a request for a stream
        self._passed = False  # whether aiohttp has got (a part of) a head of which it has made no request yet
        self._request: web.BaseRequest | None = None  # the last one
        self._busy = False  # whether that is being answered
        self._left = 0  # bytes that are to come of the body of a request for a stream
        self._held: bytearray | None = None  # what has come behind it
        self._paused = False
        self._eof = False  # whether the client's end is held, too

    # The server's side.

    def began(self, request: web.BaseRequest) -> None:
        """Take note that a head was whole."""
        self.since, self._passed, self._busy, self._request = None, False, True, request

    def answered(self) -> None:
        """Take note that there is an answer: what was held for a stream that took nothing is the next request."""
        self._busy = False
        held, ended = self.taken()
        if held and not self._transport.is_closing():
            self.data_received(held)
        if ended:
            self._handler.close()  # as soon as the answer has been sent

    def taken(self) -> tuple[bytes, bool]:
        """Hold nothing any more; returns what has come behind a request, and whether the client has ended its side."""
        held, ended = bytes(self._held or b""), self._eof
        self._held, self._eof, self._left = None, False, 0
        if self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        self._paused = False
        return held, ended

    def drop(self) -> None:
        """Close the connection now."""
        self._handler.force_close()

    def _is_between(self) -> bool:
        """Return whether what comes next is the beginning of a request's head, or the rest of one that is held."""
        whole = self._request is None or self._request.content.is_eof()
        return not self._passed and not self._busy and whole

    def _look(self) -> None:
        """Pass the head on as soon as it is known what it asks for."""
        head = self._head
        end = head.find(b"\r\n\r\n") + 4
        if end < 4 and len(head) < _LONGEST:
            # The head is not whole: does it still look like one for a stream?
            if _METHOD.startswith(head) or (head.startswith(_METHOD) and (b"\r\n" not in head or _STREAMS.match(head))):
                return
        elif end >= 4 and _STREAMS.match(head):
            lines, rest = bytes(head[: end - 2]), bytes(head[end:])
            # The end of a body in chunks is known to aiohttp alone. Nobody sends one who asks for a stream.
            if not _CHUNKED.search(lines):
                length = _LENGTH.search(lines)
                self._left = int(length[1]) if length else 0
                self._held = bytearray()
                self._pass(bytes(head[:end]))
                self._hold(rest)
                return
        self._pass(bytes(head))

    def _pass(self, head: bytes) -> None:
        self._head.clear()
        self._passed = True
        self._handler.data_received(head)

    def _hold(self, data: bytes) -> None:
        """Hold what is not of the request's body."""
        if self._left and data:
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            self._handler.data_received(part)
        assert self._held is not None
        self._held += data
        if len(self._held) >= _AHEAD and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._doors.add(self)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what is of HTTP."""
        if self._held is not None:
            self._hold(data)
        elif self._is_between():
            if self.since is None:
                self.since = asyncio.get_running_loop().time()
            self._head += data
            self._look()
        else:
            self._handler.data_received(data)

    def eof_received(self) -> bool:
        """Pass the end on, unless it is that of a stream's input."""
        if self._held is not None and not self._left:
            self._eof = True
            return True
        self._handler.eof_received()
        return False

    def pause_writing(self) -> None:
        """Pass it on."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._doors.discard(self)
        self._handler.connection_lost(error)
