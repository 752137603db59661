"""The tar around an image archive: members in order from a file or a stream, and a writer whose bytes never
vary.

Only what image archives hold is understood: files, directories and links under plain names (POSIX.1-2017 pax,
ustar and GNU long names). Nothing is ever extracted; names are keys, checked before anyone uses them.
"""

from __future__ import annotations

import os

from ...errors import Corrupt, LimitExceeded
from ...human import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
PIECE = 1 << 20
MEMBERS_LIMIT = 100_000
_EXTENSION_LIMIT = 1 << 20  # bytes of one pax or long-name header
_EXTENSIONS_LIMIT = 16  # such headers in a row
_SIZE_LIMIT = 1 << 42  # bytes of one member
_FILES = frozenset((b"0", b"\0", b"7"))


class Member:
    """A member: `name` (cleaned, without leading `./` or `/`), `kind` (`file`, `directory`, `link`, `other`),
    `size` in bytes, `link` (target as written, cleaned only for hard links) and `offset` of its data in the
    archive."""

    __slots__ = ("hard", "kind", "link", "name", "offset", "size")

    def __init__(self, name: str, kind: str, size: int, link: str, hard: bool, offset: int) -> None:
        self.name = name
        self.kind = kind
        self.size = size
        self.link = link
        self.hard = hard
        self.offset = offset


class FileSource:
    """Bytes of a seekable file, from the position it had; `start` is that position."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.position = os.lseek(fd, 0, os.SEEK_CUR)
        self.end = os.fstat(fd).st_size

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, b"" at the end."""
        data = os.pread(self.fd, count, self.position)
        self.position += len(data)
        return data

    def skip(self, count: int) -> None:
        """Pass over `count` bytes; raises Corrupt when the file ends before."""
        self.position += count
        if self.position > self.end:
            raise Corrupt("the archive ends in the middle of a member")


class StreamSource:
    """Bytes of a stream that can only be read once; `pull` returns the next piece, b"" at the end."""

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self._pull = pull
        self._rest = memoryview(b"")
        self.position = 0

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, b"" at the end."""
        if not self._rest:
            self._rest = memoryview(self._pull())
        piece = self._rest[:count]
        self._rest = self._rest[count:]
        self.position += len(piece)
        return bytes(piece)

    def skip(self, count: int) -> None:
        """Pass over `count` bytes; raises Corrupt when the stream ends before."""
        while count:
            piece = self.read(min(count, PIECE))
            if not piece:
                raise Corrupt("the archive ends in the middle of a member")
            count -= len(piece)


def members(source: FileSource | StreamSource) -> Iterator[Member]:
    """Yield each member; its data may be read from `source` up to `size` bytes before the next one is asked
    for.

    Raises Corrupt for what is no tar, LimitExceeded beyond the bounds of an image archive.
    """
    name_override = link_override = ""
    pax: dict[str, str] = {}
    extensions = 0
    count = 0
    first = True
    while True:
        block = _exactly(source, BLOCK, allow_end=True)
        if not block or block == bytes(BLOCK):
            if first and not block:
                raise Corrupt("the archive is empty")
            return
        if not _sum_fits(block):
            raise Corrupt(
                "this is not a tar archive" if first else f"damaged tar header at byte {source.position - BLOCK}"
            )
        first = False
        flag = block[156:157]
        size = _number(block[124:136])
        if flag in b"LKxg" and flag:
            extensions += 1
            if size > _EXTENSION_LIMIT or extensions > _EXTENSIONS_LIMIT:
                raise LimitExceeded(f"extension header of {size} bytes is too long (at byte {source.position - BLOCK})")
            data = _exactly(source, -(-size // BLOCK) * BLOCK)[:size]
            if flag == b"L":
                name_override = _text(data)
            elif flag == b"K":
                link_override = _text(data)
            elif flag == b"x":
                pax = _records(data)
            continue
        count += 1
        if count > MEMBERS_LIMIT:
            raise LimitExceeded(f"more than {MEMBERS_LIMIT} members in an image archive")
        if pax.get("size"):
            size = _decimal(pax["size"])
        if any(key.startswith("GNU.sparse") for key in pax) or flag == b"S":
            raise Corrupt("an image archive must not contain sparse members")
        name = pax.get("path") or name_override or _header_name(block)
        link = pax.get("linkpath") or link_override or _text(block[157:257])
        name_override = link_override = ""
        pax = {}
        extensions = 0
        kind = "other"
        if flag in _FILES:
            kind = "directory" if name.endswith("/") else "file"
        elif flag == b"5":
            kind = "directory"
        elif flag in (b"1", b"2"):
            kind = "link"
        if kind != "file":
            size = 0 if kind in ("directory", "link") else size
        if not 0 <= size <= _SIZE_LIMIT:
            raise LimitExceeded(f"member {shown(name)} claims {size} bytes")
        start = source.position
        hard = flag == b"1"
        yield Member(clean(name), kind, size, clean(link) if hard else link, hard, start)
        source.skip(start + -(-size // BLOCK) * BLOCK - source.position)


def clean(name: str) -> str:
    """Return a member's name without `.` components and leading slashes; raises Corrupt when it climbs
    out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise Corrupt(f"member {shown(name)} lies outside of the archive")
    return "/".join(parts)


