"""Reading the rows of a table from an SQLite file that a stranger wrote, from its bytes.

Not by the library: it would take the file's own schema as a program (views, triggers, expressions), and it wants the
write-ahead log beside a file on disk. Format: "Database File Format" and "WAL-mode File Format" of SQLite. Bounded: a
page is visited once, and all values of a table together are no longer than a few files.
"""

from __future__ import annotations

from struct import error as StructError
from struct import unpack_from

from ..errors import Corrupt, LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Value = bytes | str | int | float | None

_MAGIC = b"SQLite format 3\0"
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_LEAF, _INTERIOR = 13, 5
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_COLUMNS_LIMIT = 100
_FRAME_HEAD = 24


class SqliteFile:
    """A database from its bytes, and those of its write-ahead log; raises Corrupt when it is none."""

    def __init__(self, data: bytes, log: bytes = b"") -> None:
        if len(data) < 512 or data[:16] != _MAGIC:
            raise Corrupt("the file is not an SQLite database")
        size = unpack_from(">H", data, 16)[0]
        self._size = 65536 if size == 1 else size
        self._usable = self._size - data[20]
        if self._size < 512 or self._size & (self._size - 1) or self._usable < 480:
            raise Corrupt("the SQLite database has an invalid page size")
        self._data = data
        self._log = log
        self._newer = _committed(log, self._size)
        # What all values together may take: a chain of pages read again and again would not end else.
        self._left = 4 * (len(data) + len(log))

    def rows(self, table: str) -> Iterator[list[Value]]:
        """Yield the rows of a table, None in place of a column that is the row's number; raises Corrupt."""
        try:
            for row in self._walk(1):
                if len(row) >= 5 and row[0] == "table" and row[1] == table:
                    if not isinstance(row[3], int):
                        raise Corrupt(f"table {table} has no root page")
                    yield from self._walk(row[3])
                    return
        except (StructError, IndexError):
            raise Corrupt("the SQLite database is truncated") from None

    def _page(self, number: int) -> memoryview:
        at = self._newer.get(number)
        if at is not None:
            return memoryview(self._log)[at : at + self._size]
        page = memoryview(self._data)[(number - 1) * self._size : number * self._size]
        if number < 1 or len(page) < self._size:
            raise Corrupt(f"the SQLite database refers to page {number}, which it does not contain")
        return page

    def _walk(self, root: int) -> Iterator[list[Value]]:
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if number in seen:
                raise Corrupt("a b-tree of an SQLite database has a cycle")
            seen.add(number)
            page = self._page(number)
            start = 100 if number == 1 else 0
            kind = page[start]
            (cells,) = unpack_from(">H", page, start + 3)
            head = start + (12 if kind == _INTERIOR else 8)
            if kind not in (_LEAF, _INTERIOR) or head + 2 * cells > self._size:
                raise Corrupt("a page of an SQLite database is not part of a table")
            offsets = unpack_from(f">{cells}H", page, head)
            if kind == _LEAF:
                for offset in offsets:
                    yield self._row(page, offset)
            else:
                waiting.append(unpack_from(">I", page, start + 8)[0])
                waiting += [unpack_from(">I", page, offset)[0] for offset in reversed(offsets)]

    def _row(self, page: memoryview, at: int) -> list[Value]:
        length, at = _varint(page, at)
        _, at = _varint(page, at)  # the row's number
        self._left -= length
        if self._left < 0:
            raise LimitExceeded("the rows of an SQLite database are larger than its file allows")
        most = self._usable - 35
        if length <= most:
            payload = bytes(page[at : at + length])
        else:
            least = (self._usable - 12) * 32 // 255 - 23
            here = least + (length - least) % (self._usable - 4)
            here = here if here <= most else least
            payload = self._overflow(bytes(page[at : at + here]), length, unpack_from(">I", page, at + here)[0])
        if len(payload) < length:
            raise Corrupt("a row of an SQLite database is truncated")
        return _record(payload)

    def _overflow(self, first: bytes, length: int, number: int) -> bytes:
        content = bytearray(first)
        while len(content) < length:
            page = self._page(number)
            (number,) = unpack_from(">I", page, 0)
            content += page[4 : min(self._usable, 4 + length - len(content))]
        return bytes(content)


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes and where it ends."""
    value = 0
    for step in range(8):
        byte = data[at + step]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + step + 1
    return value << 8 | data[at + 8], at + 9


def _record(payload: bytes) -> list[Value]:
    end, at = _varint(payload, 0)
    offset = end
    row: list[Value] = []
    while at < end and len(row) < _COLUMNS_LIMIT:
        kind, at = _varint(payload, at)
        if kind in _INTEGERS:
            size = _INTEGERS[kind]
            row.append(int.from_bytes(payload[offset : offset + size], "big", signed=True))
        elif kind == 7:
            size = 8
            row.append(unpack_from(">d", payload, offset)[0])
        elif kind >= 12:
            size = (kind - 12) // 2
            data = payload[offset : offset + size]
            row.append(data.decode("utf-8", "replace") if kind & 1 else data)
        else:
            size = 0
            row.append({8: 0, 9: 1}.get(kind))
        offset += size
    return row


def _committed(log: bytes, size: int) -> dict[int, int]:
    """Return where in the log the newest whole copy of each page stands: up to the last frame that ends a transaction."""
    if len(log) < 32 or unpack_from(">I", log)[0] not in _WAL_MAGIC or unpack_from(">I", log, 8)[0] != size:
        return {}
    order = ">" if unpack_from(">I", log)[0] & 1 else "<"
    salt = log[16:24]
    sums = _sums(log[:24], order, (0, 0))
    if sums != unpack_from(">II", log, 24):
        return {}
    newest: dict[int, int] = {}
    pending: dict[int, int] = {}
    for at in range(32, len(log) - size - _FRAME_HEAD + 1, size + _FRAME_HEAD):
        if log[at + 8 : at + 16] != salt:
            break  # left from before the log began anew
        sums = _sums(log[at : at + 8], order, sums)
        sums = _sums(log[at + _FRAME_HEAD : at + _FRAME_HEAD + size], order, sums)
        if sums != unpack_from(">II", log, at + 16):
            break
        number, pages = unpack_from(">II", log, at)
        pending[number] = at + _FRAME_HEAD
        if pages:
            newest |= pending
            pending.clear()
    return newest


def _sums(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, other = sums
    words = unpack_from(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = one + even + other & 0xFFFFFFFF
        other = other + odd + one & 0xFFFFFFFF
    return one, other
