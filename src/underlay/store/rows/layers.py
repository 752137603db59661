"""Layers on record: their sizes, the blobs as which registries and archives know them, and those still awaited."""

from __future__ import annotations

from time import time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .meta import Meta, Transaction


class Layer:
    """What the database records of a layer: `diff_id`, `size` of the tar in bytes, `entries` in it, `content` of
    its files in bytes; and under
    which blob it arrived: `blob` digest, `blob_size`, `compression`, `kept` (whether those bytes are in
    blobs)."""

    __slots__ = ("blob", "blob_size", "compression", "content", "diff_id", "entries", "kept", "size")

    def __init__(self, diff_id: str, size: int, entries: int, content: int) -> None:
        self.diff_id = diff_id
        self.size = size
        self.entries = entries
        self.content = content
        self.blob = ""
        self.blob_size = 0
        self.compression = "none"
        self.kept = False


def layer_blobs(meta: Meta, diff_id: str) -> list[tuple[str, int, str, bool]]:
    """Return (digest, size, compression, kept) of each form under which a layer is known."""
    rows = meta.read(
        "SELECT digest, size, compression, kept FROM layer_blobs WHERE diff_id = ? ORDER BY digest",
        (diff_id,),
    )
    return [(r[0], r[1], r[2], bool(r[3])) for r in rows]


def known_layer(meta: Meta, digest: str) -> tuple[str, int, str, bool] | None:
    """Return (diff id, size, compression, kept) of the layer that arrived as blob `digest`, or None."""
    rows = meta.read("SELECT diff_id, size, compression, kept FROM layer_blobs WHERE digest = ?", (digest,))
    return (rows[0][0], rows[0][1], rows[0][2], bool(rows[0][3])) if rows else None


def record_layer(meta: Meta, layer: Layer, keep: float = 0.0) -> None:
    """Record a layer before any image that uses it, so that other processes need not ingest the same bytes.

    The sweep removes it if no image uses it, but not before `keep` seconds have passed.
    """
    now = time_ns()
    # Without an image that uses it, it is worth no wait; the transaction that records the image makes both durable.
    with meta.write(durable=False) as sql:
        insert(sql, [layer], now)
        if keep:
            sql.execute(
                "INSERT INTO awaited VALUES (?, ?) ON CONFLICT (diff_id) DO UPDATE SET until = excluded.until",
                (layer.diff_id, now + int(keep * 1e9)),
            )


def give_up(meta: Meta, diff_ids: Sequence[str]) -> None:
    """Let the sweep have layers that were kept for another try: there will be none."""
    with meta.write(durable=False) as sql:
        no_longer_awaited(sql, diff_ids)


def no_longer_awaited(sql: Transaction, diff_ids: Sequence[str]) -> None:
    """Take layers off the list of those that are kept for another try."""
    for diff_id in diff_ids:
        sql.execute("DELETE FROM awaited WHERE diff_id = ?", (diff_id,))


def recipes(meta: Meta, diff_id: str) -> dict[str, str]:
    """Return how each compressed form of a layer that can be made again is made, by its digest."""
    return dict(
        meta.read(
            "SELECT m.digest, m.recipe FROM made_blobs m JOIN layer_blobs b ON b.digest = m.digest WHERE b.diff_id = ?",
            (diff_id,),
        )
    )


def repositories_with(meta: Meta, diff_id: str) -> list[str]:
    """Return the repositories under which images that have a layer are known."""
    return [
        row[0]
        for row in meta.read(
            "SELECT DISTINCT d.repository FROM digests d JOIN image_layers l ON l.image = d.image WHERE l.diff_id = ?",
            (diff_id,),
        )
    ]


def insert(sql: Transaction, layers: Sequence[Layer], now: int) -> None:
    """Record layers, and the blobs as which they came, within a transaction."""
    for layer in layers:
        sql.execute(
            "INSERT INTO layers VALUES (?, ?, ?, ?, ?) ON CONFLICT (diff_id) DO NOTHING",
            (layer.diff_id, layer.size, layer.entries, now, layer.content),
        )
        if layer.blob:
            sql.execute(
                "INSERT INTO layer_blobs VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (digest) DO UPDATE SET kept = max(kept, excluded.kept)",
                (layer.blob, layer.diff_id, layer.blob_size, layer.compression, int(layer.kept)),
            )


def sizes(meta: Meta) -> dict[str, int]:
    """Return the bytes of each layer's files by diff id; of its tar, where an older version has recorded it."""
    return dict(meta.read("SELECT diff_id, ifnull(content, size) FROM layers"))


def facts(meta: Meta, diff_id: str) -> tuple[int, int, int] | None:
    """Return bytes of the tar, number of entries and bytes of files of a layer, None when it is not on record."""
    rows = meta.read("SELECT size, entries, ifnull(content, size) FROM layers WHERE diff_id = ?", (diff_id,))
    return tuple(rows[0]) if rows else None


def on_record(meta: Meta) -> set[str]:
    """Return the diff ids of all layers on record."""
    return {row[0] for row in meta.read("SELECT diff_id FROM layers")}


def wanted(meta: Meta) -> set[str]:
    """Return the diff ids of all layers that an image, a download that may go on, or the build cache needs."""
    query = "SELECT diff_id FROM image_layers UNION SELECT diff_id FROM awaited UNION SELECT diff_id FROM build_cache"
    return {row[0] for row in meta.read(query)}


def kept_blobs(meta: Meta) -> set[str]:
    """Return the digests of the compressed forms of layers that are kept in blobs."""
    return {row[0] for row in meta.read("SELECT digest FROM layer_blobs WHERE kept")}


def no_longer_kept(meta: Meta, digest: str) -> None:
    """Record that a compressed form is no longer in blobs."""
    with meta.write() as sql:
        sql.execute("UPDATE layer_blobs SET kept = 0 WHERE digest = ?", (digest,))


def forget_unwanted(meta: Meta, thorough: bool) -> None:
    """Take images off the record that were forced away and have no container any more, then the layers that nothing needs.

    Layers of downloads that broke off stay until their time is over, or with `thorough` no longer.
    """
    with meta.write(frees=True) as sql:
        sql.execute("DELETE FROM images WHERE hidden AND id NOT IN (SELECT image FROM used_images)")
        sql.execute("DELETE FROM awaited WHERE ? OR until < ?", (thorough, time_ns()))
        sql.execute(
            "DELETE FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers) "
            "AND diff_id NOT IN (SELECT diff_id FROM awaited) AND diff_id NOT IN (SELECT diff_id FROM build_cache)"
        )