def shown(name: str) -> str:
    """Return a name for a message: as it is when short and printable, else quoted and cut."""
    return name if len(name) <= 100 and name.isprintable() else f"{name!r:.100}"


def _exactly(source: FileSource | StreamSource, count: int, allow_end: bool = False) -> bytes:
    data = source.read(count)
    while len(data) < count:
        more = source.read(count - len(data))
        if not more:
            if allow_end and not data:
                return b""
            raise Corrupt("the archive ends in the middle of a header")
        data += more
    return data


def _sum_fits(block: bytes) -> bool:
    text = block[148:156].strip(b" \0")
    stated = _octal(text)
    # The sum counts its own field as eight spaces (POSIX.1-2017, pax, "ustar Interchange Format").
    return stated == sum(block) - sum(block[148:156]) + 8 * 32


def _octal(digits: bytes) -> int:
    """Return the number of a field, 0 for an empty one, -1 for what is no octal number."""
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else -1


def is_tar(head: bytes) -> bool:
    """Return whether `head` (512 bytes) begins a tar: a header with a valid checksum, or the zeros of an empty tar."""
    return len(head) >= BLOCK and (_sum_fits(head[:BLOCK]) or head[:BLOCK] == bytes(BLOCK))


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    number = _octal(field.strip(b" \0"))
    if number < 0:
        raise Corrupt("a size in a tar header of the archive is not a number")
    return number


def _decimal(text: str) -> int:
    number = whole(text)
    if number < 0:
        raise Corrupt("a size in a tar header of the archive is not a number")
    return number


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _header_name(block: bytes) -> str:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _records(data: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    while data:
        digits, space, _ = data[:20].partition(b" ")
        if not space or not digits.isdigit():
            raise Corrupt("a malformed pax record in the archive")
        length = int(digits)
        record = data[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if length > len(data) or length <= len(digits) + 1 or not equals or not value.endswith(b"\n"):
            raise Corrupt("a malformed pax record in the archive")
        records[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        data = data[length:]
    return records


# Writing
# ------------------------------------------------------------------------------------------------------------


def header(name: str, size: int, directory: bool = False) -> bytes:
    """Return the header of a member as image archives have them here: no times, no owners, fixed modes.

    Names are ASCII and shorter than 100 bytes; sizes of 8 GiB and more are written in base 256 (GNU), which
    every reader of image archives supports.
    """
    encoded = name.encode("ascii")
    assert len(encoded) < 100
    length = b"%011o\0" % size if size < 1 << 33 else (size | 1 << 95).to_bytes(12, "big")
    block = bytearray(BLOCK)
    block[: len(encoded)] = encoded
    block[100:108] = b"0000755\0" if directory else b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = length
    block[136:148] = b"00000000000\0"
    block[148:156] = b"        "
    block[156:157] = b"5" if directory else b"0"
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padding(size: int) -> bytes:
    """Return the zeros that fill up a member of `size` bytes."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)
