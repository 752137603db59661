"""Long work for a client that watches: an engine of the request's own, whose events go out as docker's JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from ...engine.engine import Engine
from ...engine.images import wording
from ...errors import UnderlayError
from ...human import short_id, size
from ..answers import work_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...cancellation import Cancellation
    from ...events import Emit, Event
    from ...registry.credentials import Store as Credentials

    Message = dict[str, Any]
    Say = Callable[[Message], None]
    Translate = Callable[[Event], Iterable[Message]]

_AHEAD = 256  # messages that wait for a slow client before the work does
_OFTEN = 0.1  # seconds between two messages on the progress of one layer
_WIDTH = 50  # of a bar, as docker's


class ClientGone(UnderlayError):
    """Nobody waits for the result of the work any more."""

    def __init__(self) -> None:
        super().__init__("the client has gone")


@contextlib.contextmanager
def own_engine(shared: Engine, emit: Emit, credentials: Credentials | None = None) -> Iterator[Engine]:
    """Provide an engine for one request, on the installation of the server's: it alone tells its events to `emit`.

    `credentials` is what registries are asked with, None for the user's own.
    """
    store = shared._store
    root, state = store.paths.root, store.paths.state
    with Engine(root=root, state=state, on_event=emit, form=store.form_setting) as engine:
        engine.network_setting = shared.network_setting
        engine._store.credentials = credentials
        yield engine


class Transfers:
    """Translates the events of pull, push and load into docker's messages. Several threads may call it."""

    def __init__(self, words: dict[str, str] | None = None) -> None:
        """`words` are other ones for some kinds of events; "" for those of which nothing is told."""
        self._words = {**wording.LAYER, **(words or {})}
        self._last: dict[str, str] = {}
        self._totals: dict[str, int] = {}
        self._told: dict[str, float] = {}
        self._held: list[Message] = []  # until it is known that the registry has the image
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> list[Message]:
        """Return the messages for an event, often none."""
        facts = event.attributes
        if event.kind in self._words or event.kind in ("pull.start", "image.pull"):
            with self._lock:
                if event.kind == "pull.start":
                    self._held = [{"status": f"Pulling from {facts['repository']}", "id": str(facts["tag"])}]
                    return []
                digest = [{"status": f"Digest: {facts['digest']}"}] if event.kind == "image.pull" else []
                messages = self._held + (digest or self._layer(event))
                self._held = []
                return messages
        if event.kind == "push.start":
            return [{"status": f"The push refers to repository [{facts['repository']}]"}]
        if event.kind == "push.single":
            words = f"Only the image for {facts['platform']} goes out: not all that its index names can be had"
            return [{"status": words}]
        if event.kind == "registry.retry":
            seconds = round(float(str(facts["seconds"])), 1)
            return [{"status": f"{event.subject}: Retrying in {seconds:g} seconds: {facts['reason']}"}]
        if event.kind == "registry.mirror":
            return [{"status": f"{event.subject}: the mirror failed, the next is asked: {facts['reason']}"}]
        return []

    def _layer(self, event: Event) -> list[Message]:
        subject = event.subject
        words = self._words[event.kind]
        if not words:
            return []
        if event.kind == "blob.mounted":
            words = f"{words} {event.attributes['source']}"
        total = int(str(event.attributes.get("total") or 0)) or self._totals.get(subject, 0)
        done = int(str(event.attributes.get("done") or 0))
        self._totals[subject] = total
        changed = self._last.get(subject) != words
        self._last[subject] = words
        message: Message = {"status": words, "progressDetail": {}}
        if subject:
            message["id"] = short_id(subject)
        if not event.kind.endswith(".progress"):
            return [message] if changed else []
        now = time.monotonic()
        if not changed and done != total and now - self._told.get(subject, 0.0) < _OFTEN:
            return []
        self._told[subject] = now
        message["progressDetail"] = {"current": done, "total": total} if total else {"current": done}
        message["progress"] = _bar(done, total)
        return [message]


def _bar(done: int, total: int) -> str:
    if not total:
        return size(done)
    filled = min(_WIDTH * done // total, _WIDTH)
    return f"[{('=' * filled + '>')[:_WIDTH]:{_WIDTH}}] {size(done)}/{size(total)}"


def failure(error: BaseException) -> Message:
    """Return an error as a message of a stream."""
    text = error.message if isinstance(error, UnderlayError) else str(error) or type(error).__name__
    return {"errorDetail": {"message": text}, "error": text}


async def streamed(
    request: web.Request,
    call: Callable[[Engine, Say], None],
    translate: Translate,
    credentials: Credentials | None = None,
    explain: Callable[[BaseException], Message] = failure,
    cancellation: Cancellation | None = None,
) -> web.StreamResponse:
    """Do work in a thread, with an engine of its own, and send its events and what it says as lines of JSON meanwhile.

    An error after the first line is a line, too, as `explain` words it. Raises what the work raises before that, TooMuch.
    When the client goes away, the work is cancelled: it ends with its next event, or by `cancellation` if it has one.
    """
    work = work_of(request)
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Message | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    over = threading.Event()

    def say(message: Message) -> None:
        room.acquire()
        if over.is_set():
            room.release()  # for the next thread that waits
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, message)

    def emit(event: Event) -> None:
        if over.is_set():
            if event.kind.startswith("build."):
                return  # its threads end with the build, by its cancellation
            raise ClientGone
        for message in translate(event):
            say(message)

    def run() -> None:
        with own_engine(work.engine, emit, credentials) as engine:
            call(engine, say)

    finished = work.wait(run)
    finished.add_done_callback(lambda _: queue.put_nowait(None))
    response: web.StreamResponse | None = None
    try:
        while (message := await queue.get()) is not None:
            room.release()
            response = response or await _begun(request)
            await response.write(_line(message))
        error = finished.exception()
        if error is not None:
            if response is None:
                raise error
            await response.write(_line(explain(error)))
    finally:
        over.set()
        room.release()
        if not finished.done():
            finished.cancel()
            if cancellation is not None:
                # In a thread: it waits for locks of the work.
                await asyncio.shield(work.do(cancellation.cancel))
    response = response or await _begun(request)
    await response.write_eof()
    return response


async def _begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    return response


def _line(message: Message) -> bytes:
    return msgspec.json.encode(message) + b"\r\n"
