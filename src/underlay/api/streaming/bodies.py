"""Large answers: what the engine writes into a pipe is sent to the client."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import HttpVersion11, web

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..work import Work

T = TypeVar("T")
_PIECE = 1 << 16


def in_chunks(request: web.Request, response: web.StreamResponse) -> None:
    """Send a response of unknown length in chunks. A client of HTTP/1.0 knows none: for it the end of the connection is the
    end of the response (RFC 9112, section 6.3)."""
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()


async def sent(
    request: web.Request, work: Work, write: Callable[[int], Any], headers: dict[str, str]
) -> web.StreamResponse:
    """Answer with what `write` writes, called in a thread with a descriptor. Raises what it raises before its first byte.

    When it fails later the connection is broken off, so that the client sees that the answer is not whole.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def written() -> None:
        try:
            write(writing)
        finally:
            os.close(writing)

    working = work.wait(written)
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    os.set_blocking(reading, False)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb", 0)
    )
    try:
        piece = await stream.read(_PIECE)
        if not piece:
            await working
        response = web.StreamResponse(headers=headers)
        in_chunks(request, response)
        await response.prepare(request)
        while piece:
            await response.write(piece)
            piece = await stream.read(_PIECE)
        try:
            await working
        except Exception:
            if request.transport is not None:
                request.transport.abort()
        return response
    finally:
        transport.close()
