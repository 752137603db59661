"""Progress of long work: bars on a terminal, nothing elsewhere. Fed by the engine's events."""

from __future__ import annotations

import sys

from . import bars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ...engine.engine import Engine
    from ...events import Event


class Progress:
    """Shows the engine's layer events on standard error while it is entered; `quiet` shows nothing.

    On a terminal it is bars where they are wanted and can be had, else a line for each layer that is done. Without a
    terminal docker shows nothing either.
    """

    def __init__(self, engine: Engine, quiet: bool = False) -> None:
        self._engine = engine
        self._before = engine._store.emit
        self._bars: bars.Bars | None = None
        self._shown = not quiet and sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self._shown:
            if bars.wanted(sys.stderr):
                try:
                    self._bars = bars.Bars(sys.stderr, transient=True)
                except ImportError:
                    pass  # a line a layer does, too
            self._engine._store.emit = self._take
        return self

    def _take(self, event: Event) -> None:
        self._before(event)
        name = event.subject.partition(":")[2][:12] or event.subject or "layer"
        if event.kind == "layer.progress" and self._bars is not None:
            done, total = (int(str(event.attributes.get(key) or 0)) for key in ("done", "total"))
            self._bars.show(event.subject, name, done, total, False)
        elif event.kind in ("layer.done", "layer.exists") and self._bars is None:
            sys.stderr.write(f"{name}: {'Loaded' if event.kind == 'layer.done' else 'Already exists'}\n")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine._store.emit = self._before
        if self._bars is not None:
            self._bars.stop()
