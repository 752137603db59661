"""Large bodies: what a client sends is read from a pipe by the engine, what the engine writes into a pipe is sent."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..work import Work

T = TypeVar("T")
_PIECE = 1 << 16


async def received(request: web.Request, work: Work, use: Callable[[BinaryIO], T]) -> T:
    """Return what `use` returns, called in a thread with the request's body as a file. Raises what it raises."""
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def read() -> T:
        with os.fdopen(reading, "rb") as file:
            return use(file)

    using = work.wait(read)
    os.set_blocking(writing, False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(_Flow, os.fdopen(writing, "wb", 0))
    try:
        async for piece in request.content.iter_chunked(_PIECE):
            if using.done() or transport.is_closing():
                break
            transport.write(piece)
            await protocol.room()
    finally:
        transport.close()
    return await using


class _Flow(asyncio.BaseProtocol):
    """Waits while a pipe is full."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()

    def pause_writing(self) -> None:
        self._free.clear()

    def resume_writing(self) -> None:
        self._free.set()

    def connection_lost(self, _: Exception | None) -> None:
        self._free.set()

    async def room(self) -> None:
        """Return when there is room in the pipe, or nobody reads it any more."""
        await self._free.wait()


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
        response.enable_chunked_encoding()
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
