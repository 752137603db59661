"""What goes on while a client listens: attached streams, logs, statistics."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from aiohttp import web

from ...errors import Conflict, InvalidInput
from ...human import rfc3339
from ...runtime.monitor import attachment
from .. import summaries
from ..answers import RUNS, answer, version_of, work_of
from ..requests import query
from ..streaming import streams, websocket
from ..streaming.bodies import in_chunks
from .containers import containers_of

if TYPE_CHECKING:
    from ...engine.containers.log_records import Record
    from ..answers import Route

_KINDS_SINCE = (1, 42)  # the media type tells whether a stream is framed
_LONGEST_MESSAGE = 1 << 20  # bytes of one message that a client sends


async def attach(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/attach."""
    work, runs = work_of(request), request.app[RUNS]
    found = await work.do(containers_of(request).get, request.match_info["name"])
    intent = found._row.intent
    terminal = bool(intent["options"].get("terminal"))
    live, logged = query.flag(request, "stream"), query.flag(request, "logs")
    wants_out, wants_err = query.flag(request, "stdout"), query.flag(request, "stderr")
    wants_in = query.flag(request, "stdin") and bool(intent["options"].get("interactive"))
    asked = request.query.get("detachKeys", "")
    await streams.body_of(request)
    pipes = streams.Pipes(wants_in and live, wants_out and live, wants_err and live and not terminal)
    pipes.theirs.keys = attachment.detach_keys(asked) if asked else attachment.DEFAULT_KEYS if terminal else b""
    if not live:
        pipes.close()
    try:
        if live:
            # Before the head: what docker's client does after that is the start.
            await runs.expect(found.id, pipes)
        connection, taken = await streams.take(request, pipes, terminal, version_of(request) >= _KINDS_SINCE)
    except BaseException:
        runs.leave(found.id, pipes)
        pipes.close()
        raise
    if logged:
        making = lambda _: containers_of(request).logs(found.id, stdout=wants_out, stderr=wants_err)  # noqa: E731
        async for _, stream, data in work.each(making):
            connection.send(stream, data)
    attaching = asyncio.ensure_future(runs.attach(found.id, pipes)) if live else None
    try:
        if live:
            await connection.done()
    finally:
        if attaching is not None and not attaching.done():
            runs.leave(found.id, pipes)
            await attaching
    return taken


async def attach_websocket(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/attach/ws: the same streams as messages of a websocket, without frames."""
    work, runs = work_of(request), request.app[RUNS]
    found = await work.do(containers_of(request).get, request.match_info["name"])
    options = found._row.intent["options"]
    terminal = bool(options.get("terminal"))
    live = query.flag(request, "stream")
    # Without a word on streams all are meant, as docker has it.
    every = not any(name in request.query for name in ("stdin", "stdout", "stderr"))
    wants_out, wants_err = (every or query.flag(request, name) for name in ("stdout", "stderr"))
    wants_in = (every or query.flag(request, "stdin")) and bool(options.get("interactive"))
    asked = request.query.get("detachKeys", "")
    pipes = streams.Pipes(wants_in and live, wants_out and live, wants_err and live and not terminal)
    pipes.theirs.keys = attachment.detach_keys(asked) if asked else attachment.DEFAULT_KEYS if terminal else b""
    if not live:
        pipes.close()
    socket = web.WebSocketResponse(max_msg_size=_LONGEST_MESSAGE)
    attaching: asyncio.Task[None] | None = None
    try:
        if live:
            await runs.expect(found.id, pipes)
        await socket.prepare(request)
        if query.flag(request, "logs"):
            making = lambda _: containers_of(request).logs(found.id, stdout=wants_out, stderr=wants_err)  # noqa: E731
            async for _, _, data in work.each(making):
                await socket.send_bytes(data)
        if live:
            attaching = asyncio.ensure_future(runs.attach(found.id, pipes))
            await websocket.carry(socket, pipes)
    finally:
        if attaching is None or not attaching.done():
            runs.leave(found.id, pipes)
        if attaching is not None:
            await attaching
        pipes.close()
    await socket.close()
    return socket


async def logs(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/logs."""
    work, containers = work_of(request), containers_of(request)
    found = await work.do(containers.get, request.match_info["name"])
    terminal = bool(found._row.intent["options"].get("terminal"))
    out, err = query.flag(request, "stdout"), query.flag(request, "stderr")
    if not out and not err:
        raise InvalidInput("Bad parameters: you must choose at least one stream")
    stamped, follow = query.flag(request, "timestamps"), query.flag(request, "follow")
    since, until = query.time(request, "since"), query.time(request, "until")
    lines = request.query.get("tail", "all")
    tail = int(lines) if lines.isascii() and lines.isdecimal() else -1

    over = threading.Event()
    # Errors come now, and are told by the status.
    logged_records = await work.do(containers.logs, found.id, follow, tail, since, until, out, err, over.is_set)
    records = work.each(lambda _: logged_records)
    try:
        kind = streams.RAW if terminal or version_of(request) < _KINDS_SINCE else streams.FRAMED
        response = web.StreamResponse(headers={"Content-Type": kind})
        in_chunks(request, response)
        await response.prepare(request)
        async for record in records:
            await response.write(_written(record, stamped, terminal))
    finally:
        over.set()
        await records.aclose()  # type: ignore[attr-defined]
    return response


def _written(record: Record, stamped: bool, terminal: bool) -> bytes:
    when, stream, data = record
    if stamped:
        data = rfc3339(when).encode() + b" " + data
    return data if terminal else streams.frame(stream, data)


async def stats(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/stats: a sample a second, or one."""
    work, containers, name = work_of(request), containers_of(request), request.match_info["name"]
    found = await work.do(containers.get, name)
    once = not query.flag(request, "stream", True)
    empty = {"name": "/" + found.name, "id": found.id}
    try:
        before = await work.do(containers.stats, found.id)
    except Conflict:
        if once:
            return answer({**empty, "read": "0001-01-01T00:00:00Z"})
        raise
    system = summaries.system_time()
    if once and query.flag(request, "one-shot"):
        return answer(summaries.usage(before, None, (0, system)))
    response: web.StreamResponse | None = None
    while True:
        await asyncio.sleep(max(0.0, 1 - (time.monotonic_ns() - before.when) / 1e9))
        try:
            sample = await work.do(containers.stats, found.id)
        except Conflict:
            return response or answer({**empty, "read": "0001-01-01T00:00:00Z"})
        now = summaries.system_time()
        shown = answer(summaries.usage(sample, before, (system, now)))
        if once:
            return shown
        before, system = sample, now
        if response is None:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            in_chunks(request, response)
            await response.prepare(request)
        await response.write(shown.body)  # type: ignore[arg-type]


ROUTES: tuple[Route, ...] = (
    ("POST", "/containers/{name}/attach", attach),
    ("GET", "/containers/{name}/attach/ws", attach_websocket),
    ("GET", "/containers/{name}/logs", logs),
    ("GET", "/containers/{name}/stats", stats),
)
