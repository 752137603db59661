"""The file of a scan: an SQLite database (see `schema`). The only user of sqlite3 beside the store's."""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from hashlib import sha256
from typing import NamedTuple

import msgspec

from ...errors import Corrupt, InvalidInput, NotFound
from ...packages.installed import Inventory
from ...packages.model import Package
from . import schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Any

_DOCUMENT_LIMIT = 16 << 20  # bytes


class ImageFacts(msgspec.Struct, frozen=True):
    """An image of a scan: the digests of its manifest and configuration, its platform, and its layers, lowest first: diff
    id, compressed digest and size."""

    manifest: str
    config: str
    platform: str
    layers: tuple[tuple[str, str, int], ...]


class OnBase(NamedTuple):
    """A name whose image stands on a `base`: its platform, the digest of the configuration of the `build` that it stands
    on ("" if the base is only like it), and the number of that build's inventory (0: not known)."""

    name: str
    platform: str
    base: str
    build: str
    below: int


class SeenBase(NamedTuple):
    """What was seen of the name of a base: the digest that it stands for, that of the configuration for a platform, when
    (seconds since the epoch), and the ids of the advisories that apply to builds that images stand on."""

    name: str
    platform: str
    root: str
    config: str
    seen: int
    advisories: tuple[str, ...]


