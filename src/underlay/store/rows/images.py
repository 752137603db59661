"""Images and their names: found by name, digest or id, recorded and renamed in one transaction each.

An image is a configuration (its digest is the id), a manifest and layers. A name stands for a target, the
digest of a manifest or of an index, and leads to the image chosen from it. Nothing here imports more than the
database needs: the start of a container passes through `resolve` and `config`.
"""

from __future__ import annotations

from time import time_ns

from ...errors import Corrupt, InvalidInput, NotFound
from ...lean import jsontext
from ...oci import platform as platforms
from ...oci import reference as references
from .. import blobs
from . import layers as layer_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ...oci.configuration import Configuration
    from ...oci.platform import Platform
    from ...oci.reference import Reference
    from ...paths import Paths
    from .layers import Layer
    from .meta import Meta, Transaction

_COLUMNS = "i.id, i.manifest, i.architecture, i.os, i.variant, i.created, i.added, i.size, i.layers, i.chain"
_HEX = frozenset("0123456789abcdef")


class ImageRow:
    """One image of the store: `id` (digest of the configuration), `manifest` (digest), platform, `created`
    (RFC 3339 text as the configuration has it, may be ""), `added` (ns since the epoch), `size` (bytes of the
    layers' files), `diff_ids` (lowest first) and `chain` (the chain id of them all)."""

    __slots__ = (
        "added",
        "architecture",
        "chain",
        "created",
        "diff_ids",
        "id",
        "manifest",
        "os",
        "size",
        "variant",
    )

    def __init__(self, row: Sequence[Any]) -> None:
        self.id: str = row[0]
        self.manifest: str = row[1]
        self.architecture: str = row[2]
        self.os: str = row[3]
        self.variant: str = row[4]
        self.created: str = row[5]
        self.added: int = row[6]
        self.size: int = row[7]
        self.diff_ids: tuple[str, ...] = tuple(row[8].split())
        self.chain: str = row[9]

    @property
    def platform(self) -> Platform:
        """The platform, normalised."""
        return platforms.normalise(self.os, self.architecture, self.variant)


class NewImage:
    """An image about to be recorded; its blobs and layers are in the store already.

    `documents` are the digests of all documents that a save needs: configuration, manifest, indexes above it.
    """

    __slots__ = ("chain", "created", "documents", "id", "layers", "manifest", "platform")

    def __init__(
        self,
        image_id: str,
        manifest: str,
        platform: Platform,
        created: str,
        layers: list[Layer],
        documents: list[str],
        chain: str,
    ) -> None:
        self.chain = chain
        self.id = image_id
        self.manifest = manifest
        self.platform = platform
        self.created = created
        self.layers = layers
        self.documents = documents


# Finding
# ------------------------------------------------------------------------------------------------------------


def resolve(meta: Meta, text: str, platform: Platform | None = None) -> ImageRow:
    """Return the image that `text` means: a name, `name@digest`, an id, a digest of a target, or a prefix of
    an id.

    The order is docker's: full ids, names, prefixes. With `platform`, another image that arrived under the
    same target may be the answer; without, a digest of several images means the one for this host. Raises NotFound
    ("No such image: …") or InvalidInput.
    """
    image, repository, target = _find(meta, text)
    if platform is None:
        return image
    rank = platforms.rank(platform, image.platform)
    if rank == 0 or (rank is not None and not target):
        return image
    if target:
        best = None if rank is None else (rank, image)
        for row in meta.read(
            f"SELECT {_COLUMNS} FROM digests d JOIN images i ON i.id = d.image "
            "WHERE d.repository = ? AND d.digest = ? AND NOT i.hidden",
            (repository, target),
        ):
            other = ImageRow(row)
            rank = platforms.rank(platform, other.platform)
            if rank is not None and (best is None or rank < best[0]):
                best = (rank, other)
        if best is not None:
            return best[1]
    raise NotFound(
        f"image with reference {text} was found but does not provide the specified platform ({platform})",
        f"it is for {image.platform}; load the image again with --platform {platform}",
    )


