"""Websockets of the page of a container: its log, its resource usage, and a terminal."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import shlex
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ...api.answers import work_of
from ...api.streaming import streams, websocket
from ...engine.options import ExecOptions
from ...errors import NotFound, UnderlayError
from .. import containers
from .containers import CONTAINER
from .parts import READ_ONLY, ReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...api.work import Work
    from ...engine.containers.exec import Execution
    from ...engine.engine import Engine
    from ...runtime.monitor.state import Status
    from .parts import Route

_TICK = 0.2  # seconds between two messages
_SAMPLE = 1.0  # seconds between two samples of what a container uses
_AHEAD = 1 << 18  # bytes of a log that wait to be sent
_HEARTBEAT = 30.0  # seconds between two pings of the browser
_LONGEST = 1 << 20  # bytes of a message
_TERM = "TERM=xterm-256color"


class _Log:
    """Follows the log of a container in a thread. Reading pauses while too much is waiting to be sent."""

    def __init__(self, work: Work, name: str) -> None:
        self._over = threading.Event()
        self._bytes = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._reading = work.keep(self._read(work, name))

    async def _read(self, work: Work, name: str) -> None:
        def make(_: object) -> Iterable[tuple[int, int, bytes]]:
            return work.engine.containers.logs(name, True, containers.LINES, stopped=self._over.is_set)

        records = work.each(make)
        try:
            async for _, _, data in records:
                self._bytes += data
                while len(self._bytes) > _AHEAD and not self._over.is_set():
                    await asyncio.sleep(_TICK)
        except UnderlayError:
            pass  # the page has said why there is none
        finally:
            self._over.set()
            await records.aclose()  # type: ignore[attr-defined]

    def take(self) -> str:
        """Return the output since the last call, as text for a page."""
        data, self._bytes = self._bytes, bytearray()
        return containers.shown_text(self._decoder.decode(data))

    def close(self) -> None:
        """Read no further."""
        self._over.set()


async def live(request: web.Request) -> web.StreamResponse:
    """GET /container/ID/live: a websocket with the end of the log and what comes, and samples of what the container uses.

    Each message is a JSON object: `log` is text, `usage` as `containers.Usage` has it. With `changed` (the container has
    another state now) and `gone` (it was removed) the connection ends.
    """
    work, name = work_of(request), request.match_info["id"]
    state = await work.do(work.engine.containers.state, name)
    socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=_LONGEST)
    await socket.prepare(request)
    # Browsers send nothing here, so this ends when the connection does.
    leaving = asyncio.ensure_future(socket.receive())
    log = _Log(work, name)
    usage = containers.Usage()
    next_sample = 0.0
    try:
        while not leaving.done():
            message: dict[str, Any] = {}
            if text := log.take():
                message["log"] = text
            if time.monotonic() >= next_sample:
                next_sample = time.monotonic() + _SAMPLE
                message |= await work.do(_news, work.engine, name, state, usage)
            if message:
                await socket.send_str(json.dumps(message))
            if message.keys() & {"changed", "gone"}:
                break
            await asyncio.wait([leaving], timeout=_TICK)
    except ConnectionError:
        pass  # the browser has gone
    finally:
        log.close()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    await socket.close()
    return socket


def _news(engine: Engine, name: str, before: Status, usage: containers.Usage) -> dict[str, Any]:
    """Return the resource usage of a container, or that its state is not the one `before` any more."""
    try:
        now = engine.containers.state(name)
        if (now.status, now.pid) != (before.status, before.pid):
            return {"changed": True}
        return {"usage": shown} if now.pid and (shown := usage.sample(engine, name)) else {}
    except NotFound:
        return {"gone": True}
    except UnderlayError:
        return {}  # the container is just ending; the next call sees its new state


async def terminal(request: web.Request) -> web.StreamResponse:
    """GET /container/ID/terminal?command=…&rows=…&columns=…: a websocket to a program in the container that has a terminal.

    Messages of bytes are its input and output. The client sends the size of its window as JSON with `rows` and `columns`;
    at the end it gets `problem`, a text, or `code`, the exit code. A program whose client goes gets SIGHUP.
    """
    if request.app[READ_ONLY]:
        raise ReadOnly
    work, name = work_of(request), request.match_info["id"]
    socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=_LONGEST)
    await socket.prepare(request)
    pipes = streams.Pipes(True, True, False)
    starting: asyncio.Task[Execution] | None = None
    try:
        size = _size(request.query)
        options = ExecOptions(command=_command(request), terminal=True, interactive=True, environment=[_TERM])
        if size is not None:
            options = options.changed(size=size)
        starting = work.keep(work.do(work.engine.containers.exec_attached, name, options, pipes.theirs))
        execution = await asyncio.shield(starting)
    except (UnderlayError, OSError) as error:
        pipes.close()
        return await _end(socket, {"problem": str(error)})
    except asyncio.CancelledError:  # so does aiohttp when the browser closes the connection
        work.keep(_abandoned(work, starting, pipes))
        raise
    ending = work.keep(_ended(work, execution, pipes))
    try:
        await websocket.carry(socket, pipes, lambda text: _resize(execution, text))
    finally:
        if not ending.done():
            execution.signal(signal.SIGHUP)  # harmless if it has just ended by itself
    return await _end(socket, {"code": await ending})


async def _abandoned(work: Work, starting: asyncio.Task[Execution] | None, pipes: streams.Pipes) -> None:
    """Hang up a program whose browser has gone while it was being started."""
    try:
        if starting is not None:
            execution = await starting
            execution.signal(signal.SIGHUP)
            await _ended(work, execution, pipes)
    except (UnderlayError, OSError):
        pass  # it could not be started
    finally:
        pipes.close()


def _command(request: web.Request) -> list[str]:
    """Return the requested command as words, by default `sh`. Raises UnderlayError."""
    try:
        return shlex.split(request.query.get("command", "")) or ["sh"]
    except ValueError as error:
        raise UnderlayError(f"cannot split the command into words: {error}", "close the quotation marks") from None


def _size(wanted: Any) -> tuple[int, int] | None:
    """Return rows and columns where both are the numbers of a terminal, otherwise None."""
    try:
        rows, columns = int(wanted["rows"]), int(wanted["columns"])
    except (KeyError, TypeError, ValueError):
        return None
    return (rows, columns) if streams.is_cells(rows) and streams.is_cells(columns) else None


def _resize(execution: Execution, text: str) -> None:
    with contextlib.suppress(ValueError):
        if (size := _size(json.loads(text))) is not None:
            execution.resize(*size)


async def _ended(work: Work, execution: Execution, pipes: streams.Pipes) -> int | None:
    """Forward the streams until the program has ended; return its exit code, None if nobody can tell it any more."""
    try:
        return await work.wait(execution.wait)
    except (UnderlayError, OSError):
        return None
    finally:
        pipes.given()


async def _end(socket: web.WebSocketResponse, message: dict[str, Any]) -> web.WebSocketResponse:
    """Send the last message and close; the client may be gone."""
    with contextlib.suppress(ConnectionError):
        await socket.send_str(json.dumps(message))
    await socket.close()
    return socket


ROUTES: tuple[Route, ...] = (
    ("GET", f"{CONTAINER}/live", live),
    ("GET", f"{CONTAINER}/terminal", terminal),
)
