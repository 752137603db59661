"""Questions to registries: in threads of their own, so many at once and no longer than a while."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

from ...errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...api.work import Work
    from ...registry.registries import Registries

T = TypeVar("T")
_PATIENCE = 60.0  # seconds that a page waits for a registry
_AT_ONCE = 32  # questions whose threads have not ended: a registry that hangs may keep them for minutes


class Busy(RegistryError):
    """As many registries as may be asked at once are being asked."""

    http_status = 503


class Asking:
    """Asks registries for pages, so that one that hangs keeps nothing but the page that waits for it."""

    def __init__(self, work: Work, patience: float = _PATIENCE, at_once: int = _AT_ONCE) -> None:
        self._work = work
        self._patience = patience
        self._at_once = at_once
        self._running = 0
        self._lock = threading.Lock()

    async def ask(self, what: str, question: Callable[[list[Registries]], T]) -> T:
        """Run a question in a thread and return its result. The question appends the connections that it opens to the list
        it is given; they are closed when it takes too long.

        `what` names what is asked for in errors. Raises what the question raises, Busy, RegistryError (no answer in time).
        """
        with self._lock:
            if self._running >= self._at_once:
                raise Busy(f"{what}: {self._running} other questions to registries wait for answers", "try again later")
            self._running += 1
        opened: list[Registries] = []

        def asked() -> T:
            try:
                return question(opened)
            finally:
                with self._lock:
                    self._running -= 1

        try:
            return await asyncio.wait_for(self._work.wait(asked), self._patience)
        except TimeoutError:
            for registries in opened:
                registries.cancel()
            raise RegistryError(
                f"{what}: no whole answer within {self._patience:g} seconds",
                "the registry is slow or hangs: try again later",
            ) from None
