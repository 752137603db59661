"""Progress of a build: its vertices, as BuildKit calls them, with their logs and ends."""

from __future__ import annotations

import threading

from ..events import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ..events import Emit


class Vertex:
    """One piece of work, from `with` to its end. An exception that passes is its failure."""

    __slots__ = ("_emit", "_quiet", "cached", "name", "number")

    def __init__(self, emit: Emit, number: int, name: str) -> None:
        self._emit = emit
        self.number = number
        self.name = name
        self.cached = False

    def __enter__(self) -> Vertex:
        self._tell("build.begin")
        return self

    def status(self, text: str) -> None:
        """Tell in one line what is being done."""
        self._tell("build.status", text=text)

    def log(self, data: bytes, stream: int = 1) -> None:
        """Pass on what the step has written to its standard output (1) or error (2)."""
        self._tell("build.log", data=data, stream=stream)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        from .workers.workers import Abandoned

        if isinstance(value, Abandoned | KeyboardInterrupt):
            self._tell("build.canceled")
        elif value is not None:
            self._tell("build.failed", error=str(value) or type(value).__name__)
        else:
            self._tell("build.cached" if self.cached else "build.end")

    def _tell(self, kind: str, **attributes: object) -> None:
        self._emit(Event(kind, self.name, number=self.number, **attributes))


class Vertices:
    """Numbers a build's vertices in the order in which they begin; several threads may ask."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, name: str) -> Vertex:
        """Return the next vertex."""
        with self._lock:
            self._count += 1
            return Vertex(self._emit, self._count, name)

    def warn(self, text: str, detail: str = "") -> None:
        """Tell of something that the user should know."""
        self._emit(Event("build.warning", text, detail=detail))
