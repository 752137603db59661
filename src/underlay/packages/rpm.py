"""Packages that rpm has installed: one header for each, in one of the three databases that rpm has had.

SQLite since 2020, ndb (SUSE) and Berkeley DB (CentOS 7 and before): `sqlitefile`, `rpmdatabases`. A header is rpm's own
format ("RPM v4 package format", Header structure), here without the lead of a package file.
"""

from __future__ import annotations

from struct import unpack_from

from ..errors import Corrupt, LimitExceeded
from .model import DATABASE_LIMIT, PACKAGES_LIMIT, DatabaseContents, Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .model import Files

DIRECTORIES = (b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm")
_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_LICENCE, _ARCHITECTURE, _SOURCE = 1014, 1022, 1044
_DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORY_NAMES = 1116, 1117, 1118
_INT32, _STRING, _STRINGS, _TRANSLATED = 4, 6, 8, 9
_TAGS_LIMIT = 1 << 16  # rpm's own bounds (lib/header.c): tags and bytes of a header
_DATA_LIMIT = 256 << 20
_FILES_LIMIT = 5_000_000


def headers(files: Files) -> Iterator[bytes] | None:
    """Return the headers in the database of an image, None when it has none; raises Corrupt, LimitExceeded."""
    from . import rpmdatabases, sqlitefile

    for directory in DIRECTORIES:
        data = files.read(directory + b"/rpmdb.sqlite", DATABASE_LIMIT)
        if data is not None:
            log = files.read(directory + b"/rpmdb.sqlite-wal", DATABASE_LIMIT) or b""
            rows = sqlitefile.SqliteFile(data, log).rows("Packages")
            return (blob for row in rows for blob in row[-1:] if isinstance(blob, bytes))
        data = files.read(directory + b"/Packages.db", DATABASE_LIMIT)
        if data is not None:
            return rpmdatabases.ndb(data)
        data = files.read(directory + b"/Packages", DATABASE_LIMIT)
        if data is not None:
            return rpmdatabases.berkeley(data)
    return None


def read(files: Files) -> DatabaseContents | None:
    """Return the packages, None when there is no database; raises Corrupt, LimitExceeded."""
    blobs = headers(files)
    if blobs is None:
        return None
    contents = DatabaseContents()
    for number, blob in enumerate(blobs):
        if number > PACKAGES_LIMIT:
            raise LimitExceeded(f"more than {PACKAGES_LIMIT} packages")
        try:
            package = _package(Header(blob))
        except Corrupt:
            contents.skipped += 1
            continue
        # Keys that signatures are checked with stand in the database as packages.
        if package.name != "gpg-pubkey":
            contents.add(package)
    return contents


class Header:
    """The tags of a package; `data` is `count, length, index entries, data`. Raises Corrupt."""

    __slots__ = ("_data", "_start", "_tags")

    def __init__(self, data: bytes) -> None:
        if len(data) < 8:
            raise Corrupt("an rpm header is too short")
        count, length = unpack_from(">II", data)
        self._start = 8 + 16 * count
        if not 0 < count <= _TAGS_LIMIT or length > _DATA_LIMIT or self._start + length > len(data):
            raise Corrupt("an rpm header is truncated")
        self._data = data
        self._tags: dict[int, tuple[int, int, int]] = {}
        for number in range(count):
            tag, kind, offset, values = unpack_from(">IIII", data, 8 + 16 * number)
            self._tags.setdefault(tag, (kind, offset, values))

    def text(self, tag: int) -> str:
        """Return the (first) string of a tag, "" when it is not there; raises Corrupt."""
        texts = self._strings(tag, 1)
        return texts[0].decode("utf-8", "replace") if texts else ""

    def strings(self, tag: int) -> list[bytes]:
        """Return the strings of a tag; raises Corrupt."""
        return self._strings(tag, _FILES_LIMIT)

    def _strings(self, tag: int, most: int) -> list[bytes]:
        kind, offset, values = self._tags.get(tag, (0, 0, 0))
        if kind not in (_STRING, _STRINGS, _TRANSLATED):
            return []
        texts = []
        at = self._start + offset
        for _ in range(min(1 if kind == _STRING else values, most)):
            end = self._data.find(b"\0", at)
            if end < 0:
                raise Corrupt("a string in an rpm header is not terminated")
            texts.append(self._data[at:end])
            at = end + 1
        return texts

    def numbers(self, tag: int) -> list[int]:
        """Return the 32-bit numbers of a tag; raises Corrupt."""
        kind, offset, values = self._tags.get(tag, (0, 0, 0))
        if kind != _INT32:
            return []
        if self._start + offset + 4 * values > len(self._data):
            raise Corrupt("numbers in an rpm header reach beyond its end")
        return list(unpack_from(f">{values}I", self._data, self._start + offset))


def _package(header: Header) -> Package:
    name, version, release = header.text(_NAME), header.text(_VERSION), header.text(_RELEASE)
    if not name or not version:
        raise Corrupt("an rpm header lacks the name or version")
    epochs = header.numbers(_EPOCH)
    epoch = f"{epochs[0]}:" if epochs and epochs[0] else ""
    # name-version-release.src.rpm; without one (a package built otherwise) the package stands for itself.
    source = header.text(_SOURCE).removesuffix(".rpm").rpartition(".")[0].rsplit("-", 2)
    origin, origin_version = "", ""
    if len(source) == 3:
        # A source package has one epoch, and so have nearly always its packages: its own stands nowhere.
        origin, origin_version = source[0], f"{epoch}{source[1]}-{source[2]}"
    full = f"{epoch}{version}-{release}" if release else f"{epoch}{version}"
    return Package("rpm", name, full, header.text(_ARCHITECTURE), origin, origin_version, licence=header.text(_LICENCE))


def owners(files: Files, wanted: set[bytes]) -> dict[bytes, str]:
    """Return which packages brought the files `wanted`: `rpm:name` by path; raises Corrupt, LimitExceeded."""
    package_by_path: dict[bytes, str] = {}
    ends = {path.rpartition(b"/")[2] for path in wanted}
    for blob in headers(files) or ():
        try:
            header = Header(blob)
            bases = header.strings(_BASE_NAMES)
            if ends.isdisjoint(bases):
                continue
            indexes, directories = header.numbers(_DIRECTORY_INDEXES), header.strings(_DIRECTORY_NAMES)
            name = "rpm:" + header.text(_NAME)
        except Corrupt:
            continue
        for base, number in zip(bases, indexes, strict=False):
            if base in ends and number < len(directories):
                path = directories[number].lstrip(b"/") + base
                if path in wanted:
                    package_by_path[path] = name
    return package_by_path
