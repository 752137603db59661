"""Layers of a registry by their tables of contents, which are fetched by themselves, and then single files.

Two forms of layers have such a table: eStargz (specified with containerd's stargz-snapshotter) and zstd:chunked
(containers/storage). The table is verified by the digest that the manifest states for it, files by those of the table. That
the layer is what the table says, only a reading of the whole layer shows.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from itertools import pairwise

import msgspec

from ..errors import Corrupt, LimitExceeded, NotFound
from ..human import whole
from ..oci import digest as digests
from ..store.kinds import BLOCK, CHARACTER, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, shown
from ..store.layers import codec
from ..store.layers.passing import SUMMED
from ..store.layers.toc import Entry
from ..store.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..oci.descriptor import Descriptor
    from ..registry.repository import Repository
    from ..store.layers.passing import SkimmedLayer, SpooledLayer

    Part = Callable[[int, int], bytes | None]
    WholeLayer = SkimmedLayer | SpooledLayer

_STARGZ = "containerd.io/snapshot/stargz/toc.digest"
_CHUNKED = "io.github.containers.zstd-chunked.manifest-checksum"
_CHUNKED_AT = "io.github.containers.zstd-chunked.manifest-position"
_FOOTER = 51  # bytes of eStargz's: an empty gzip member that says where the table begins
_FOOTER_FIELD = slice(16, 38)
_TABLE = "stargz.index.json"
_OWN = frozenset((_TABLE, ".prefetch.landmark", ".no.prefetch.landmark"))
_TABLE_LIMIT = 64 << 20  # bytes, compressed
_PLAIN_LIMIT = 512 << 20
_ENTRIES_LIMIT = 500_000
_RANGE_LIMIT = 128 << 20  # of one file, compressed
_FILE_LIMIT = 64 << 20  # of one file
_FILES_LIMIT = 40  # that are fetched one by one
_FETCHED_LIMIT = 256 << 20  # of all of them, compressed
_WORTH = 1 << 20  # bytes: smaller layers are read whole
_KINDS = {
    "dir": DIRECTORY,
    "reg": REGULAR,
    "symlink": SYMLINK,
    "hardlink": HARDLINK,
    "char": CHARACTER,
    "block": BLOCK,
    "fifo": FIFO,
}


class _File(msgspec.Struct, rename="camel"):
    """An entry of a table; `chunk` stands for a further part of the file before it."""

    name: str
    type: str
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    link_name: str = ""
    digest: str = ""
    offset: int = 0
    inner_offset: int = 0


class _Table(msgspec.Struct):
    entries: list[_File]


class TableLayer:
    """A layer of a registry by its table of contents: its `entries`, their `size` together in bytes.

    A file is fetched when it is first asked for. Where ranges are not to be had or are not what the table says, and before
    much of the layer would be fetched in parts, `whole` reads all of it, verified by its diff id. Raises what that raises,
    NotFound once it is closed.
    """

    __slots__ = (
        "_chunks",
        "_end",
        "_fetched",
        "_files",
        "_layer",
        "_left",
        "_part",
        "_whole",
        "_whole_entries",
        "entries",
    )

    def __init__(self, part: Part, layer: Descriptor, table: _Table, end: int, whole: Callable[[], WholeLayer]) -> None:
        if len(table.entries) > _ENTRIES_LIMIT:
            raise Corrupt("the table of contents is too long")
        self.entries: list[Entry] = []
        self._files: list[_File] = []
        self._end: dict[int, int] = {}  # where the compressed bytes that begin at an offset end
        self._chunks: dict[int, int] = {}  # where the last of several parts of a file begins, by number of the file
        self._fetched: dict[int, bytes] = {}
        self._layer: WholeLayer | None = None
        self._whole_entries: dict[str, Entry] = {}
        self._left = min(layer.size // 2, _FETCHED_LIMIT)
        self._part: Part | None = part
        self._whole = whole
        begins = sorted({file.offset for file in table.entries if file.offset > 0} | {end})
        self._end = {**dict(pairwise(begins)), end: end}
        for file in table.entries:
            if file.type == "chunk":
                number = len(self.entries)
                self._chunks[number] = max(file.offset, self._chunks.get(number, 0))
            elif file.name not in _OWN:
                self._files.append(file)
                self.entries.append(_entry(file, len(self._files)))

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return self._layer.size if self._layer is not None else sum(entry.size for entry in self.entries)

    def read(self, entry: Entry, limit: int) -> bytes:
        """Return the content of one of its regular files. Raises LimitExceeded."""
        if entry.size > limit:
            raise LimitExceeded(f"{shown(entry.name)} has more than {limit} bytes")
        content = self._content(entry)
        if content is not None:
            return content
        layer, own = self._read_whole(entry)
        return layer.read(own, limit)

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        """Return bytes of one of its regular files."""
        content = self._content(entry)
        if content is not None:
            return content[offset : offset + size]
        layer, own = self._read_whole(entry)
        return layer.part(own, offset, size)

    def checksum(self, entry: Entry) -> bytes:
        """Return the SHA-256 of a file of at most SUMMED bytes, b"" where it is not known."""
        if not entry.size:
            return hashlib.sha256().digest()
        stated = self._files[entry.offset - 1].digest
        return bytes.fromhex(stated[7:]) if entry.size <= SUMMED and stated.startswith("sha256:") else b""

    def close(self) -> None:
        """Fetch nothing more; what was fetched stays, but not what was read as a whole into a file."""
        self._part = None
        if self._layer is not None:
            self._layer.close()

    def _content(self, entry: Entry) -> bytes | None:
        """Return a file's content, None when the layer must be read as a whole for it."""
        number = entry.offset
        if not entry.size:
            return b""
        if number in self._fetched:
            return self._fetched[number]
        if self._layer is not None or len(self._fetched) >= _FILES_LIMIT or entry.size > _FILE_LIMIT:
            return None
        if self._part is None:
            raise NotFound(f"{shown(entry.name)} was passed over when the layer was read")
        file = self._files[number - 1]
        stop = self._end.get(max(file.offset, self._chunks.get(number, 0)), 0)
        if stop - file.offset > self._left:
            return None
        self._left -= stop - file.offset
        try:
            data = self._part(file.offset, stop - file.offset)
            content = _plain(data, file.inner_offset, entry.size) if data is not None else b""
            if data is not None:
                digests.verify(content, file.digest, f"content of {shown(entry.name)}")
        except (Corrupt, LimitExceeded, ValueError, zlib.error):
            return None  # the layer itself will show
        if data is None:
            return None
        self._fetched[number] = content
        return content

    def _read_whole(self, entry: Entry) -> tuple[WholeLayer, Entry]:
        """Return the layer, read to its end, and a file as that has it; raises Corrupt when its table says otherwise."""
        if self._layer is None:
            if self._part is None:
                raise NotFound(f"{shown(entry.name)} was passed over when the layer was read")
            self._layer = self._whole()
            self._whole_entries = {_spelled(own.name): own for own in self._layer.entries if own.kind == REGULAR}
        own = self._whole_entries.get(_spelled(self._files[entry.offset - 1].name.encode("utf-8", "surrogatepass")))
        if own is None or own.size != entry.size:
            raise Corrupt(f"{shown(entry.name)} is not in the layer as its table of contents says")
        return self._layer, own