def _find(meta: Meta, text: str) -> tuple[ImageRow, str, str]:
    """Return the image, and where a name led to it, its repository and target."""
    plain = text.removeprefix("sha256:")
    whole = len(plain) == 64 and _HEX.issuperset(plain)
    if whole or text.startswith("sha512:"):
        digest = text if ":" in text else "sha256:" + text
        rows = meta.read(f"SELECT {_COLUMNS} FROM images i WHERE id = ? AND NOT hidden", (digest,)) or meta.read(
            f"SELECT {_COLUMNS} FROM digests d JOIN images i ON i.id = d.image WHERE d.digest = ? AND NOT i.hidden",
            (digest,),
        )
        if rows:
            return _for_host(rows), "", ""
        raise NotFound(f"No such image: {text}")
    problem: InvalidInput | None = None
    reference: Reference | None = None
    try:
        reference = references.parse(text)
    except InvalidInput as error:
        problem = error
    if reference is not None:
        if reference.digest:
            rows = meta.read(
                f"SELECT {_COLUMNS} FROM digests d JOIN images i ON i.id = d.image "
                "LEFT JOIN names n ON n.image = i.id "
                "WHERE d.repository = ? AND d.digest = ? AND NOT i.hidden ORDER BY n.name IS NULL",
                (reference.repository, reference.digest),
            )
            if rows:
                return _for_host(rows), reference.repository, reference.digest
        else:
            rows = meta.read(
                f"SELECT {_COLUMNS}, n.target FROM names n JOIN images i ON i.id = n.image WHERE n.name = ?",
                (reference.name,),
            )
            if rows:
                return ImageRow(rows[0]), reference.repository, rows[0][10]
    if 0 < len(plain) < 64 and _HEX.issuperset(plain):
        rows = meta.read(
            f"SELECT {_COLUMNS} FROM images i WHERE NOT hidden AND "
            "((id >= ? AND id < ?) OR (id >= ? AND id < ?)) LIMIT 2",
            (f"sha256:{plain}", f"sha256:{plain}g", f"sha512:{plain}", f"sha512:{plain}g"),
        )
        if len(rows) == 1:
            return ImageRow(rows[0]), "", ""
        if rows:
            raise InvalidInput(f"multiple images found with provided prefix: {text}", "give more of the id")
    if problem is not None:
        raise problem
    shown = reference.familiar if reference else text
    missing = NotFound(f"No such image: {shown}")
    # Without what nearly all have in common, which would make any two of them similar.
    missing.name = shown.removesuffix(":latest")
    names = meta.read("SELECT name FROM names")
    missing.names = [references.familiar(name).removesuffix(":latest") for (name,) in names]
    raise missing


def _for_host(rows: Sequence[Sequence[Any]]) -> ImageRow:
    candidates = [ImageRow(row) for row in rows]
    return (
        candidates[platforms.for_host([candidate.platform for candidate in candidates])]
        if len(candidates) > 1
        else candidates[0]
    )


def is_id(text: str, image: ImageRow) -> bool:
    """Return whether `text`, which resolved to `image`, was its id or a prefix of it rather than a name."""
    plain = text.rpartition(":")[2] if text.startswith(("sha256:", "sha512:")) else text
    return bool(plain) and _HEX.issuperset(plain) and image.id.partition(":")[2].startswith(plain)


def get(meta: Meta, image_id: str) -> ImageRow | None:
    """Return the image with exactly this id (hidden ones too), or None."""
    rows = meta.read(f"SELECT {_COLUMNS} FROM images i WHERE id = ?", (image_id,))
    return ImageRow(rows[0]) if rows else None


def config(paths: Paths, image_id: str) -> Configuration:
    """Return the image's configuration as it is written; any member but architecture, os and rootfs may be
    missing or null. Raises Corrupt when the blob is missing or no longer JSON."""
    try:
        value: Configuration = jsontext.known(blobs.read(paths, image_id))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"configuration {image_id} is damaged: {error}", "run `underlay system check`") from None
    if not isinstance(value, dict):
        raise Corrupt(f"configuration {image_id} is damaged: not an object", "run `underlay system check`")
    return value


def every(meta: Meta) -> list[ImageRow]:
    """Return all images, the latest arrival first; hidden ones are left out."""
    return [
        ImageRow(row) for row in meta.read(f"SELECT {_COLUMNS} FROM images i WHERE NOT hidden ORDER BY added DESC, id")
    ]


def names(meta: Meta, image_id: str = "") -> list[tuple[str, str, str]]:
    """Return (name, target, image id) of all names, or of one image's, sorted by name."""
    where, arguments = ("WHERE image = ?", (image_id,)) if image_id else ("", ())
    return [tuple(r) for r in meta.read(f"SELECT name, target, image FROM names {where} ORDER BY name", arguments)]


