"""The cache as one build sees it: results found by key, made once even when several builds want them."""

from __future__ import annotations

import os
from time import time_ns

from ...files import Lock
from ...store.rows import buildcache
from ..filesystem import Made, in_background

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Thread

    from ...paths import Paths
    from ...store.rows.buildcache import Record
    from ...store.rows.layers import Layer
    from ...store.rows.meta import Meta
    from ..filesystem import Filesystem
    from ..vertices import Vertex
    from .buildkit.keys import Key
    from .outside import Imports


class Result:
    """What a step has made: a layer, or the directory `upper` and how it becomes one."""

    __slots__ = ("pack", "upper")

    def __init__(self, pack: Callable[[], Layer], upper: str = "") -> None:
        self.pack = pack
        self.upper = upper


class Cache:
    """Finds and keeps results. Several threads of one build use it; other builds may work beside it."""

    def __init__(
        self, paths: Paths, meta: Meta, epoch: int | None, imports: Imports | None = None, buildkit: bool = False
    ) -> None:
        """`imports` are the external caches to look into; with `buildkit` steps have BuildKit's keys, too."""
        self._paths = paths
        self._meta = meta
        self._epoch = epoch
        self._imports = imports
        self.buildkit = buildkit
        self._used: list[str] = []
        self.records: dict[str, Record] = {}  # all that were found or made, for the external caches
        self.noted: list[tuple[Filesystem, int]] = []  # file systems with BuildKit's keys, and when they were made
        self._threads: list[Thread] = []
        os.makedirs(paths.locks, 0o700, exist_ok=True)

    def find(self, key: str, theirs: Key | None = None, below: Sequence[Made] = ()) -> Record | None:
        """Return what is known under a key; a layer of another store of results is brought for it.

        `theirs` is BuildKit's key for it, `below` are the layers that it stands on.
        """
        record = buildcache.find(self._paths, self._meta, key)
        if record is not None:
            self._used.append(key)
            self.records[key] = record
            return record
        if self._imports is None or (imported := self._imports.find(key, theirs, below)) is None:
            return None
        record = buildcache.Record(key, "", imported[0], buildcache.REGULAR, "imported", imported[1])
        self.keep(record)
        return record

    def keep(self, record: Record) -> None:
        """Record a result."""
        buildcache.put(self._meta, record)
        self.records[record.key] = record

    def note(self, filesystem: Filesystem, created: int) -> None:
        """Keep in mind a file system that a step has ended with, for caches in BuildKit's form."""
        if filesystem.buildkit is not None:
            self.noted.append((filesystem, created))

    def _now(self) -> int:
        now = time_ns()
        return now if self._epoch is None else min(now, self._epoch * 1_000_000_000)

    def made(
        self,
        key: str,
        parent: str,
        vertex: Vertex,
        work: Callable[[], Result],
        use: bool = True,
        kind: str = buildcache.REGULAR,
        theirs: Key | None = None,
        below: Sequence[Made] = (),
    ) -> tuple[Made, int]:
        """Return the layer of a step and when it was made (ns), from an earlier build (unless `use` is false) or by `work`.

        Of several who want the same, one works and the others wait for it. `theirs` and `below` are as for `find`.
        """
        if use and (record := self.find(key, theirs, below)) is not None:
            vertex.cached = True
            return Made(record.layer), record.created
        lock = Lock(f"{self._paths.locks}/build-{key.partition(':')[2]}")
        lock.acquire()
        try:
            if use and (record := self.find(key, theirs, below)) is not None:
                vertex.cached = True
                lock.release()
                return Made(record.layer), record.created
            result = work()
        except BaseException:
            lock.release()
            raise
        created = self._now()

        def finish() -> Layer:
            try:
                layer = result.pack()
                self.keep(buildcache.Record(key, parent, layer, kind, vertex.name, created))
                return layer
            finally:
                lock.release()

        made = Made(upper=result.upper)
        if result.upper:
            self._threads.append(in_background(finish, made))
        else:
            made.come(finish())
        return made, created

    def settle(self) -> None:
        """Wait for all layers on their way, and note what has been of use."""
        while self._threads:
            self._threads.pop().join()
        if self._used:
            buildcache.touch(self._meta, self._used)
            self._used = []
