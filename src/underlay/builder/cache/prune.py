"""Pruning the build cache: which results of steps and which cache mounts go, by age, size and use."""

from __future__ import annotations

import os
from time import time_ns

from ... import trees
from ...errors import NotFound
from ...files import Lock
from ...linux import userns
from ...store import gc, layers
from ...store.pruned import Pruned
from ...store.rows import buildcache
from ..run import cachemounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...paths import Paths
    from ...store.rows.buildcache import Record
    from ...store.rows.meta import Meta


class CacheEntry:
    """An entry of the build cache: the `record` of a step, or the cache mount in the directory `path`."""

    __slots__ = ("created", "description", "id", "kind", "path", "record", "shared", "size", "used", "uses")

    def __init__(self, entry_id: str, kind: str, description: str, size: int, created: int, used: int) -> None:
        self.id = entry_id
        self.kind = kind
        self.description = description
        self.size = size
        self.created = created
        self.used = used
        self.uses = 0
        self.shared = False  # an image has the same layer: nothing would be freed
        self.record: Record | None = None
        self.path = ""


def entries(paths: Paths, meta: Meta) -> list[CacheEntry]:
    """Return all that is in the build cache, the longest unused first."""
    shared = buildcache.shared(meta)
    cache_entries = []
    for record in buildcache.every(meta):
        try:
            size = layers.size_on_disk(paths, record.layer.diff_id)
        except NotFound:
            size = 0
        entry = CacheEntry(
            record.key.partition(":")[2][:25], record.kind, record.description, size, record.created, record.used
        )
        entry.uses, entry.record, entry.shared = record.uses, record, record.layer.diff_id in shared
        cache_entries.append(entry)
    base = cachemounts.root_directory(paths)
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        if not name.endswith(".d"):
            continue
        path = f"{base}/{name}"
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            continue  # removed since
        described = f"cached mount {_mount_id(path.removesuffix('.d'))}"
        size, short = trees.size(path), name.removesuffix(".d")[:25]
        entry = CacheEntry(short, buildcache.MOUNT, described, size, facts.st_ctime_ns, facts.st_mtime_ns)
        entry.path = path
        cache_entries.append(entry)
    return sorted(cache_entries, key=lambda entry: entry.used)


def _mount_id(path: str) -> str:
    try:
        with open(f"{path}.id", encoding="utf-8", errors="surrogateescape") as file:
            return file.read(4096)
    except FileNotFoundError:
        return ""


def prune(paths: Paths, meta: Meta, everything: bool = False, older: float = 0.0, keep: int = 0) -> Pruned:
    """Remove from the build cache what has not been used for `older` seconds, the longest unused first, until at most
    `keep` bytes are left (0: all that may go).

    Without `everything` results stay whose layers images have, too: they take no space of their own. Cache mounts in use
    stay. Builds in progress lose nothing that they stand on.
    """
    pruned = Pruned([])
    cache_entries = entries(paths, meta)
    total = sum(entry.size for entry in cache_entries if not entry.shared)
    limit = time_ns() - int(older * 1e9)
    for entry in cache_entries:
        if keep and total <= keep:
            break
        if entry.used > limit or (entry.shared and not everything):
            continue
        if entry.record is not None:
            buildcache.remove(meta, [entry.record.key])
        elif not _removed(entry.path):
            continue
        pruned.removed.append(entry.id)
        if not entry.shared:
            pruned.reclaimed += entry.size
            total -= entry.size
    gc.sweep(paths, meta)
    return pruned


def _removed(path: str) -> bool:
    """Remove a cache mount unless a step uses it."""
    name = path.removesuffix(".d")
    lock = Lock(f"{name}.lock")
    if not lock.acquire(wait=False):
        return False
    try:
        userns.remove_tree(path)
        for suffix in (".id", ".lock"):
            try:
                os.unlink(name + suffix)
            except FileNotFoundError:
                pass
    finally:
        lock.release()
    return True
