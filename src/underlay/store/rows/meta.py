"""The database: its schema, migrations and short transactions. The only user of sqlite3."""

from __future__ import annotations

import os
from time import monotonic, sleep

from ...errors import Corrupt, DiskFull, UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from threading import RLock
    from types import TracebackType
    from typing import Any
else:
    # What `threading` gives under this name; the module itself is not needed for it.
    from _thread import RLock

    try:
        # The module itself adds only converters for dates, which cost more to import than the database to
        # open.
        import _sqlite3 as sqlite3
    except ImportError:
        import sqlite3

_RESERVE, _RESERVE_NAME = 1 << 20, ".reserve"  # bytes kept for removals, and the end of their file's name
_LEAST_RESERVE, _SHARE = 128 << 10, 32  # on a small disk less is kept: a part of what is free, unless that is of no use
_SHARED_INDEX = 64 << 10  # with less free (bytes), the index of the log may not be made
_PATIENCE = 60.0  # seconds to wait for another process's transaction

# One entry a version: applied in order, each in one transaction; entries are never edited once released.
MIGRATIONS = (
    """
    CREATE TABLE images (
        id TEXT PRIMARY KEY,            -- digest of the configuration, docker's image id
        manifest TEXT NOT NULL,         -- digest of the manifest document in blobs
        architecture TEXT NOT NULL,
        os TEXT NOT NULL,
        variant TEXT NOT NULL,
        created TEXT NOT NULL,          -- as the configuration says it, may be empty
        added INTEGER NOT NULL,         -- ns since the epoch
        size INTEGER NOT NULL,          -- bytes of the layers' files (of their tars, if older than `content`)
        layers TEXT NOT NULL,           -- diff ids, lowest first, separated by spaces
        chain TEXT NOT NULL,            -- chain id of the layers, so that a start need not hash
        hidden INTEGER NOT NULL DEFAULT 0 -- 1 when forced away while containers still stand on its layers
    ) STRICT;
    CREATE TABLE names (
        name TEXT PRIMARY KEY,          -- normalised: docker.io/library/alpine:latest
        image TEXT NOT NULL REFERENCES images(id),
        target TEXT NOT NULL,           -- digest the name stands for: of an index or a manifest
        updated INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX names_image ON names(image);
    CREATE TABLE digests (
        repository TEXT NOT NULL,       -- normalised: docker.io/library/alpine
        digest TEXT NOT NULL,           -- of an index or a manifest
        image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        PRIMARY KEY (repository, digest, image)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX digests_image ON digests(image);
    CREATE TABLE layers (
        diff_id TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        entries INTEGER NOT NULL,
        added INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE image_layers (
        image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id TEXT NOT NULL REFERENCES layers(diff_id),
        PRIMARY KEY (image, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_layers_diff ON image_layers(diff_id);
    CREATE TABLE layer_blobs (          -- under which compressed digests registries and archives know a layer
        digest TEXT PRIMARY KEY,
        diff_id TEXT NOT NULL REFERENCES layers(diff_id) ON DELETE CASCADE,
        size INTEGER NOT NULL,
        compression TEXT NOT NULL,      -- none, gzip, zstd, xz, bzip2
        kept INTEGER NOT NULL DEFAULT 0 -- 1 when the compressed bytes are in blobs
    ) STRICT;
    CREATE INDEX layer_blobs_diff ON layer_blobs(diff_id);
    CREATE TABLE documents (            -- all documents that an image needs to be saved again
        image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        PRIMARY KEY (image, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        image TEXT NOT NULL,            -- image id, kept when the image is forced away
        created INTEGER NOT NULL,       -- ns since the epoch
        intent TEXT NOT NULL            -- JSON: what was asked for
    ) STRICT;
    CREATE INDEX containers_image ON containers(image);
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        created INTEGER NOT NULL,
        labels TEXT NOT NULL,
        anonymous INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE volume_uses (
        volume TEXT NOT NULL REFERENCES volumes(name),
        container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        PRIMARY KEY (volume, container)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE claims (               -- numbers that no two containers may share by accident
        kind TEXT NOT NULL,             -- uid, gid, project
        first INTEGER NOT NULL,
        size INTEGER NOT NULL,
        container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        PRIMARY KEY (kind, first, container)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX claims_container ON claims(container);
    """,
    """
    CREATE TABLE awaited (              -- layers of images that are still on their way: kept for another try
        diff_id TEXT PRIMARY KEY REFERENCES layers(diff_id) ON DELETE CASCADE,
        until INTEGER NOT NULL          -- ns since the epoch
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE made_blobs (           -- compressed forms that can be made again from the tar, byte for byte
        digest TEXT PRIMARY KEY REFERENCES layer_blobs(digest) ON DELETE CASCADE,
        recipe TEXT NOT NULL            -- how: library, its version, level
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE manifest_lists (       -- drafts of `manifest create`, until they are pushed or removed
        name TEXT PRIMARY KEY,          -- normalised reference
        document TEXT NOT NULL          -- JSON: entries with their descriptors and where each comes from
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE build_cache (          -- what a step of a build has made, by what it was made from
        key TEXT PRIMARY KEY,           -- digest of the step, of what it stands on and of what it reads
        parent TEXT NOT NULL,           -- key of the step below, "" for none
        diff_id TEXT NOT NULL REFERENCES layers(diff_id),
        kind TEXT NOT NULL,             -- regular, source.local, source.git.checkout, …: as docker calls them
        description TEXT NOT NULL,
        created INTEGER NOT NULL,       -- ns since the epoch: what histories of images say of it
        used INTEGER NOT NULL,
        uses INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX build_cache_diff ON build_cache(diff_id);
    """,
    """
    CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        record TEXT NOT NULL            -- JSON: driver, subnets, options
    ) STRICT;
    CREATE TABLE endpoints (            -- places of containers in networks; an address is leased while its row is there
        network TEXT NOT NULL REFERENCES networks(id),
        container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        position INTEGER NOT NULL,      -- the number of its interface
        address4 TEXT,                  -- NULL for none
        address6 TEXT,
        mac TEXT NOT NULL,
        aliases TEXT NOT NULL,          -- separated by spaces
        PRIMARY KEY (network, container),
        UNIQUE (network, address4),
        UNIQUE (network, address6)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX endpoints_container ON endpoints(container);
    CREATE TABLE published (            -- ports of the host that lead to running containers
        protocol TEXT NOT NULL,
        port INTEGER NOT NULL,
        address TEXT NOT NULL,          -- of the host, "" for all
        container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        target INTEGER NOT NULL,        -- the container's port
        PRIMARY KEY (protocol, port, address)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX published_container ON published(container);
    """,
    # Steps of builds have places in networks, too, and are no containers.
    """
    CREATE TABLE places (
        network TEXT NOT NULL REFERENCES networks(id),
        container TEXT NOT NULL,        -- the id of one, or `build-…` (engine/builds/networks.py)
        position INTEGER NOT NULL,
        address4 TEXT,
        address6 TEXT,
        mac TEXT NOT NULL,
        aliases TEXT NOT NULL,
        PRIMARY KEY (network, container),
        UNIQUE (network, address4),
        UNIQUE (network, address6)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO places SELECT * FROM endpoints;
    DROP TABLE endpoints;
    ALTER TABLE places RENAME TO endpoints;
    CREATE INDEX endpoints_container ON endpoints(container);
    """,
    """
    CREATE TABLE resting (              -- addresses that were given back: programs may remember whose they were
        network TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
        address TEXT NOT NULL,
        since INTEGER NOT NULL,         -- ms since the epoch
        PRIMARY KEY (network, address)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER endpoint_deleted AFTER DELETE ON endpoints BEGIN
        INSERT OR REPLACE INTO resting
            SELECT OLD.network, OLD.address4, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
            WHERE OLD.address4 IS NOT NULL;
    END;
    CREATE TABLE orphans (              -- endpoints of stopped containers whose network was removed
        container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        network TEXT NOT NULL,          -- name of the one that the container needs to start
        position INTEGER NOT NULL,
        aliases TEXT NOT NULL,
        PRIMARY KEY (container, network)
    ) STRICT, WITHOUT ROWID;
    """,
    # Bytes of a layer's regular files; NULL for those that were recorded before.
    "ALTER TABLE layers ADD COLUMN content INTEGER;",
    # Whether an image was pulled from the repository by this digest, or pushed there; older rows do not say.
    "ALTER TABLE digests ADD COLUMN remote INTEGER NOT NULL DEFAULT 1;",
    """
    ALTER TABLE volumes ADD COLUMN options TEXT NOT NULL DEFAULT '{}'; -- JSON: those of the driver local
    CREATE TABLE image_uses (           -- images that are mounted in containers beside their own
        image TEXT NOT NULL,            -- id, kept when the image is forced away
        container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        PRIMARY KEY (image, container)
    ) STRICT, WITHOUT ROWID;
    CREATE VIEW used_images AS SELECT image, id AS container FROM containers UNION SELECT image, container FROM image_uses;
    """,
)


