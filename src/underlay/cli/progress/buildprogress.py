"""A build's progress as BuildKit shows it: plain lines, a live list on a terminal, or JSON, on standard error."""

from __future__ import annotations

import sys
import threading
import time
from binascii import b2a_base64

from ...errors import UsageError
from ..templates.gotemplate import to_json
from . import bars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, TextIO

    from ...engine.engine import Engine
    from ...events import Event

MODES = ("auto", "plain", "tty", "json", "rawjson", "quiet")
_TAIL = 6  # lines of a step's output that a terminal shows while it runs
_KEPT = 100  # lines of a failed step that are shown at the end
_COLOUR = r"(\x1b\[[0-9;:]*m)"  # ECMA-48, SGR


class _Shown:
    """What is known of one vertex."""

    __slots__ = ("begun", "ended", "error", "lines", "name", "number", "partial", "word")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = _printable(name)
        self.begun = time.time()
        self.ended = 0.0
        self.word = ""
        self.error = ""
        self.lines: list[str] = []
        self.partial = b""

    @property
    def seconds(self) -> float:
        return (self.ended or time.time()) - self.begun


class BuildProgress:
    """Shows the engine's build events on `stream` while it is entered. Several threads may emit."""

    def __init__(self, engine: Engine, mode: str = "auto", stream: TextIO | None = None) -> None:
        if mode not in MODES:
            raise UsageError(f"invalid progress mode {mode!r}", f"choose one of {', '.join(MODES)}")
        self._engine = engine
        self._before = engine._store.emit
        self._stream = stream or sys.stderr
        if mode == "auto":
            mode = "tty" if bars.wanted(self._stream) else "plain"
        self.mode = "json" if mode == "rawjson" else mode
        self._vertices: dict[int, _Shown] = {}
        self._last = 0
        self._lock = threading.Lock()
        self._start = time.time()
        self._live: Any = None
        self._warnings: list[str] = []
        self._over = False

    def __enter__(self) -> BuildProgress:
        self._engine._store.emit = self._take
        if self.mode == "tty":
            try:
                from rich.console import Console
                from rich.live import Live
            except ImportError:
                self.mode = "plain"
            else:
                console = Console(file=self._stream, highlight=False)
                self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=10)
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine._store.emit = self._before
        self._over = True
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self.mode in ("plain", "tty"):
            if value is not None:
                self._failures()
            self._summary()

    def _summary(self) -> None:
        """Write what the build has warned of."""
        if self._warnings:
            count = len(self._warnings)
            self._write(f"\n {count} warning{'s' * (count > 1)} found:")
            for warning in self._warnings:
                self._write(f" - {_printable(warning)}")

    def _take(self, event: Event) -> None:
        self._before(event)
        if not event.kind.startswith("build."):
            return
        with self._lock:
            if event.kind == "build.warning":
                self._warnings.append(event.subject)
                if self.mode == "json":
                    short = b2a_base64(event.subject.encode(errors="replace"), newline=False).decode()
                    self._write(to_json({"warnings": [{"level": 1, "short": short}]}))
                return
            number = int(str(event.attributes["number"]))
            if event.kind == "build.begin":
                self._vertices[number] = _Shown(number, event.subject)
            self._note(self._vertices[number], event)

    def _note(self, vertex: _Shown, event: Event) -> None:
        kind = event.kind
        data = event.attributes.get("data")
        if kind in ("build.end", "build.cached", "build.canceled", "build.failed"):
            vertex.ended = time.time()
            vertex.error = _printable(str(event.attributes.get("error", "")))
            words = {"build.cached": "CACHED", "build.canceled": "CANCELED", "build.failed": f"ERROR: {vertex.error}"}
            vertex.word = words.get(kind, f"DONE {vertex.seconds:.1f}s")
        lines = self._split(vertex, data) if isinstance(data, bytes) else []
        if kind == "build.status":
            lines = [str(event.attributes["text"])]
        if vertex.ended and vertex.partial:
            lines.append(self._stamped(vertex, vertex.partial))
            vertex.partial = b""
        vertex.lines = (vertex.lines + lines)[-_KEPT:]
        if self.mode == "json":
            self._json(vertex, event)
        elif self.mode == "plain":
            self._plain(vertex, kind, lines)

    def _split(self, vertex: _Shown, data: bytes) -> list[str]:
        *whole, vertex.partial = (vertex.partial + data).split(b"\n")
        return [self._stamped(vertex, line) for line in whole]

    def _stamped(self, vertex: _Shown, line: bytes) -> str:
        return f"{time.time() - vertex.begun:.3f} {line.decode(errors='replace')}"

    def _plain(self, vertex: _Shown, kind: str, lines: list[str]) -> None:
        if self._last != vertex.number:
            self._write(("\n" if self._last else "") + f"#{vertex.number} {vertex.name}")
            self._last = vertex.number
        for line in lines:
            self._write(f"#{vertex.number} {_printable(line)}")
        if vertex.word and kind != "build.begin":
            self._write(f"#{vertex.number} {vertex.word}")

    def _json(self, vertex: _Shown, event: Event) -> None:
        # Unlike those of any other build, as several may be shown together.
        name = f"sha256:{int(self._start * 1e9):032x}{vertex.number:032x}"
        if event.kind == "build.log":
            data = event.attributes["data"]
            assert isinstance(data, bytes)
            entry = {
                "vertex": name,
                "stream": event.attributes["stream"],
                "data": b2a_base64(data, newline=False).decode(),
                "timestamp": _moment(time.time()),
            }
            self._write(to_json({"logs": [entry]}))
            return
        if event.kind == "build.status":
            moment = _moment(time.time())
            status = {"id": str(event.attributes["text"]), "vertex": name, "current": 0, "timestamp": moment}
            self._write(to_json({"statuses": [{**status, "started": moment}]}))
            return
        entry = {"digest": name, "name": vertex.name, "started": _moment(vertex.begun)}
        if vertex.ended:
            entry["completed"] = _moment(vertex.ended)
        if vertex.word == "CACHED":
            entry["cached"] = True
        if vertex.error:
            entry["error"] = vertex.error
        elif vertex.word == "CANCELED":
            entry["error"] = "context canceled"
        self._write(to_json({"vertexes": [entry]}))

    def _picture(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            table = Table.grid(expand=True, padding=(0, 1))
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            table.add_column(justify="right", no_wrap=True)
            done = sum(bool(vertex.ended) for vertex in self._vertices.values())
            ended = "FINISHED" if self._over and done == len(self._vertices) else ""
            head = f"[+] Building {time.time() - self._start:.1f}s ({done}/{len(self._vertices)}) {ended}"
            table.add_row(Text(head), "")
            for vertex, lines in self._visible():
                canceled = vertex.word == "CANCELED"
                style = "red" if vertex.error else "yellow" if canceled else "blue" if vertex.ended else ""
                word = "ERROR " if vertex.error else f"{vertex.word} " if vertex.word in ("CACHED", "CANCELED") else ""
                table.add_row(
                    Text(f" => {word}{vertex.name}", style=style), Text(f"{vertex.seconds:.1f}s", style=style)
                )
                for line in lines:
                    table.add_row(Text(f" => => # {_printable(line)}", style="dim"), "")
            return table

    def _visible(self) -> list[tuple[_Shown, list[str]]]:
        """Return the vertices to show with the last lines of those at work: what a screen has room for, the newest, until
        all is over."""
        rows = [(vertex, [] if vertex.ended else vertex.lines[-_TAIL:]) for vertex in self._vertices.values()]
        room = self._live.console.height - 2 if self._live is not None and not self._over else sys.maxsize
        while sum(1 + len(lines) for _, lines in rows) > room and len(rows) > 1:
            # What has ended goes first.
            rows.pop(next((number for number, (vertex, _) in enumerate(rows) if vertex.ended), 0))
        return rows

    def _failures(self) -> None:
        for vertex in self._vertices.values():
            if vertex.error and vertex.lines:
                self._write(f"------\n > {vertex.name}:")
                for line in vertex.lines:
                    self._write(_printable(line))
                self._write("------")

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def _printable(text: str) -> str:
    """Return a line of a step's output without what could steer a terminal; colours stay."""
    text = text.replace("\r", "")
    if text.isprintable():
        return text
    import re

    kept = []
    for number, part in enumerate(re.split(_COLOUR, text)):
        kept.append(part if number % 2 else "".join(c if c.isprintable() or c == "\t" else " " for c in part))
    return "".join(kept)


def _moment(seconds: float) -> str:
    from ...human import rfc3339

    return rfc3339(int(seconds * 1e9))
