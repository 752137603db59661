"""What a scan keeps of a layer: its packages, its small files that tell a release, what hides such files of layers below.

It is read from a layer once. The facts of an image's layers, lowest first, give its release and the packages of its system,
as `packages.installed` tells them of the files themselves.
"""

from __future__ import annotations

import contextlib
import zlib

import msgspec

from ...errors import Corrupt, LimitExceeded, NotFound
from ...packages import apk, dpkg, osrelease, rpm
from ...packages.installed import Inventory, tells
from ...packages.model import DatabaseContents, Package
from ...store.kinds import HARDLINK, OPAQUE, REGULAR, WHITEOUT
from ...store.layers.toc import Entry
from ...store.rootfs.imagefiles import ImageFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...packages.model import Files
    from ...paths import Paths
    from ...store.rootfs.imagefiles import Contents

_TEXT_LIMIT = 64 << 10  # bytes of a file that tells a release
_PACKED_LIMIT = 256 << 20  # bytes of facts, unpacked
# As `rpm.headers` looks for them.
_RPM = tuple(
    b"%s/%s" % (directory, name)
    for directory in rpm.DIRECTORIES
    for name in (b"rpmdb.sqlite", b"Packages.db", b"Packages")
)


def _above() -> frozenset[bytes]:
    """Return the directories that lead to files that tell what is in an image."""
    found: set[bytes] = {dpkg.PARTS, *rpm.DIRECTORIES}
    for path in (*osrelease.FILES, *apk.DATABASES, dpkg.STATUS, dpkg.PARTS, *rpm.DIRECTORIES):
        while b"/" in path:
            path = path.rpartition(b"/")[0]
            found.add(path)
    return frozenset(found)


_ABOVE = _above()


class Database(msgspec.Struct, array_like=True, frozen=True):
    """A database of packages as a layer has it: each package's kind, name, version, architecture, source package with its
    version, and licence; how many entries were `skipped`, and a `problem` if it could not be read."""

    packages: list[tuple[str, str, str, str, str, str, str]] = []
    skipped: int = 0
    problem: str = ""


class Facts(msgspec.Struct, array_like=True):
    """What is kept of a layer: `entries` of its tar that matter, `texts` and `databases` by the names of their files.

    It can be asked for those texts as a layer is (`imagefiles.Contents`).
    """

    entries: list[Entry]
    texts: dict[bytes, bytes]
    databases: dict[bytes, Database]

    def read(self, entry: Entry, limit: int) -> bytes:
        """Return the text of one of its files. Raises NotFound, LimitExceeded."""
        data = self.texts.get(_path(entry.name))
        if data is None:
            raise NotFound("nothing was kept of this file")
        if len(data) > limit:
            raise LimitExceeded(f"it has more than {limit} bytes")
        return data

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        """Return bytes of one of its files."""
        return self.read(entry, entry.size)[offset : offset + size]

    def checksum(self, entry: Entry) -> bytes:
        """Return b"", which means an unknown checksum: facts hold none."""
        return b""

    @property
    def tells(self) -> bool:
        """Whether the layer has, or hides, files that tell the release or the packages of an image."""
        return bool(self.entries)

    def pack(self) -> bytes:
        """Return it as bytes."""
        return zlib.compress(msgspec.msgpack.encode(self), 6)


_decoder = msgspec.msgpack.Decoder(Facts)


def unpack(data: bytes) -> Facts:
    """Return what `pack` has made. Raises Corrupt."""
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(data, _PACKED_LIMIT)
        if inflate.unconsumed_tail or not inflate.eof:
            raise Corrupt("the facts of a layer are damaged or too large")
        return _decoder.decode(plain)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise Corrupt(f"the facts of a layer are damaged: {error}") from None


def wanted(entry: Entry) -> bool:
    """Tell whether the content of a member of a layer is needed for its facts."""
    return tells(_path(entry.name))


def of_layer(paths: Paths, layer: Contents) -> Facts:
    """Return the facts of a layer, of which at least the `wanted` contents can be read.

    What cannot be read of a database is told by that database. Raises Corrupt for entries that make no layer.
    """
    facts = Facts([], {}, {})
    for entry in layer.entries:
        path = _path(entry.name)
        if not _matters(path) or (entry.kind == HARDLINK and not tells(_path(entry.link))):
            continue
        facts.entries.append(msgspec.structs.replace(entry, xattrs=()))
        if entry.kind == REGULAR and path in osrelease.FILES and entry.size <= _TEXT_LIMIT:
            with contextlib.suppress(NotFound):
                facts.texts[path] = layer.read(entry, _TEXT_LIMIT)
    alone = ImageFiles(paths, ["layer"], {"layer": _Alone(layer, facts.entries)})
    for path in apk.DATABASES:
        _add(facts, alone, path, apk.parse)
    _add(facts, alone, dpkg.STATUS, dpkg.parse)
    for name in alone.names(dpkg.PARTS):
        if not name.endswith(b".md5sums"):
            _add(facts, alone, dpkg.PARTS + b"/" + name, dpkg.parse)
    _add_rpm(facts, alone)
    return facts