def read(repository: Repository, layer: Descriptor, whole: Callable[[], WholeLayer]) -> TableLayer | None:
    """Return a layer by its table of contents; `whole` reads all of it, for when that must be.

    None when it has no table, the registry gives no ranges, or the table is wrong. Raises what registries raise.
    """
    if layer.size < _WORTH or not (layer.annotation(_STARGZ) or layer.annotation(_CHUNKED)):
        return None
    try:
        found = _table(repository, layer)
        if found is None:
            return None
        return TableLayer(
            lambda begin, length: _part(repository, layer, begin, length, _RANGE_LIMIT), layer, *found, whole
        )
    except (Corrupt, ValueError, tarfile.TarError, zlib.error, msgspec.MsgspecError):
        return None  # the layer itself will show


def _table(repository: Repository, layer: Descriptor) -> tuple[_Table, int] | None:
    """Return the table and where it begins, None when the registry gives no ranges."""
    checksum = layer.annotation(_CHUNKED)
    if checksum:
        begin, length = [whole(word) for word in layer.annotation(_CHUNKED_AT).split(":")[:2]]
        data = _part(repository, layer, begin, length, _TABLE_LIMIT)
        if data is None:
            return None
        digests.verify(data, checksum, "table of contents")
        return msgspec.json.decode(_plain(data, 0, _PLAIN_LIMIT), type=_Table), begin
    footer = _part(repository, layer, layer.size - _FOOTER, _FOOTER, _FOOTER)
    if footer is None:
        return None
    field = footer[_FOOTER_FIELD]
    if field[16:] != b"STARGZ":
        raise Corrupt("the layer has no footer of eStargz")
    begin = int(field[:16], 16)
    data = _part(repository, layer, begin, layer.size - _FOOTER - begin, _TABLE_LIMIT)
    if data is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(_plain(data, 0, _PLAIN_LIMIT))) as tar:
        file = tar.extractfile(_TABLE)
        text = file.read() if file is not None else b""
    digests.verify(text, layer.annotation(_STARGZ), "table of contents")
    return msgspec.json.decode(text, type=_Table), begin


def _spelled(name: bytes) -> str:
    """Return a member's name without what tars put around it."""
    return name.removeprefix(b"./").strip(b"/").decode("utf-8", "surrogateescape")


def _entry(file: _File, key: int) -> Entry:
    """Return an entry as a tar would have it; `key` stands for its place."""
    name = file.name.encode("utf-8", "surrogatepass")
    kind = _KINDS.get(file.type)
    if kind is None or b"\0" in name or len(name) > 4096 or b".." in name.split(b"/") or file.size < 0:
        raise Corrupt(f"{shown(name)}: not an entry of a layer")
    size = file.size if kind == REGULAR else 0
    link = file.link_name.encode("utf-8", "surrogatepass")
    return Entry(name, kind, file.mode & 0o7777, file.uid, file.gid, size, 0, 0, offset=key, link=link)


def _part(repository: Repository, layer: Descriptor, begin: int, length: int, limit: int) -> bytes | None:
    """Return bytes of the blob; raises Corrupt for what is not within it."""
    if begin < 0 or not 0 < length <= limit or begin + length > layer.size:
        raise Corrupt("the table of contents names bytes outside of the layer")
    return repository.part(layer, begin, length)


def _plain(data: bytes, skip: int, size: int) -> bytes:
    """Return at most `size` plain bytes behind the first `skip` ones of compressed data."""
    source = io.BytesIO(data)
    pieces = codec.decompress(lambda: source.read(codec.CHUNK), Limits(total=skip + size + _RANGE_LIMIT))
    next(pieces)
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) >= skip + size:
            break
    return bytes(found[skip : skip + size])
