"""The list of containers, which clients ask for often and which seldom changes: it is kept, and its changes are noticed."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from ..engine.containers.find import ContainerListing, listing
from ..engine.filters import containers as filters
from ..runtime.monitor import state
from ..store.rows import containers as rows
from . import summaries

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..store.rows.containers import ContainerRow

_SWEPT = 1.0  # seconds between two looks for what killed processes have left


class _Kept:
    """What was found for a container, and by what it can be seen that it may no longer be so."""

    __slots__ = ("item", "marks", "summary")

    def __init__(self, marks: tuple[object, ...], item: ContainerListing | None) -> None:
        self.marks = marks
        self.item = item
        self.summary: dict[str, Any] | None = None


class Listings:
    """The containers of an engine as they are now. Several threads may ask."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._version = -1
        self._rows: list[ContainerRow] = []
        self._kept: dict[str, _Kept] = {}
        self._swept = 0.0

    def every(self, all: bool) -> list[ContainerListing]:
        """Return the running containers, or all, the newest first."""
        with self._lock:
            return [kept.item for kept in self._current() if kept.item is not None and (all or kept.item.is_running)]

    def summary(self, item: ContainerListing, size: bool) -> dict[str, Any]:
        """Return a container of `every` as `GET /containers/json` lists it; with `size` its bytes on disk."""
        kept = self._kept.get(item.row.id)
        if size or kept is None or kept.item is not item:
            return summaries.container(self._engine, item, size)
        if kept.summary is None:
            kept.summary = summaries.container(self._engine, item, False)
        return {**kept.summary, "Status": filters.status_words(item)}  # which tells how long ago

    def _current(self) -> list[_Kept]:
        store = self._engine._store
        now = time.monotonic()
        if now - self._swept > _SWEPT:
            self._engine.containers.recover()
            self._swept = now
        version = store.meta.version()
        if version != self._version:
            # Any change of the database: of a container, or of a network that one is in.
            self._version, self._rows, self._kept = version, rows.every(store.meta), {}
        found = []
        for row in self._rows:
            marks = _marks(store.paths.container(row.id), store.paths.container_state(row.id))
            kept = self._kept.get(row.id)
            if kept is None or kept.marks != marks:
                kept = self._kept[row.id] = _Kept(marks, listing(store, row))
            found.append(kept)
        return found


def _marks(directory: str, state_directory: str) -> tuple[object, ...]:
    """Return what is different when the state of a container is: its files, which are replaced and never changed otherwise,
    and whether a monitor holds its lock."""
    marks: list[object] = [state.monitored(state_directory)]
    for path in (f"{directory}/last.json", f"{state_directory}/state.json", f"{state_directory}/health.json"):
        try:
            facts = os.stat(path)
            marks.append((facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns))
        except OSError:
            marks.append(None)
    return tuple(marks)