class Meta:
    """An open database. Use `read` for queries and `with meta.write() as sql:` for one short transaction.

    Several threads may use it: each query has the connection to itself, a transaction for as long as it lasts, since
    SQLite keeps statements and transactions by connection (its documentation, "Using SQLite In Multi-Threaded
    Applications"). The thread that writes may read meanwhile and sees what it has written.
    """

    __slots__ = ("_connection", "_lock", "_syncs", "path")

    def __init__(self, path: str) -> None:
        """Open or create the database at `path`; raises Corrupt when it is none, or is newer than this
        program."""
        self.path = path
        self._lock = RLock()
        self._syncs = False  # whether a commit waits for the disk
        try:
            try:
                self._connection = _open(path)
            except sqlite3.OperationalError:
                # On a full disk the log's index (-shm) cannot be made where a crash or a reboot has left none.
                if _free(path) >= _SHARED_INDEX:
                    raise
                self._connection = _open(path, alone=True)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise UnderlayError(f"cannot open the database {path}: {error}") from error
            raise Corrupt(f"the database {path} is damaged: {error}", "run `underlay system check --repair`") from error

    def read(self, query: str, arguments: Sequence[object] = ()) -> list[Any]:
        """Return all rows of a query."""
        try:
            with self._lock:
                return self._connection.execute(query, tuple(arguments)).fetchall()
        except sqlite3.DatabaseError as error:
            raise _explained(error, self.path) from error

    def version(self) -> int:
        """Return a number that grows when the database is changed, by this process or another (SQLite, "PRAGMA
        data_version")."""
        (number,) = self.read("PRAGMA data_version")[0]
        return int(number) + self._connection.total_changes

    def write(self, durable: bool = True, frees: bool = False) -> Transaction:
        """Return a transaction that takes the write lock at once; it commits when left without an error.

        With `durable` it is on the disk when the block ends, and with it all transactions before. Without, a power cut
        may undo it: for what a reboot voids anyway, or what a later transaction makes known. One that `frees` space, by
        removing objects whose files go next, works on a full disk as well: it may use the reserve.
        """
        if frees:
            self._release_reserve()
        return Transaction(self, durable)

    def keep_reserve(self) -> None:
        """Occupy a little space, if there is enough, so that a removal can be recorded when the disk is full."""
        try:
            size = min(_RESERVE, _free(self.path) // _SHARE)
            if size < _LEAST_RESERVE or os.path.exists(self.path + _RESERVE_NAME):
                return
            fd = os.open(self.path + _RESERVE_NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)
            finally:
                os.close(fd)
        except OSError:
            pass  # a reserve that cannot be had is none

    def _release_reserve(self) -> None:
        try:
            if _free(self.path) < _RESERVE:
                os.unlink(self.path + _RESERVE_NAME)
        except OSError:
            pass  # there is none

    def sync_commits(self, wanted: bool) -> None:
        """Let commits wait for the disk, or not: for a transaction that is about to begin, with the lock held."""
        if wanted != self._syncs:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._syncs = wanted

    def close(self) -> None:
        """Close the database, when no thread is in a query or a transaction."""
        with self._lock:
            self._connection.close()


class Transaction:
    """One write transaction of one thread; gives the `execute` of the connection."""

    __slots__ = ("_connection", "_durable", "_lock", "_meta", "_path")

    def __init__(self, meta: Meta, durable: bool) -> None:
        self._meta = meta
        self._durable = durable
        self._connection, self._lock, self._path = meta._connection, meta._lock, meta.path

    def __enter__(self) -> Transaction:
        self._lock.acquire()
        try:
            self._meta.sync_commits(self._durable)
            self._connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._lock.release()
            if isinstance(error, sqlite3.DatabaseError):
                raise _explained(error, self._path) from error
            raise
        return self

    def execute(self, statement: str, arguments: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement inside the transaction; integrity errors pass as sqlite3.IntegrityError."""
        try:
            return self._connection.execute(statement, tuple(arguments))
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise _explained(error, self._path) from error

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self._roll_back()
                return
            try:
                self._connection.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                self._roll_back()
                raise _explained(error, self._path) from error
        finally:
            self._lock.release()

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            pass  # SQLite has rolled back by itself (full disk, for one)


IntegrityError = sqlite3.IntegrityError


def _free(path: str) -> int:
    """Return the bytes that this user can still write where `path` is."""
    facts = os.statvfs(os.path.dirname(path))
    return facts.f_bavail * facts.f_frsize


def integrity(meta: Meta) -> list[str]:
    """Return what SQLite finds wrong with the database's structure or its references; empty when all is
    well."""
    try:
        problems = [row[0] for row in meta.read("PRAGMA integrity_check(20)") if row[0] != "ok"]
        problems += [
            f"a row of {row[0]} refers to a missing row of {row[2]}"
            for row in meta.read("PRAGMA foreign_key_check")[:20]
        ]
    except UnderlayError as error:
        return [error.message]
    return problems


def salvage(path: str) -> str:
    """Replace a damaged database by a new one with all rows that can still be read; return where the old one
    went.

    Rows whose references were lost are left out. What cannot be read of images is rebuilt from their
    documents by `store.check`.
    """
    aside = f"{path}.damaged-{os.getpid()}"
    os.rename(path, aside)
    for suffix in ("-wal", "-shm"):
        try:
            os.rename(path + suffix, aside + suffix)
        except FileNotFoundError:
            pass
    fresh = _open(path)
    try:
        fresh.execute("PRAGMA foreign_keys = OFF")
        tables = [
            row[0]
            for row in fresh.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
            )
        ]
        for table in tables:
            for row in _readable_rows(aside, table):
                try:
                    marks = ", ".join("?" * len(row))
                    fresh.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
                except sqlite3.DatabaseError:
                    continue
        for _ in range(len(tables)):
            broken = fresh.execute("PRAGMA foreign_key_check").fetchall()
            for table in {row[0] for row in broken}:
                _drop_orphans(fresh, table)
    finally:
        fresh.close()
    return aside


def _readable_rows(path: str, table: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    try:
        damaged = sqlite3.connect(path, timeout=5.0)
        try:
            for row in damaged.execute(f"SELECT * FROM {table}"):
                rows.append(row)
        finally:
            damaged.close()
    except sqlite3.DatabaseError:
        pass  # what came before the damage is worth having
    return rows


def _drop_orphans(connection: sqlite3.Connection, table: str) -> None:
    for key in connection.execute(f"PRAGMA foreign_key_list({table})").fetchall():
        _, _, parent, column, parent_column = key[:5]
        connection.execute(
            f"DELETE FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT {parent_column} FROM {parent})"
        )


def _explained(error: sqlite3.DatabaseError, path: str) -> UnderlayError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return UnderlayError(f"the database {path} is locked by another process", "try again")
    if "full" in text:
        return DiskFull(f"no space left to write the database {path}", "free some space and try again")
    if "malformed" in text or "not a database" in text:
        return Corrupt(f"the database {path} is damaged: {text}", "run `underlay system check --repair`")
    return UnderlayError(f"database {path}: {text}")


def _open(path: str, alone: bool = False) -> sqlite3.Connection:
    """Open the database. `alone`: without the file by which processes share the index of the log; others wait meanwhile."""
    fresh = not os.path.exists(path)
    if fresh:
        os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        if alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != len(MIGRATIONS):
            _migrate(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")
        # With the write-ahead log and NORMAL, a power cut may undo the last transactions, but leaves a consistent database;
        # durable ones are committed with FULL, which syncs the log (SQLite, "PRAGMA synchronous").
        connection.execute("PRAGMA synchronous = NORMAL")
        # Commands end without closing (closing would write all back and wait for the disk each time), so the log is kept
        # short: it is read anew by the next command.
        connection.execute("PRAGMA wal_autocheckpoint = 200")
    except BaseException:
        connection.close()  # its locks would be in the way of another try
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn write-ahead logging on, waiting for others that do the same to a new database.

    SQLite refuses one of them at once, without the patience that it has for other locks.
    """
    deadline = monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
            sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    _use_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        connection.execute("ROLLBACK")
        raise Corrupt(
            f"the database {path} has format {version}, this underlay supports {len(MIGRATIONS)}",
            "use the newer underlay that wrote it",
        )
    try:
        for migration in MIGRATIONS[version:]:
            # Comments go first: they may hold the semicolon that ends a statement.
            bare = "\n".join(line.partition("--")[0] for line in migration.splitlines())
            statement = ""
            for part in bare.split(";")[:-1]:
                statement += part + ";"
                if sqlite3.complete_statement(statement):  # a trigger has statements inside
                    connection.execute(statement)
                    statement = ""
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
