"""Reads the layers of an image where it lies, in an archive or a registry; none is taken into the store."""

from __future__ import annotations

import contextlib
from functools import partial

from ..errors import LimitExceeded
from ..human import size
from ..lean.values import Value
from ..oci import reference as references
from ..registry.registries import Registries
from ..store import layers as stored
from ..store.kinds import REGULAR
from ..store.layers import passing
from ..store.limits import DEFAULT, Limits
from ..store.scratch import ensure
from . import tocs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..oci import manifest as manifests
    from ..oci.descriptor import Descriptor
    from ..oci.platform import Platform
    from ..registry.repository import Repository
    from ..store.layers.passing import SkimmedLayer, SpooledLayer
    from ..store.layers.toc import Entry
    from ..store.store import Store
    from .tocs import TableLayer

    Layers = dict[str, SkimmedLayer | SpooledLayer | TableLayer]
    Opener = Callable[["Wanted"], AbstractContextManager[Layers]]

_PIECE = 1 << 20


class Wanted(Value, kw_only=True):
    """What is wanted of layers: with `keep` the contents of the files for which that is true, in memory, which can be asked
    for when the layers are closed; without it, all files. `tables`: whether tables of contents are believed."""

    keep: Callable[[Entry], bool] | None = None
    tables: bool = True


class _Bounds(Value, kw_only=True):
    """Bytes of an image's layers: uncompressed, compressed, of the contents that are kept; members and names of a layer."""

    plain: int
    fetched: int
    kept: int = 0
    members: int
    metadata: int


# What is kept in memory is asked for on the way to something else, and without being told to.
_SKIMMED = _Bounds(plain=8 << 30, fetched=4 << 30, kept=256 << 20, members=500_000, metadata=256 << 20)
_SPOOLED = _Bounds(plain=128 << 30, fetched=128 << 30, members=DEFAULT.members, metadata=DEFAULT.metadata)


class _Reading:
    """Layers that are read one after the other, within the limits of all together."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self.bounds = _SPOOLED if wanted.keep is None else _SKIMMED
        self.layers: Layers = {}
        self._store = store
        self._keep = wanted.keep
        self._plain, self._fetched, self._kept = self.bounds.plain, self.bounds.fetched, self.bounds.kept

    def lacks(self, diff_id: str) -> bool:
        """Tell whether a layer is neither read nor in the store."""
        return diff_id not in self.layers and not stored.exists(self._store.paths, diff_id)

    def read(self, source: Callable[[], bytes], diff_id: str, compressed: int) -> SkimmedLayer | SpooledLayer:
        """Read a layer; `compressed` is how many bytes it has there."""
        if compressed > self._fetched:
            raise LimitExceeded(
                f"its layers have more than {size(self.bounds.fetched)}", "`underlay pull` or `underlay load` it first"
            )
        self._fetched -= compressed
        limits = Limits(total=self._plain, members=self.bounds.members, metadata=self.bounds.metadata)
        layer: SkimmedLayer | SpooledLayer
        if self._keep is None:
            layer = passing.spool(source, diff_id, ensure(self._store.paths.temporary), limits)
        else:
            layer = passing.skim(source, diff_id, self._keeps, limits)
        self._plain -= layer.size
        return layer

    def keep_of(self, table: TableLayer) -> None:
        """Fetch what is to be kept in memory of a layer with a table of contents."""
        for entry in table.entries if self._keep is not None else ():
            if entry.kind == REGULAR and self._may_keep(entry):
                left = self._kept - entry.size
                table.read(entry, entry.size)
                # If the layer had to be read to its end, what is kept of it was counted then.
                self._kept = min(self._kept, left)

    def _may_keep(self, entry: Entry) -> bool:
        return self._keep is not None and entry.size <= self._kept and self._keep(entry)

    def _keeps(self, entry: Entry) -> bool:
        wanted = self._may_keep(entry)
        self._kept -= entry.size if wanted else 0
        return wanted

    def close(self) -> None:
        for layer in self.layers.values():
            layer.close()


@contextlib.contextmanager
def in_archive(
    store: Store, path: str, image_id: str, platforms: Sequence[Platform], wanted: Wanted
) -> Iterator[Layers]:
    """Open the layers of an image of an archive or layout that are not in the store, by diff id.

    Raises as `archives.load.layers`, DigestMismatch, Corrupt, LimitExceeded.
    """
    from .archives import load

    with contextlib.closing(_Reading(store, wanted)) as reading:
        with load.layers(path, image_id, platforms) as contents:
            for diff_id, content in contents:
                if reading.lacks(diff_id):
                    try:
                        reading.layers[diff_id] = reading.read(partial(content.read, _PIECE), diff_id, content.size)
                    finally:
                        content.close(keep=False)
        yield reading.layers


@contextlib.contextmanager
def in_registry(
    store: Store, name: str, manifest: manifests.Manifest, diff_ids: Sequence[str], wanted: Wanted
) -> Iterator[Layers]:
    """Open the layers of a manifest in the repository of `name` that are not in the store, by diff id: by their tables of
    contents where they have some and these are `wanted`, else read to their end.

    Raises what registries raise, Unsupported for a foreign layer, DigestMismatch, Corrupt, LimitExceeded.
    """
    from .registry.pull import refuse_foreign

    with Registries(store.emit) as registries, contextlib.closing(_Reading(store, wanted)) as reading:
        repository = registries.repository(references.parse(name))
        for diff_id, descriptor in zip(diff_ids, manifest.layers or [], strict=True):
            if reading.lacks(diff_id):
                refuse_foreign(descriptor)
                whole = partial(_downloaded, reading, repository, descriptor, diff_id)
                table = tocs.read(repository, descriptor, whole) if wanted.tables else None
                reading.layers[diff_id] = table or whole()
                if table is not None:
                    reading.keep_of(table)
        yield reading.layers


@contextlib.contextmanager
def layer(
    store: Store, repository: Repository, descriptor: Descriptor, diff_id: str, wanted: Wanted
) -> Iterator[SkimmedLayer | SpooledLayer | TableLayer]:
    """Open one layer of a repository without taking it into the store; raises as `in_registry`."""
    from .registry.pull import refuse_foreign

    refuse_foreign(descriptor)
    with contextlib.closing(_Reading(store, wanted)) as reading:
        whole = partial(_downloaded, reading, repository, descriptor, diff_id)
        table = tocs.read(repository, descriptor, whole) if wanted.tables else None
        reading.layers[diff_id] = opened = table or whole()
        if table is not None:
            reading.keep_of(table)
        yield opened


def _downloaded(
    reading: _Reading, repository: Repository, descriptor: Descriptor, diff_id: str
) -> SkimmedLayer | SpooledLayer:
    download = repository.blob(descriptor)
    try:
        return reading.read(partial(download.read, _PIECE), diff_id, descriptor.size)
    finally:
        download.close()