def repository_digests(meta: Meta, image_id: str = "", remote: bool = False) -> list[tuple[str, str, str]]:
    """Return (repository, digest, image id) of all digests by which images are known, or of one image's.

    With `remote` only of those under which an image was pulled or pushed.
    """
    where, arguments = ("WHERE image = ?", (image_id,)) if image_id else ("WHERE TRUE", ())
    if remote:
        where += " AND remote"
    return [
        tuple(r)
        for r in meta.read(
            f"SELECT repository, digest, image FROM digests {where} ORDER BY repository, digest, image",
            arguments,
        )
    ]


def documents(meta: Meta, image_id: str) -> list[str]:
    """Return the digests of the documents that were stored with an image."""
    return [row[0] for row in meta.read("SELECT digest FROM documents WHERE image = ? ORDER BY digest", (image_id,))]


def users(meta: Meta, image_id: str) -> list[str]:
    """Return the ids of the containers made from an image, or with it mounted."""
    query = (
        "SELECT c.id FROM used_images u JOIN containers c ON c.id = u.container WHERE u.image = ? ORDER BY c.created"
    )
    return [r[0] for r in meta.read(query, (image_id,))]


# Changing
# -----------------------------------------------------------------------------------------------------------


def record(
    meta: Meta, new: Sequence[NewImage], given: Iterable[tuple[Reference, str, str]] = (), remote: bool = False
) -> list[tuple[str, str]]:
    """Record images and names in one transaction; all their content is in the store already.

    `given` holds (reference, target digest, image id), `remote` says that a registry has them. Returns (name, id of the
    image that lost it) for each name that moved.
    """
    now = time_ns()
    with meta.write() as sql:
        for image in new:
            _insert(sql, image, now)
            layer_rows.no_longer_awaited(sql, [layer.diff_id for layer in image.layers])
        return [
            (reference.name, lost)
            for reference, target, image_id in given
            if (lost := _name(sql, reference, target, image_id, now, remote))
        ]


def record_pushed(
    meta: Meta,
    image_id: str,
    reference: Reference,
    target: str,
    documents: Sequence[str],
    made: Sequence[tuple[Layer, str]] = (),
    moves: bool = True,
) -> None:
    """Record under what digest an image now lies in a repository, and the compressed forms made for that.

    `documents` are the digests of documents stored for it; `made` holds layers as they went out, with the recipe.
    Unless it `moves`, the name stands for what it did: one platform of an index was pushed.
    """
    now = time_ns()
    with meta.write() as sql:
        require(sql, image_id)
        layer_rows.insert(sql, [layer for layer, _ in made], now)
        for layer, recipe in made:
            sql.execute(
                "INSERT INTO made_blobs VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET recipe = excluded.recipe",
                (layer.blob, recipe),
            )
        for digest in documents:
            sql.execute("INSERT OR IGNORE INTO documents VALUES (?, ?)", (image_id, digest))
        before = sql.execute("SELECT target FROM names WHERE name = ?", (reference.name,)).fetchall()
        _name(sql, references.Reference(reference.domain, reference.path), target, image_id, now, True)
        if not moves:
            return
        sql.execute("UPDATE names SET target = ? WHERE name = ? AND image = ?", (target, reference.name, image_id))
        if before and before[0][0] != target:
            _drop_digest(sql, reference.repository, before[0][0])


def dangling(meta: Meta) -> set[str]:
    """Return the ids of images that no tag stands for, neither directly nor through its index."""
    kept = set()
    targets = set()
    for name, target, image_id in names(meta):
        kept.add(image_id)
        targets.add((references.parse_exact(name).repository, target))
    for repository, digest, image_id in repository_digests(meta):
        if (repository, digest) in targets:
            kept.add(image_id)
    return {image.id for image in every(meta)} - kept


def repositories_of(meta: Meta, digest: str) -> list[str]:
    """Return the repositories in which a target, such as an index, is known to lie."""
    rows = meta.read("SELECT DISTINCT repository FROM digests WHERE digest = ? ORDER BY repository", (digest,))
    return [row[0] for row in rows]


