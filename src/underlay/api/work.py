"""Work of the engine for requests: it blocks, so it is done in threads, and its results come back to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from ..engine.engine import Engine

T = TypeVar("T")
_AT_ONCE = 16  # threads for work that ends soon
_LONG = 512  # threads for what waits: followed logs, events, exits
_AHEAD = 64  # items that are read before they are sent


class TooMuch(Exception):
    """More requests wait for something than the server serves."""


class Work:
    """The engine, and the threads that work with it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._short = ThreadPoolExecutor(_AT_ONCE, "engine")
        self._long = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def do(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Return what a function of the engine returns that ends soon. Raises what it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._short, lambda: function(*arguments, **keywords))

    def wait(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Return the future result of a function that may wait for long. Raises TooMuch.

        Its thread keeps nobody from ending the server.
        """
        if self._long >= _LONG:
            raise TooMuch
        self._long += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            self._long -= 1
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def work() -> None:
            result, error = None, None
            try:
                result = function()
            except BaseException as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=work, daemon=True).start()
        return future

    async def each(self, make: Callable[[Callable[[], bool]], Iterable[T]]) -> AsyncIterator[T]:
        """Yield the items of an iterable that may wait for long between them; it is read a little ahead.

        `make` gets a function that says whether nobody wants items any more. Raises what it raises, TooMuch.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        room = threading.Semaphore(_AHEAD)
        over = threading.Event()
        end = object()

        def read() -> None:
            for item in make(over.is_set):
                room.acquire()
                if over.is_set():
                    return
                loop.call_soon_threadsafe(queue.put_nowait, item)

        finished = self.wait(read)
        finished.add_done_callback(lambda _: queue.put_nowait(end))
        try:
            while (item := await queue.get()) is not end:
                room.release()
                yield item
            finished.result()
        finally:
            over.set()
            room.release()
            if not finished.done():
                finished.cancel()

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Have work done beside the request that began it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Begin nothing any more."""
        self._short.shutdown(wait=False, cancel_futures=True)