class _Alone:
    """A layer by itself, of which only these entries matter, without links to files of layers below."""

    def __init__(self, layer: Contents, entries: Sequence[Entry]) -> None:
        self.entries: list[Entry] = []
        names: set[bytes] = set()
        for entry in entries:
            if entry.kind != HARDLINK or _path(entry.link) in names:
                self.entries.append(entry)
                names.add(_path(entry.name))
        self.read = layer.read
        self.part = layer.part
        self.checksum = layer.checksum


def _path(name: bytes) -> bytes:
    return name.removeprefix(b"./").strip(b"/")


def _matters(path: bytes) -> bool:
    """Tell if a member of a layer is a package database or release file, lies above one, or is a whiteout of either."""
    directory, _, name = path.rpartition(b"/")
    if name == OPAQUE:
        return not directory or directory in _ABOVE
    if name.startswith(WHITEOUT):
        path = (directory + b"/" if directory else b"") + name.removeprefix(WHITEOUT)
    return path in _ABOVE or tells(path)


def _name(files: ImageFiles, path: bytes) -> bytes | None:
    """Return under which name the layer has the regular file at a path, None when there is none."""
    node = files.node(path)
    return _path(node.entry.name) if node is not None and node.entry.kind == REGULAR else None


def _add(facts: Facts, files: ImageFiles, path: bytes, parse: Callable[[str, DatabaseContents], None]) -> None:
    """Read a database that is a text."""
    name = _name(files, path)
    if name is None or name in facts.databases:
        return
    contents = DatabaseContents()
    try:
        data = files.read(path) or b""
        parse(data.decode("utf-8", "replace"), contents)
    except (Corrupt, LimitExceeded, NotFound) as error:
        facts.databases[name] = Database(problem=error.message)
        return
    facts.databases[name] = _database(contents)


def _add_rpm(facts: Facts, files: ImageFiles) -> None:
    name = next((found for path in _RPM if (found := _name(files, path)) is not None), None)
    if name is None:
        return
    try:
        contents = rpm.read(files)
    except (Corrupt, LimitExceeded, NotFound) as error:
        facts.databases[name] = Database(problem=error.message)
        return
    if contents is not None:
        facts.databases[name] = _database(contents)


def _database(contents: DatabaseContents) -> Database:
    rows = [
        (each.kind, each.name, each.version, each.architecture, each.origin, each.origin_version, each.licence)
        for each in contents.packages
    ]
    return Database(rows, contents.skipped)


def inventory(paths: Paths, layers: Sequence[Facts]) -> Inventory:
    """Return the release and the packages of the system of the image that layers with these facts make, lowest first.

    Raises Corrupt, LimitExceeded for what makes no image.
    """
    names = [str(number) for number in range(len(layers))]
    files = ImageFiles(paths, names, dict(zip(names, layers, strict=True)))
    problems: list[str] = []
    packages: dict[tuple[str, str, str, str], Package] = {}
    for kind, found in (
        ("dpkg", _databases(layers, files, _dpkg(files), every=True)),
        ("apk", _databases(layers, files, apk.DATABASES)),
        ("rpm", _databases(layers, files, _RPM)),
    ):
        skipped = 0
        for database in found:
            skipped += database.skipped
            if database.problem:
                problems.append(f"the database of {kind} cannot be read: {database.problem}")
            for row in database.packages:
                package = Package(*row)
                # A package is there once, and the last entry counts; rpm keeps several versions of one beside each other.
                version = package.version if package.kind == "rpm" else ""
                packages[package.kind, package.name, package.architecture, version] = package
        if skipped:
            problems.append(f"the database of {kind} has {skipped} invalid entries")
    return Inventory([packages[key] for key in sorted(packages)], osrelease.read(_Texts(files)), problems)


def _dpkg(files: ImageFiles) -> list[bytes]:
    parts = [name for name in files.names(dpkg.PARTS) if not name.endswith(b".md5sums")]
    return [dpkg.STATUS, *(dpkg.PARTS + b"/" + name for name in parts)]


def _databases(
    layers: Sequence[Facts], files: ImageFiles, wanted: Sequence[bytes], every: bool = False
) -> Iterator[Database]:
    """Yield the databases at the paths `wanted`, unless it shall be `every` one only the first that is there."""
    for path in wanted:
        node = files.node(path)
        if node is None or node.entry.kind != REGULAR:
            continue
        database = layers[node.layer].databases.get(_path(node.entry.name))
        if database is not None:
            yield database
        if not every:
            return


class _Texts:
    """The files of an image, of which only those that tell its release can be read; any other counts as missing."""

    def __init__(self, files: ImageFiles) -> None:
        self._files = files
        self.names = files.names
        self.find = files.find
        self.executables = files.executables
        self.size = files.size
        self.part = files.part

    def read(self, path: bytes, limit: int = _TEXT_LIMIT) -> bytes | None:
        try:
            return self._files.read(path, limit)
        except NotFound:
            return None


if TYPE_CHECKING:
    _files: type[Files] = _Texts
