"""Pulling and pushing as people know it: a line a layer, with bars on a terminal, plain lines or JSON elsewhere."""

from __future__ import annotations

import sys
import threading

from ...engine.images import wording
from ...errors import UsageError
from ...human import short_id
from ...human import size as human_size
from ..templates.govalues import to_json
from . import bars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, TextIO

    from ...engine.engine import Engine
    from ...events import Event
    from ..flags import Flag

FLAG: Flag = ("progress", "", "string", "string", "Progress output: auto, plain, tty, json or quiet (default auto)")
MODES = ("auto", "plain", "tty", "json", "quiet")

# A person is told for what a layer waits.
_LAYER_WORDS = {**wording.LAYER, "layer.await": "Waiting for another pull"}
_ENDED = frozenset(("layer.done", "layer.exists", "blob.done", "blob.exists", "blob.mounted"))


class TransferProgress:
    """Shows the engine's transfer events on `stream` while it is entered. Several threads may emit.

    `mode` is one of `MODES`. Bars need rich and a terminal; `json` writes docker's JSON messages, a line each.
    """

    def __init__(self, engine: Engine, mode: str = "auto", stream: TextIO | None = None) -> None:
        if mode not in MODES:
            raise UsageError(f"invalid progress mode {mode!r}", f"choose one of {', '.join(MODES)}")
        self._engine = engine
        self._before = engine._store.emit
        self._stream = stream or sys.stdout
        if mode == "auto":
            mode = "tty" if bars.wanted(self._stream) else "plain"
        self.mode = mode
        self._bars: bars.Bars | None = None
        self._last_status: dict[str, str] = {}
        self._totals: dict[str, int] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> TransferProgress:
        self.start()
        self._engine._store.emit = self._take
        return self

    def start(self) -> None:
        """Begin to show."""
        if self.mode == "tty":
            try:
                self._bars = bars.Bars(self._stream)
            except ImportError:
                self.mode = "plain"

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine._store.emit = self._before
        self.stop()
        if value is not None:
            self.failed(value)

    def failed(self, error: BaseException) -> None:
        """Write an error as docker's JSON message for programs; people see it on standard error."""
        if self.mode == "json":
            message = getattr(error, "message", None) or str(error) or "interrupted"
            self._write(to_json({"errorDetail": {"message": message}, "error": message}))

    def stop(self) -> None:
        """Leave the bars as they are."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def say(self, text: str, quiet: bool = False) -> None:
        """Write one line of the result, as a status message in JSON; with `quiet` even when nothing else is shown."""
        text = "".join(c if c.isprintable() else " " for c in text)
        if self.mode == "json":
            self._write(to_json({"status": text}))
        elif self.mode != "quiet" or quiet:
            if self._bars is not None:
                self._bars.say(text)
            else:
                self._write(text)

    def _take(self, event: Event) -> None:
        self._before(event)
        self.show(event)

    def show(self, event: Event) -> None:
        """Show an event."""
        if self.mode == "quiet":
            return
        if event.kind in _LAYER_WORDS:
            with self._lock:
                self._layer(event)
        elif event.kind == "pull.start":
            self.say(f"{event.attributes['tag']}: Pulling from {event.attributes['repository']}")
        elif event.kind == "image.pull":
            self.say(f"Digest: {event.attributes['digest']}")
        elif event.kind == "push.start":
            self.say(f"The push refers to repository [{event.attributes['repository']}]")
        elif event.kind == "push.single":
            self.say(
                f"Only the image for {event.attributes['platform']} goes out: not all that its index names can be had"
            )
        elif event.kind == "registry.retry":
            seconds = round(float(str(event.attributes["seconds"])), 1)
            self.say(f"{event.subject}: Retrying in {seconds:g} seconds: {event.attributes['reason']}")
        elif event.kind == "registry.mirror":
            self.say(f"{event.subject}: the mirror failed, the next is asked: {event.attributes['reason']}")

    def _layer(self, event: Event) -> None:
        subject, name = event.subject, short_id(event.subject)
        status = _LAYER_WORDS[event.kind]
        if event.kind == "blob.mounted":
            status = f"{status} {event.attributes['source']}"
        total = int(str(event.attributes.get("total") or 0)) or self._totals.get(subject, 0)
        self._totals[subject] = total
        done = int(str(event.attributes.get("done") or 0))
        changed = self._last_status.get(subject) != status
        self._last_status[subject] = status
        if self.mode == "json":
            if changed or event.kind.endswith(".progress"):
                self._message(name, status, done, total, event.kind.endswith(".progress"))
        elif self._bars is None:
            if changed:
                self._write(f"{name}: {status}")
        else:
            self._bars.show(subject, f"{name}: {status}", done, total, event.kind in _ENDED)

    def _message(self, name: str, status: str, done: int, total: int, moving: bool) -> None:
        detail = {"current": done, "total": total} if moving else {}
        message: dict[str, Any] = {"status": status, "progressDetail": detail, "id": name}
        if moving:
            message["progress"] = f"{human_size(done)}/{human_size(total)}"
        self._write(to_json(message))

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
