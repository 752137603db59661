"""Progress of long work: bars on a terminal, nothing elsewhere. Fed by the engine's events."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from ...engine.engine import Engine
    from ...events import Event


class Progress:
    """Shows the engine's layer events on standard error while it is entered; `quiet` shows nothing.

    On a terminal it is rich's bars where rich can be imported, else a line for each layer that is done.
    Without a terminal docker shows nothing either. NO_COLOR is respected (rich does).
    """

    def __init__(self, engine: Engine, quiet: bool = False) -> None:
        self._engine = engine
        self._before = engine._store.emit
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._shown = not quiet and sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self._shown:
            try:
                from rich.console import Console
                from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
            except ImportError:
                pass
            else:
                self._bars = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    DownloadColumn(),
                    TransferSpeedColumn(),
                    console=Console(stderr=True),
                    transient=True,
                )
                self._bars.start()
            self._engine._store.emit = self._take
        return self

    def _take(self, event: Event) -> None:
        self._before(event)
        name = event.subject.partition(":")[2][:12] or event.subject or "layer"
        if event.kind == "layer.progress" and self._bars is not None:
            done, total = event.attributes.get("done"), event.attributes.get("total")
            if event.subject not in self._tasks:
                self._tasks[event.subject] = self._bars.add_task(name, total=total or None)
            self._bars.update(self._tasks[event.subject], completed=done)
        elif event.kind in ("layer.done", "layer.exists") and self._bars is None:
            sys.stderr.write(f"{name}: {'Loaded' if event.kind == 'layer.done' else 'Already exists'}\n")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine._store.emit = self._before
        if self._bars is not None:
            self._bars.stop()
