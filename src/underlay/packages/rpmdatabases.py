"""Reading rpm's own database (ndb, `Packages.db`) and the Berkeley DB hash that it had before (`Packages`).

Both are read from their bytes, since neither library need be here and the file is a stranger's. ndb: rpm's
lib/backend/ndb/rpmpkg.c, little-endian. Berkeley DB: the layout of pages of a hash as its db_page.h has it, in the byte
order of the machine that wrote it. Every step leads on in a list that is as long as the file at most.
"""

from __future__ import annotations

from struct import error as StructError
from struct import unpack_from

from ..errors import Corrupt, LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NDB_PAGE = 4096
_NDB_SLOT = 16
_NDB_BLOCK = 16
_HASH_MAGIC = 0x061561
_META, _UNSORTED, _SORTED, _OVERFLOW = 8, 2, 13, 7
_KEY_DATA, _OFF_PAGE = 1, 3
_PAGE_HEAD = 26
_TIMES = 4  # all headers together are no longer than the file, unless parts of it are used several times
_SHORTEST = 24  # a header with one tag; the counter that rpm keeps under key 0 has 4 bytes


def _bounded(blobs: Iterator[bytes], most: int) -> Iterator[bytes]:
    for blob in blobs:
        most -= len(blob)
        if most < 0:
            raise LimitExceeded("the headers of an rpm database are larger than its file allows")
        yield blob


def ndb(data: bytes) -> Iterator[bytes]:
    """Yield the headers in an ndb file; raises Corrupt, LimitExceeded."""
    return _bounded(_ndb(data), _TIMES * len(data))


def _ndb(data: bytes) -> Iterator[bytes]:
    if data[:4] != b"RpmP":
        raise Corrupt("Packages.db is not an rpm database")
    try:
        _, _, pages = unpack_from("<III", data, 4)
    except StructError:
        raise Corrupt("Packages.db is truncated") from None
    if not 0 < pages <= len(data) // _NDB_PAGE:
        raise Corrupt("Packages.db has fewer pages than its header says")
    # Slots begin after the head, which takes the room of two.
    for at in range(2 * _NDB_SLOT, pages * _NDB_PAGE, _NDB_SLOT):
        magic, number, block, _ = unpack_from("<4sIII", data, at)
        if magic != b"Slot":
            raise Corrupt("Packages.db has a slot without its magic number")
        if not number or not block:
            continue
        start = block * _NDB_BLOCK
        if start + 16 > len(data):
            raise Corrupt("Packages.db has a slot that points beyond its end")
        mark, same, _, length = unpack_from("<4sIII", data, start)
        if mark != b"BlbS" or same != number or start + 16 + length > len(data):
            raise Corrupt("Packages.db has a slot that points to no package")
        yield data[start + 16 : start + 16 + length]


def berkeley(data: bytes) -> Iterator[bytes]:
    """Yield the headers in a Berkeley DB hash; raises Corrupt, LimitExceeded."""
    try:
        yield from _bounded(_berkeley(data), _TIMES * len(data))
    except (StructError, IndexError):
        raise Corrupt("the database Packages is truncated") from None


def _berkeley(data: bytes) -> Iterator[bytes]:
    order = next((byte_order for byte_order in "<>" if unpack_from(f"{byte_order}I", data, 12)[0] == _HASH_MAGIC), "")
    if not order:
        raise Corrupt("the database Packages is not a Berkeley DB hash")
    (size,) = unpack_from(f"{order}I", data, 20)
    if data[24] or size < 512 or size > 65536 or size & (size - 1):
        raise Corrupt("the database Packages is encrypted, or damaged")
    for page in range(size, len(data) - size + 1, size):
        if data[page + 25] not in (_UNSORTED, _SORTED):
            continue
        entries, _ = unpack_from(f"{order}HH", data, page + 20)
        if _PAGE_HEAD + 2 * entries > size:
            raise Corrupt("the database Packages has a page with more entries than fit")
        offsets = unpack_from(f"{order}{entries}H", data, page + _PAGE_HEAD)
        # Key and value in turn; items are put from the page's end downwards.
        for number in range(1, entries, 2):
            start, end = offsets[number], offsets[number - 1]
            if not _PAGE_HEAD <= start < end <= size:
                raise Corrupt("the database Packages has an entry outside its page")
            item = data[page + start : page + end]
            if item[0] == _OFF_PAGE and len(item) >= 12:
                first, length = unpack_from(f"{order}II", item, 4)
                yield _overflow(data, order, size, first, length)
            elif item[0] == _KEY_DATA and len(item) > _SHORTEST:
                yield item[1:]


def _overflow(data: bytes, order: str, size: int, page: int, length: int) -> bytes:
    """Return a value that fills pages of its own, each naming the next."""
    if length > len(data):
        raise Corrupt("the database Packages has a value longer than the file")
    content = bytearray()
    while len(content) < length:
        at = page * size
        if not page or at + size > len(data) or data[at + 25] != _OVERFLOW:
            raise Corrupt("the database Packages has a truncated value")
        (page,) = unpack_from(f"{order}I", data, at + 16)
        (count,) = unpack_from(f"{order}H", data, at + 22)
        if not 0 < count <= size - _PAGE_HEAD:
            raise Corrupt("the database Packages has a page with an invalid length")
        content += data[at + _PAGE_HEAD : at + _PAGE_HEAD + count]
    return bytes(content[:length])
