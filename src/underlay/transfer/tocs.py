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

from ..errors import Corrupt
from ..human import whole
from ..oci import digest as digests
from ..store.kinds import BLOCK, CHARACTER, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, shown
from ..store.layers import codec
from ..store.layers.passing import SUMMED, PassedLayer
from ..store.layers.toc import Entry
from ..store.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..oci.descriptor import Descriptor
    from ..registry.repository import Repository

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
_RANGE_LIMIT = 128 << 20  # of one file
_FILES_LIMIT = 40  # that are fetched one by one
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


def read(repository: Repository, layer: Descriptor, keep: Callable[[Entry], bool]) -> PassedLayer | None:
    """Return a layer by its table of contents, with the contents of files for which `keep` is true.

    None when it has no table, the registry gives no ranges, or the table is wrong. Raises what registries raise.
    """
    if layer.size < _WORTH or not (layer.annotation(_STARGZ) or layer.annotation(_CHUNKED)):
        return None
    try:
        found = _table(repository, layer)
        return None if found is None else _layer(repository, layer, *found, keep)
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


def _layer(
    repository: Repository, layer: Descriptor, table: _Table, end: int, keep: Callable[[Entry], bool]
) -> PassedLayer | None:
    if len(table.entries) > _ENTRIES_LIMIT:
        raise Corrupt("the table of contents is too long")
    ends = sorted({file.offset for file in table.entries if file.offset > 0} | {end})
    following = dict(pairwise(ends))
    entries: list[Entry] = []
    contents: dict[int, bytes] = {}
    checksums: dict[int, bytes] = {}
    parts: dict[int, list[int]] = {}  # where the further parts of a file begin
    last = 0
    for file in table.entries:
        if file.type == "chunk":
            parts.setdefault(last, []).append(file.offset)
            continue
        if file.name in _OWN:
            continue
        last = len(entries) + 1
        entries.append(_entry(file, last))
    files = [file for file in table.entries if file.type != "chunk" and file.name not in _OWN]
    for key, (file, entry) in enumerate(zip(files, entries, strict=True), 1):
        if entry.kind != REGULAR or not entry.size:
            continue
        if entry.size <= SUMMED and file.digest.startswith("sha256:"):
            checksums[key] = bytes.fromhex(file.digest[7:])
        if not keep(entry):
            continue
        if len(contents) >= _FILES_LIMIT:
            return None
        stop = following.get(max([file.offset, *parts.get(key, ())]), end)
        data = _part(repository, layer, file.offset, stop - file.offset, _RANGE_LIMIT)
        if data is None:
            return None
        content = _plain(data, file.inner_offset, entry.size)
        if "sha256:" + hashlib.sha256(content).hexdigest() != file.digest:
            raise Corrupt(f"{shown(entry.name)} is not what the table of contents says")
        contents[key] = content
    return PassedLayer(entries, sum(entry.size for entry in entries), contents, checksums)


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