class ScanFile:
    """The file of a scan, for one thread; only one process at a time may open it with `writing`."""

    def __init__(self, path: str, writing: bool = False, make: bool = True) -> None:
        """Open the file; with `writing` it is made if it is missing, unless `make` is false.

        Raises NotFound, InvalidInput for what is no scan, or one of another version; Corrupt.
        """
        self.path = path
        self._writing = writing
        there = os.path.exists(path) and os.path.getsize(path) > 0
        if not there and not (writing and make):
            raise NotFound(f"{path}: no such scan", f"`underlay base scan IMAGE... --output {path}` makes it")
        try:
            if writing and not there:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            address = f"file:{_quoted(path)}" + ("" if writing else "?mode=ro")
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=60)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise InvalidInput(f"{path}: {error}") from None
        try:
            self._prepare(there)
        except sqlite3.DatabaseError as error:
            self.close()
            raise InvalidInput(f"{path} is not the file of a scan: {error}") from None
        except BaseException:
            self.close()
            raise

    def _prepare(self, there: bool) -> None:
        execute = self._connection.execute
        if not there:
            execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(
                f"BEGIN; {schema.TABLES} PRAGMA application_id = {schema.APPLICATION}; COMMIT"
            )
            execute(f"PRAGMA user_version = {schema.FORMAT}")
        if execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION:
            raise InvalidInput(f"{self.path} is not the file of a scan")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version != schema.FORMAT and version not in schema.UPGRADES:
            raise InvalidInput(f"{self.path} is of another version of underlay (format {version}, not {schema.FORMAT})")
        execute("PRAGMA synchronous = NORMAL")
        while version != schema.FORMAT and self._writing:
            self._connection.executescript(
                f"BEGIN; {schema.UPGRADES[version]} PRAGMA user_version = {version + 1}; COMMIT"
            )
            version += 1
        self.format = version

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def __enter__(self) -> ScanFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Transactions

    def begin(self) -> None:
        """Begin a transaction, in which several changes are made at once."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End it."""
        self._connection.execute("COMMIT")

    def _rows(self, statement: str, arguments: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement selects. Raises Corrupt."""
        try:
            return self._connection.execute(statement, arguments).fetchall()
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{self.path}: {error}") from None

    def merge(self, path: str) -> None:
        """Add what another file has. Raises NotFound, InvalidInput, Corrupt."""
        with ScanFile(path) as other:
            if other.format != schema.FORMAT:
                raise InvalidInput(f"{path} is of an older version of underlay", "scan into it once, then merge it")
        try:
            self._connection.execute("ATTACH ? AS other", (f"file:{_quoted(path)}?mode=ro",))
            try:
                self._connection.executescript(schema.MERGE)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._connection.execute("DETACH other")
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{path}: {error}") from None

    # Documents

    def document(self, digest: str) -> bytes | None:
        """Return a document, None if it is not there. Raises Corrupt."""
        row = self._connection.execute("SELECT data FROM documents WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            return None
        try:
            data = zlib.decompressobj().decompress(row[0], _DOCUMENT_LIMIT)
        except zlib.error as error:
            raise Corrupt(f"{self.path}: document {digest}: {error}") from None
        if digest.startswith("sha256:") and sha256(data).hexdigest() != digest[7:]:
            raise Corrupt(f"{self.path}: document {digest} does not match its digest: the file is damaged")
        return data

    def documents_of(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the manifests, indexes and configurations of what names stood for, by digest. Raises Corrupt."""
        found = {}
        for name in names:
            rows = self._rows(
                "SELECT root, manifest, config FROM names JOIN images ON images.id = image WHERE name = ?", (name,)
            )
            for digest in {digest for row in rows for digest in row}:
                data = self.document(digest)
                if data is not None:
                    found[digest] = data
        return found

    def add_documents(self, documents: Iterable[tuple[str, bytes]]) -> None:
        """Keep documents, which have been verified by their digests."""
        rows = [(digest, zlib.compress(data, 6)) for digest, data in documents]
        self._connection.executemany("INSERT OR IGNORE INTO documents VALUES (?, ?)", rows)

    # Names and images

    def roots(self, repository: str, platform: str = "") -> dict[str, str]:
        """Return the digests that the names of a repository stood for when they were last looked at with success, by name;
        with `platform` only those whose image is for that."""
        return dict(
            self._rows(
                "SELECT name, root FROM names JOIN images ON images.id = image WHERE (name GLOB ? OR name GLOB ?) "
                "AND problem = '' AND (? IN ('', platform) OR platform GLOB ? || '/*')",
                (*_of(repository), platform, platform),
            )
        )

    def image_of(self, root: str, platform: str = "") -> int:
        """Return the number of the image that a digest stands for, of a manifest or of the index of a name; 0 if that is
        not known, or is for another than `platform`."""
        rows = self._rows(
            "SELECT id FROM images WHERE id IN (SELECT id FROM images WHERE manifest = :root "
            "UNION SELECT image FROM names WHERE root = :root AND problem = '') "
            "AND (:platform IN ('', platform) OR platform GLOB :platform || '/*')",
            {"root": root, "platform": platform},
        )
        return rows[0][0] if rows else 0

    def images(self) -> list[tuple[str, str, list[str]]]:
        """Return each image that has a name: one of these, the digest of its manifest, its diff ids."""
        rows = self._rows(
            "SELECT min(name), manifest, layers FROM names JOIN images ON images.id = image GROUP BY images.id"
        )
        return [(name, manifest, layers.split()) for name, manifest, layers in rows]

    def names(self) -> dict[int, list[tuple[str, str]]]:
        """Return the names of each image, in order, with the digests that they stand for."""
        found: dict[int, list[tuple[str, str]]] = {}
        for image, name, root in self._rows("SELECT image, name, root FROM names WHERE image NOT NULL ORDER BY name"):
            found.setdefault(image, []).append((name, root))
        return found

    def layers_of_images(self) -> dict[int, list[str]]:
        """Return the diff ids of each image that has a name, lowest first."""
        rows = self._rows("SELECT id, layers FROM images WHERE id IN (SELECT image FROM names)")
        return {number: layers.split() for number, layers in rows}

    def digests(self, image: int) -> tuple[str, str]:
        """Return the digests of an image's manifest and configuration."""
        manifest, config = self._rows("SELECT manifest, config FROM images WHERE id = ?", (image,))[0]
        return manifest, config

    def unsettled(self, judge: str) -> list[tuple[int, str, str, str, list[str]]]:
        """Return the images of which is not known what they stand on, or was asked of other indexes than those of `judge`:
        number, a name, digests of manifest and configuration, diff ids."""
        rows = self._rows(
            "SELECT images.id, min(name), manifest, config, layers FROM names JOIN images ON images.id = image "
            "WHERE standing = '' OR judge <> ? GROUP BY images.id",
            (judge,),
        )
        return [(number, name, manifest, config, layers.split()) for number, name, manifest, config, layers in rows]

    def releases(self) -> dict[int, dict[str, str]]:
        """Return what os-release says in each inventory, by number."""
        rows = self._rows("SELECT id, release FROM inventories")
        return {number: msgspec.json.decode(release, type=dict[str, str]) for number, release in rows}

    def seen(self) -> int:
        """Return when a name was looked at last, in seconds since the epoch; 0 for never."""
        return int(self._rows("SELECT max(seen) FROM names")[0][0] or 0)

    def standings(self) -> list[tuple[str, str, str, int, int, list[str]]]:
        """Return of each name, in order: why it could not be looked at, what its image stands on (JSON, "" if that is not
        known), the numbers of its inventory and of that of its base (0 for none), its diff ids."""
        rows = self._rows(
            "SELECT name, problem, standing, inventory, below, layers "
            "FROM names LEFT JOIN images ON images.id = image ORDER BY name"
        )
        return [
            (name, problem, standing or "", inventory or 0, below or 0, (layers or "").split())
            for name, problem, standing, inventory, below, layers in rows
        ]

    def on_base(self, base: str) -> list[tuple[str, str]]:
        """Return the names of images that stand on a base, directly or on what stands on it, and the base of each."""
        if self.format < 3:
            raise InvalidInput(f"{self.path} is of an older version of underlay", "scan into it once")
        return self._rows(
            "SELECT name, images.base FROM chains JOIN images ON images.id = chains.image JOIN names USING (image) "
            "WHERE chains.base = ? ORDER BY 1",
            (base,),
        )

    def on_bases(self) -> list[OnBase]:
        """Return the names whose images stand on a base, in order, with that. Raises Corrupt."""
        rows = self._rows(
            "SELECT name, platform, base, coalesce(json_extract(standing, '$.digest'), ''), coalesce(below, 0) "
            "FROM names JOIN images ON images.id = image WHERE base NOT IN ('', 'scratch') ORDER BY name"
        )
        return [OnBase(*row) for row in rows]

    def bases(self) -> dict[tuple[str, str], SeenBase]:
        """Return what was last seen of bases, by name and platform. Raises Corrupt."""
        try:
            return {
                (name, platform): SeenBase(
                    name, platform, root, config, seen, msgspec.json.decode(advisories, type=tuple[str, ...])
                )
                for name, platform, root, config, seen, advisories in self._rows("SELECT * FROM bases")
            }
        except msgspec.MsgspecError as error:
            raise Corrupt(f"{self.path}: {error}") from None

    def remember_bases(self, seen: Iterable[SeenBase]) -> None:
        """Record what was seen of bases."""
        rows = [(*each[:-1], msgspec.json.encode(each.advisories).decode()) for each in seen]
        self._connection.executemany("INSERT OR REPLACE INTO bases VALUES (?, ?, ?, ?, ?, ?)", rows)

    def holders(self, package: str, version: str) -> list[tuple[str, str, str, bool | None]]:
        """Return the images that have a package, by its own name or that of its source: a name, the base, the version, and
        whether the base has it, too (None: not known). "" is any `version`."""
        rows = self._rows(
            # Each side by an index of its own.
            """
            WITH wanted AS (
                SELECT id, version FROM packages WHERE name = :name AND (:version = '' OR version = :version)
                UNION SELECT id, version FROM packages
                WHERE origin = :name AND (:version = '' OR :version IN (version, origin_version))
            ), holding AS (
                SELECT inventory, package, version FROM wanted JOIN inventory_packages ON package = wanted.id
            )
            SELECT names.name, base, version, below, EXISTS (
                SELECT 1 FROM inventory_packages AS lower
                WHERE lower.inventory = below AND lower.package = holding.package
            ) FROM holding JOIN images ON images.inventory = holding.inventory JOIN names ON names.image = images.id
            """,
            {"name": package, "version": version},
        )
        return [(name, base, own, bool(inside) if below else None) for name, base, own, below, inside in rows]

    def add_image(self, image: ImageFacts) -> int:
        """Keep an image; returns its number."""
        row = self._connection.execute("SELECT id FROM images WHERE manifest = ?", (image.manifest,)).fetchone()
        if row is not None:
            return int(row[0])
        layers = " ".join(diff_id for diff_id, _, _ in image.layers)
        cursor = self._connection.execute(
            "INSERT INTO images (manifest, config, platform, layers) VALUES (?, ?, ?, ?)",
            (image.manifest, image.config, image.platform, layers),
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO layers (diff_id, digest, size) VALUES (?, ?, ?)", image.layers
        )
        return cursor.lastrowid or 0

    def set_name(self, name: str, root: str, image: int) -> None:
        """Record what a name stands for now."""
        self._connection.execute(
            "INSERT INTO names (name, root, image, seen) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
            "SET root = excluded.root, image = excluded.image, seen = excluded.seen, problem = ''",
            (name, root, image, int(time.time())),
        )

    def keep_name(self, name: str) -> None:
        """Record that a name was looked at and still refers to the same digest."""
        self._connection.execute("UPDATE names SET seen = ?, problem = '' WHERE name = ?", (int(time.time()), name))

    def forget_others(self, repository: str, names: Iterable[str]) -> None:
        """Forget the names of a repository but for those."""
        kept = set(names)
        known = self._rows("SELECT name FROM names WHERE name GLOB ? OR name GLOB ?", _of(repository))
        gone = [row for row in known if row[0] not in kept]
        self._connection.executemany("DELETE FROM names WHERE name = ?", gone)

    def fail_name(self, name: str, problem: str) -> None:
        """Record why a name could not be looked at; what is known of it stays."""
        self._connection.execute(
            "INSERT INTO names (name, root, seen, problem) VALUES (?, '', ?, ?) ON CONFLICT (name) DO UPDATE "
            "SET seen = excluded.seen, problem = excluded.problem",
            (name, int(time.time()), problem),
        )

    # Layers

    def facts(self, diff_id: str) -> bytes | None:
        """Return the packed facts of a layer, None if it has not been read."""
        row = self._connection.execute("SELECT facts FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
        data: bytes | None = row[0] if row is not None else None
        return data

    def add_facts(self, diff_id: str, data: bytes, tells: bool) -> None:
        """Keep the packed facts of a layer."""
        self._connection.execute(
            "UPDATE layers SET facts = ?, tells = ?, problem = '' WHERE diff_id = ?", (data, int(tells), diff_id)
        )

    def unread(self) -> dict[str, str]:
        """Return why layers could not be read, by diff id."""
        return dict(self._rows("SELECT diff_id, problem FROM layers WHERE problem <> ''"))

    def fail_layer(self, diff_id: str, problem: str) -> None:
        """Record why a layer could not be read."""
        self._connection.execute("UPDATE layers SET problem = ? WHERE diff_id = ?", (problem, diff_id))

    def layers(self) -> dict[str, tuple[bool, bool]]:
        """Return of each layer whether it has been read, and whether it tells anything."""
        rows = self._connection.execute("SELECT diff_id, facts IS NOT NULL, tells FROM layers")
        return {diff_id: (bool(read), bool(tells)) for diff_id, read, tells in rows}

    # Inventories

    def inventory_id(self, key: str) -> int:
        """Return the number of the inventory of this key, 0 if there is none."""
        row = self._connection.execute("SELECT id FROM inventories WHERE key = ?", (key,)).fetchone()
        return row[0] if row is not None else 0

    def add_inventory(self, key: str, inventory: Inventory) -> int:
        """Keep what is installed, under a new key; returns its number."""
        insert = "INSERT INTO inventories (key, release, problems) VALUES (?, ?, ?)"
        release, problems = (msgspec.json.encode(each).decode() for each in (inventory.release, inventory.problems))
        number = self._connection.execute(insert, (key, release, problems)).lastrowid
        rows = [
            (each.name, each.kind, each.version, each.architecture, each.origin, each.origin_version, each.licence)
            for each in inventory.packages
        ]
        self._connection.executemany(
            "INSERT OR IGNORE INTO packages (name, kind, version, architecture, origin, origin_version, licence) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO inventory_packages SELECT id, ? FROM packages WHERE name = ? AND kind = ? "
            "AND version = ? AND architecture = ? AND origin = ? AND origin_version = ? AND licence = ?",
            [(number, *row) for row in rows],
        )
        return number or 0

    def inventory(self, number: int) -> Inventory:
        """Return what is installed. Raises Corrupt."""
        row = self._connection.execute("SELECT release, problems FROM inventories WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise Corrupt(f"{self.path}: there is no inventory {number}")
        packages = self._connection.execute(
            "SELECT kind, name, version, architecture, origin, origin_version, licence FROM packages JOIN "
            "inventory_packages ON packages.id = package WHERE inventory = ? ORDER BY kind, name",
            (number,),
        )
        return Inventory(
            [Package(*columns) for columns in packages],
            msgspec.json.decode(row[0], type=dict[str, str]),
            msgspec.json.decode(row[1], type=list[str]),
        )

    def settle(
        self, image: int, base: str, chain: Iterable[str], standing: str, inventory: int, below: int, judge: str
    ) -> None:
        """Record what an image stands on, by the indexes of `judge`: its base, and what that stands on (`chain`); what is
        installed in it, and what of that in its base (0: not known)."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        self._connection.execute(
            "UPDATE images SET base = ?, standing = ?, day = ?, inventory = ?, below = ?, judge = ? WHERE id = ?",
            (base, standing, day, inventory or None, below or None, judge, image),
        )
        self._connection.execute("DELETE FROM chains WHERE image = ?", (image,))
        links = {base, *chain} - {"", "?"}
        self._connection.executemany("INSERT INTO chains VALUES (?, ?)", [(each, image) for each in sorted(links)])


def key_of(diff_ids: Iterable[str]) -> str:
    """Return the key of the inventory of an image whose telling layers are these, lowest first."""
    return sha256(" ".join(diff_ids).encode()).hexdigest()


def _of(repository: str) -> tuple[str, str]:
    """Return the patterns of the names of a repository."""
    return f"{repository}:*", f"{repository}@*"


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.path.abspath(path))
