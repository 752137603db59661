"""A websocket that carries a program's input and output (Engine API, "ContainerAttachWebsocket")."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from aiohttp import WSMsgType

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from .streams import Pipes

_PIECE = 1 << 16


async def carry(socket: web.WebSocketResponse, pipes: Pipes, on_text: Callable[[str], None] | None = None) -> None:
    """Send all output of the program to the client, and its messages to the program, until the output has ended or the
    client is gone. The ends of the pipes that are ours are closed then.

    With `on_text` messages of text are not for the program: it is called with them.
    """
    stdin, *outputs = pipes.ours
    pipes.ours = [-1, -1, -1]
    sending = [asyncio.ensure_future(_send(socket, fd)) for fd in outputs if fd >= 0]
    receiving = asyncio.ensure_future(_receive(socket, stdin, on_text))
    try:
        # The client's end counts too, while the program may still write: then nobody reads it.
        waiting: set[asyncio.Future[None]] = {*sending}
        while waiting and not receiving.done():
            done, _ = await asyncio.wait({*waiting, receiving}, return_when=asyncio.FIRST_COMPLETED)
            waiting -= done
    finally:
        for task in (*sending, receiving):
            task.cancel()
        await asyncio.gather(*sending, receiving, return_exceptions=True)


async def _send(socket: web.WebSocketResponse, fd: int) -> None:
    reader = asyncio.StreamReader()
    os.set_blocking(fd, False)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    try:
        while data := await reader.read(_PIECE):
            await socket.send_bytes(data)
    finally:
        transport.close()


async def _receive(socket: web.WebSocketResponse, fd: int, on_text: Callable[[str], None] | None) -> None:
    """Write messages into the program's input; returns when the client has closed the websocket."""
    writer: asyncio.StreamWriter | None = None
    if fd >= 0:
        loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(fd, "wb", 0))
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT and on_text is not None:
                on_text(message.data)
                continue
            if writer is None or message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            data = message.data.encode() if message.type == WSMsgType.TEXT else message.data
            with contextlib.suppress(OSError):  # the program reads no more: its output still counts
                writer.write(data)
                await writer.drain()
    finally:
        if writer is not None:
            writer.close()
