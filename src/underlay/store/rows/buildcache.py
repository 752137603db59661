"""Rows of the build cache: the layer that a build step made, found by the step's key.

A key is a digest of all that decides about a step's result. The layers of records are kept as those of images are.
"""

from __future__ import annotations

from time import time_ns

from .. import layers
from . import layers as layer_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...paths import Paths
    from .layers import Layer
    from .meta import Meta

# Kinds of records, in docker's words.
REGULAR = "regular"
LOCAL = "source.local"
GIT = "source.git.checkout"
MOUNT = "exec.cachemount"


class Record:
    """One result: `layer`, `parent` (key of what it stands on), `kind`, `description`, times in ns, number of `uses`."""

    __slots__ = ("created", "description", "key", "kind", "layer", "parent", "used", "uses")

    def __init__(
        self,
        key: str,
        parent: str,
        layer: Layer,
        kind: str,
        description: str,
        created: int,
        used: int = 0,
        uses: int = 0,
    ) -> None:
        self.key = key
        self.parent = parent
        self.layer = layer
        self.kind = kind
        self.description = description
        self.created = created
        self.used = used
        self.uses = uses


_QUERY = (
    "SELECT b.key, b.parent, b.diff_id, l.size, l.entries, ifnull(l.content, l.size), b.kind, "
    "b.description, b.created, b.used, b.uses "
    "FROM build_cache b JOIN layers l ON l.diff_id = b.diff_id"
)


def _record(row: tuple[object, ...]) -> Record:
    key, parent, diff_id, size, entries, content, kind, description, created, used, uses = row
    layer = layer_rows.Layer(diff_id, size, entries, content)  # type: ignore[arg-type]
    return Record(key, parent, layer, kind, description, created, used, uses)  # type: ignore[arg-type]


def find(paths: Paths, meta: Meta, key: str) -> Record | None:
    """Return the record of a key whose layer is here, whole; else None."""
    rows = meta.read(f"{_QUERY} WHERE b.key = ?", (key,))
    if not rows:
        return None
    record = _record(rows[0])
    return record if layers.exists(paths, record.layer.diff_id) else None


def put(meta: Meta, record: Record) -> None:
    """Keep a record and its layer's row, in place of what was there under its key."""
    layer_rows.record_layer(meta, record.layer)
    now = time_ns()
    # A cache is no promise.
    with meta.write(durable=False) as sql:
        sql.execute(
            "INSERT OR REPLACE INTO build_cache VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (
                record.key,
                record.parent,
                record.layer.diff_id,
                record.kind,
                record.description,
                record.created,
                record.used or now,
            ),
        )


def touch(meta: Meta, keys: Iterable[str]) -> None:
    """Note that records have been of use now."""
    now = time_ns()
    with meta.write(durable=False) as sql:
        for key in keys:
            sql.execute("UPDATE build_cache SET used = ?, uses = uses + 1 WHERE key = ?", (now, key))


def every(meta: Meta) -> list[Record]:
    """Return all records, the one longest unused first."""
    return [_record(row) for row in meta.read(f"{_QUERY} ORDER BY b.used, b.key")]


def shared(meta: Meta) -> set[str]:
    """Return the diff ids of records that images have, too: without the record they would not go."""
    query = "SELECT diff_id FROM build_cache WHERE diff_id IN (SELECT diff_id FROM image_layers)"
    return {row[0] for row in meta.read(query)}


def remove(meta: Meta, keys: Iterable[str]) -> None:
    """Forget records; their layers are left to the sweep."""
    with meta.write(frees=True) as sql:
        for key in keys:
            sql.execute("DELETE FROM build_cache WHERE key = ?", (key,))