def _insert(sql: Transaction, image: NewImage, now: int) -> None:
    layer_rows.insert(sql, image.layers, now)
    platform = image.platform
    sql.execute(
        "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) "
        "ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest, hidden = 0",
        (
            image.id,
            image.manifest,
            platform.architecture,
            platform.os,
            platform.variant,
            image.created,
            now,
            0,
            " ".join(layer.diff_id for layer in image.layers),
            image.chain,
        ),
    )
    for position, layer in enumerate(image.layers):
        sql.execute("INSERT OR IGNORE INTO image_layers VALUES (?, ?, ?)", (image.id, position, layer.diff_id))
    sql.execute(
        "UPDATE images SET size = (SELECT sum(ifnull(l.content, l.size)) FROM image_layers i JOIN layers l USING (diff_id)"
        " WHERE i.image = images.id) WHERE id = ? AND EXISTS (SELECT 1 FROM image_layers WHERE image = images.id)",
        (image.id,),
    )
    for digest in image.documents:
        sql.execute("INSERT OR IGNORE INTO documents VALUES (?, ?)", (image.id, digest))


def _name(sql: Transaction, reference: Reference, target: str, image_id: str, now: int, remote: bool = False) -> str:
    """Give a name, `remote` when a registry has it; return the id of the image that it was taken from, or ""."""
    before = ""
    if reference.tag:
        references.check_new(references.Reference(reference.domain, reference.path, reference.tag))
        rows = sql.execute("SELECT image, target FROM names WHERE name = ?", (reference.name,)).fetchall()
        sql.execute(
            "INSERT INTO names VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
            "image = excluded.image, target = excluded.target, updated = excluded.updated",
            (reference.name, image_id, target, now),
        )
        if rows and rows[0][0] != image_id:
            before = rows[0][0]
            _drop_digest(sql, reference.repository, rows[0][1])
    sql.execute(
        "INSERT INTO digests VALUES (?, ?, ?, ?) "
        "ON CONFLICT (repository, digest, image) DO UPDATE SET remote = max(remote, excluded.remote)",
        (reference.repository, target, image_id, int(remote)),
    )
    return before


def _drop_digest(sql: Transaction, repository: str, target: str) -> bool:
    """Forget a digest by which images are known, unless another tag of the repository still stands for it.

    Returns whether it is forgotten, and a registry has it.
    """
    for (name,) in sql.execute("SELECT name FROM names WHERE target = ?", (target,)).fetchall():
        if references.parse_exact(name).repository == repository:
            return False
    known = (repository, target)
    rows = sql.execute("SELECT max(remote) FROM digests WHERE repository = ? AND digest = ?", known).fetchall()
    sql.execute("DELETE FROM digests WHERE repository = ? AND digest = ?", known)
    return bool(rows[0][0])


def tag(meta: Meta, image: ImageRow, target: str, reference: Reference) -> None:
    """Give `image` another name that stands for `target`; a name in use moves."""
    references.check_new(reference)
    with meta.write() as sql:
        require(sql, image.id)
        _name(sql, reference, target, image.id, time_ns())


def target_of(meta: Meta, image: ImageRow, text: str) -> str:
    """Return the digest that `text` stands for: the target of a name, else the image's own manifest."""
    try:
        reference = references.parse(text)
    except InvalidInput:
        return image.manifest
    if reference.digest:
        return reference.digest
    rows = meta.read("SELECT target FROM names WHERE name = ? AND image = ?", (reference.name, image.id))
    return rows[0][0] if rows else image.manifest


def untag(meta: Meta, reference: Reference) -> list[str]:
    """Take a name or a `repository@digest` away; return what was untagged, as docker words it.

    The digest goes with the last tag of its repository that stood for it.
    """
    with meta.write(frees=True) as sql:
        if reference.digest:
            sql.execute(
                "DELETE FROM digests WHERE repository = ? AND digest = ?",
                (reference.repository, reference.digest),
            )
            return [f"{reference.familiar_repository}@{reference.digest}"]
        rows = sql.execute("SELECT target FROM names WHERE name = ?", (reference.name,)).fetchall()
        if not rows:
            return []
        sql.execute("DELETE FROM names WHERE name = ?", (reference.name,))
        gone = [reference.familiar]
        if _drop_digest(sql, reference.repository, rows[0][0]):
            gone.append(f"{reference.familiar_repository}@{rows[0][0]}")
        return gone


