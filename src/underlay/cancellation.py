"""Word to long work that nobody wants its result any more."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Cancellation:
    """Tells work that it is to end. Any thread may call `cancel`; the work then raises an error as soon as it can."""

    def __init__(self) -> None:
        from threading import Lock

        self._lock = Lock()
        self._ends: list[Callable[[], None]] = []
        self.cancelled = False

    def cancel(self) -> None:
        """Have the work end; harmless when repeated, and when it has ended."""
        with self._lock:
            self.cancelled = True
            ends, self._ends = self._ends, []
        for end in ends:
            end()

    def on_cancel(self, end: Callable[[], None]) -> None:
        """Have `end` called when the work is to end: at once if that has been said. It must not block."""
        with self._lock:
            if not self.cancelled:
                self._ends.append(end)
                return
        end()
