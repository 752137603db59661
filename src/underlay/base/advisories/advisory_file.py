"""The file of one family of ecosystems: advisories by the packages that they affect, for a fast look without a database.

    magic, 32 bytes                the format's version and the byte order of this host
    five numbers of 64 bits        where the head is, its length, where the hashes are, how many keys, where records end
    records                        MessagePack, one after another
    values                         MessagePack, one a key: [key, [[record's offset, affected], …]]
    hashes, offsets                64 bits each, by hash: of each key, and of its value
    head                           MessagePack: what the file holds

A key is the ecosystem with its release, a zero byte and the package's name. It is written whole beside the old one and
renamed; a reader maps it, so it keeps the one that it has opened.
"""

from __future__ import annotations

import mmap
import os
import sys
from bisect import bisect_left
from struct import Struct

import msgspec

from ...errors import Corrupt
from ...files import Replacement
from ...lean.hashing import sha256
from .osv import Affected, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from .osv import Advisory

_MAGIC = f"underlay advisories 1 {sys.byteorder}\n".encode().ljust(32, b"\0")
_HEAD_FIELDS = Struct("=5Q")
_START = len(_MAGIC) + _HEAD_FIELDS.size
_AGAIN = "fetch or import the advisories again"


class Head(msgspec.Struct):
    """What a file holds: `records` advisories of `family`, up to `newest` (time of the last change), entries by
    `ecosystems`; when they were `fetched` from which `source`. Of a feed: the `etag` of its export, when that was taken
    `whole`, and up to which change it is `followed`. Times are RFC 3339."""

    family: str
    records: int = 0
    newest: str = ""
    fetched: str = ""
    source: str = ""
    etag: str = ""
    whole: str = ""
    followed: str = ""
    ecosystems: dict[str, int] = {}


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One package in one advisory; `record` is where that is in the file."""

    record: int
    affected: Affected


class _RawEntry(msgspec.Struct, array_like=True):
    record: int
    affected: msgspec.Raw


_entries: msgspec.msgpack.Decoder[tuple[str, list[Entry]]] = msgspec.msgpack.Decoder(tuple[str, list[Entry]])
_raw_entries: msgspec.msgpack.Decoder[tuple[str, list[_RawEntry]]] = msgspec.msgpack.Decoder(
    tuple[str, list[_RawEntry]]
)
_record: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_encode = msgspec.msgpack.Encoder().encode


def _hash(key: str) -> int:
    return int.from_bytes(sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "little")


class AdvisoryFile:
    """An open file: its `head`, and when it was last `checked` that this is the newest (seconds since the epoch).

    Raises FileNotFoundError, Corrupt. Close it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            size = facts.st_size
            self.checked = facts.st_mtime
            if size < _START:
                raise Corrupt(f"{path} is not a file of advisories", _AGAIN)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        try:
            self._open(size)
        except BaseException:
            self.close()
            raise

    def _open(self, size: int) -> None:
        if self._map[: len(_MAGIC)] != _MAGIC:
            raise Corrupt(f"{self.path} has another format than this version of underlay reads", _AGAIN)
        head, length, hashes, count, self._records_end = _HEAD_FIELDS.unpack_from(self._map, len(_MAGIC))
        if head + length > size or hashes + 16 * count > head or self._records_end > hashes or hashes % 8:
            raise Corrupt(f"{self.path} is damaged", _AGAIN)
        try:
            self.head = msgspec.msgpack.decode(self._view[head : head + length], type=Head)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt(f"{self.path} is damaged: {error}", _AGAIN) from None
        self._hashes = self._view[hashes : hashes + 8 * count].cast("Q")
        self._offsets = self._view[hashes + 8 * count : hashes + 16 * count].cast("Q")
        self._end = hashes

    def entries(self, ecosystem: str, name: str) -> list[Entry]:
        """Return what is known of a package; raises Corrupt."""
        key = f"{ecosystem}\0{name}"
        wanted = _hash(key)
        at = bisect_left(self._hashes, wanted)
        while at < len(self._hashes) and self._hashes[at] == wanted:
            try:
                stored_key, entries = _entries.decode(self._value(at))
            except (msgspec.MsgspecError, ValueError) as error:
                raise Corrupt(f"{self.path} is damaged: {error}", _AGAIN) from None
            if stored_key == key:
                return entries
            at += 1
        return []

    def _value(self, at: int) -> memoryview:
        start = self._offsets[at]
        length = int.from_bytes(self._view[start : start + 4], "little")
        return self._view[start + 4 : min(start + 4 + length, self._end)]

    def record(self, offset: int) -> Record:
        """Return the record of an entry; raises Corrupt."""
        try:
            return _record.decode(self._record(offset))
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt(f"{self.path} is damaged: {error}", _AGAIN) from None

    def _record(self, offset: int) -> memoryview:
        length = int.from_bytes(self._view[offset : offset + 4], "little")
        return self._view[offset + 4 : min(offset + 4 + length, self._records_end)]

    def everything(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield (key, offset of the record, encoded Affected) for all entries; raises Corrupt."""
        try:
            for at in range(len(self._offsets)):
                key, entries = _raw_entries.decode(self._value(at))
                for entry in entries:
                    yield key, entry.record, bytes(entry.affected)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt(f"{self.path} is damaged: {error}", _AGAIN) from None

    def close(self) -> None:
        """Unmap the file."""
        for name in ("_hashes", "_offsets", "_view"):
            view = getattr(self, name, None)
            if view is not None:
                view.release()
        self._map.close()

    def __enter__(self) -> AdvisoryFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Builder:
    """The content of a file to be: advisories by id, of which a later one takes the place of an earlier."""

    def __init__(self, family: str) -> None:
        self.head = Head(family)
        self._records: dict[str, bytes] = {}
        self._affected: dict[str, list[tuple[str, bytes]]] = {}
        self._newest = ""

    def __len__(self) -> int:
        return len(self._records)

    def load(self, file: AdvisoryFile) -> None:
        """Take over what an earlier file holds; raises Corrupt."""
        ids: dict[int, str] = {}
        same: dict[bytes, bytes] = {}
        for key, offset, affected in file.everything():
            if offset not in ids:
                record = file.record(offset)
                ids[offset] = record.id
                self._records[record.id] = _encode(record)
                self._affected[record.id] = []
            self._affected[ids[offset]].append((key, same.setdefault(affected, affected)))
        self.head = file.head
        self._newest = file.head.newest

    def add(self, advisory: Advisory) -> None:
        """Take an advisory, or take it away when it is withdrawn or affects nothing of this family any more."""
        record = advisory.record
        self._newest = max(self._newest, record.modified)
        pairs = []
        for ecosystem, name, affected in advisory.affected:
            if ecosystem.partition(":")[0] == self.head.family:
                pairs.append((sys.intern(f"{ecosystem}\0{name}"), _encode(affected)))
        self.remove(record.id)
        if pairs:
            self._records[record.id] = _encode(record)
            self._affected[record.id] = pairs

    def remove(self, name: str) -> None:
        """Take the advisory with this id away, if it is there."""
        self._records.pop(name, None)
        self._affected.pop(name, None)

    def write(self, path: str, **facts: Any) -> Head:
        """Write the file in one step; `facts` are members of Head. Returns what it holds."""
        with Replacement(path) as fd, open(fd, "w+b", buffering=1 << 20, closefd=False) as file:
            return self._write(file, facts)

    def _write(self, file: BinaryIO, facts: dict[str, Any]) -> Head:
        file.write(bytes(_START))
        at = _START
        values: dict[str, list[_RawEntry]] = {}
        ecosystems: dict[str, int] = {}
        for name, record in self._records.items():
            file.write(len(record).to_bytes(4, "little") + record)
            for key, affected in self._affected[name]:
                values.setdefault(key, []).append(_RawEntry(at, msgspec.Raw(affected)))
                ecosystem = key.partition("\0")[0]
                ecosystems[ecosystem] = ecosystems.get(ecosystem, 0) + 1
            at += 4 + len(record)
        records_end = at
        table = []
        for key in sorted(values):
            value = _encode((key, values[key]))
            table.append((_hash(key), at))
            file.write(len(value).to_bytes(4, "little") + value)
            at += 4 + len(value)
        file.write(bytes(-at % 8))
        at += -at % 8
        table.sort()
        for column in (0, 1):
            for row in table:
                file.write(row[column].to_bytes(8, sys.byteorder))
        head_offset = at + 16 * len(table)
        plain = {
            "family": self.head.family,
            "records": len(self._records),
            "newest": self._newest,
            "ecosystems": ecosystems,
        }
        kept = {name: getattr(self.head, name) for name in ("fetched", "source", "etag", "whole", "followed")}
        head = Head(**{**plain, **kept, **facts})
        encoded = _encode(head)
        file.write(encoded)
        file.seek(0)
        file.write(_MAGIC + _HEAD_FIELDS.pack(head_offset, len(encoded), at, len(table), records_end))
        return head