def forget(meta: Meta, image_id: str) -> list[str]:
    """Remove an image's rows with all its names; return what was untagged. Content is left to `store.gc`.

    While containers stand on its layers the row stays, hidden from everyone but the sweep.
    """
    with meta.write(frees=True) as sql:
        gone = [references.familiar(r[0]) for r in sql.execute("SELECT name FROM names WHERE image = ?", (image_id,))]
        rows = sql.execute("SELECT repository, digest FROM digests WHERE image = ? AND remote", (image_id,))
        for repository, digest in rows:
            gone.append(f"{references.familiar(repository)}@{digest}")
        sql.execute("DELETE FROM names WHERE image = ?", (image_id,))
        sql.execute("DELETE FROM digests WHERE image = ?", (image_id,))
        if sql.execute("SELECT 1 FROM used_images WHERE image = ? LIMIT 1", (image_id,)).fetchone():
            sql.execute("UPDATE images SET hidden = 1 WHERE id = ?", (image_id,))
        else:
            sql.execute("DELETE FROM images WHERE id = ?", (image_id,))
    return gone


def require(sql: Transaction, image_id: str) -> None:
    """Raise NotFound unless the image is (still) here: to be asked in the transaction that begins to rely on
    it."""
    if sql.execute("SELECT 1 FROM images WHERE id = ? AND NOT hidden", (image_id,)).fetchone() is None:
        raise NotFound(f"No such image: {image_id}")


def named(meta: Meta, name: Reference) -> tuple[str, str]:
    """Return the digest that a name stands for and the id of its image, "" and "" when there is no such name."""
    rows = meta.read("SELECT target, image FROM names WHERE name = ?", (name.name,)) if name.tag else ()
    return (rows[0][0], rows[0][1]) if rows else ("", "")


def last_named(meta: Meta, image_id: str) -> int | None:
    """Return when an image was last given a name (ns since the epoch), None when it has none."""
    updated: int | None = meta.read("SELECT max(updated) FROM names WHERE image = ?", (image_id,))[0][0]
    return updated


def with_manifest(meta: Meta, digest: str) -> ImageRow | None:
    """Return the image that was recorded with a manifest, None when there is none, or it was forced away."""
    rows = meta.read(f"SELECT {_COLUMNS} FROM images i WHERE i.manifest = ? AND NOT i.hidden", (digest,))
    return ImageRow(rows[0]) if rows else None


def known_in(meta: Meta, repository: str) -> list[tuple[str, str]]:
    """Return (digest, id of the image) of all that is known to lie in a repository."""
    rows = meta.read(
        "SELECT d.digest, d.image FROM digests d JOIN images i ON i.id = d.image "
        "WHERE d.repository = ? AND NOT i.hidden",
        (repository,),
    )
    return [(row[0], row[1]) for row in rows]


def targets(meta: Meta, image_id: str) -> list[str]:
    """Return the digests under which an image is known in repositories."""
    return [row[0] for row in meta.read("SELECT digest FROM digests WHERE image = ? ORDER BY digest", (image_id,))]


def forget_documents(meta: Meta, image_id: str, digests: Sequence[str]) -> None:
    """Record that an image can be saved without these documents."""
    with meta.write() as sql:
        for digest in digests:
            sql.execute("DELETE FROM documents WHERE image = ? AND digest = ?", (image_id, digest))


def chains(meta: Meta) -> list[tuple[str, list[str]]]:
    """Return chain id and diff ids of each image."""
    return [(chain, layers.split()) for chain, layers in meta.read("SELECT chain, layers FROM images")]


def all_layers(meta: Meta) -> list[tuple[str, list[str]]]:
    """Return id and diff ids of each image, hidden ones too."""
    return [(image_id, layers.split()) for image_id, layers in meta.read("SELECT id, layers FROM images")]


def wanted_blobs(meta: Meta) -> set[str]:
    """Return the digests of the documents of all images."""
    query = "SELECT digest FROM documents UNION SELECT id FROM images UNION SELECT manifest FROM images"
    return {row[0] for row in meta.read(query)}


def any_abandoned(meta: Meta) -> bool:
    """Return whether an image that was forced away has lost its last container."""
    query = "SELECT 1 FROM images WHERE hidden AND id NOT IN (SELECT image FROM used_images) LIMIT 1"
    return bool(meta.read(query))


def is_empty(meta: Meta) -> bool:
    """Return whether the database has neither an image nor a container."""
    return not meta.read("SELECT 1 FROM images UNION ALL SELECT 1 FROM containers LIMIT 1")
