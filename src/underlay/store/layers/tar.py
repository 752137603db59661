"""Reading tar headers in one pass: a layer's bytes are pushed through, its table of contents comes out.

Formats: pax (POSIX.1-2017, utility pax), ustar, GNU (tar manual, "Basic Tar Format" and "Sparse Formats"),
star and v7. Where they leave room, the reader does what Go's archive/tar does, since docker, containerd and
umoci use it: a member must mean the same here as there.
"""

from __future__ import annotations

import struct
from zlib import adler32

import msgspec

from ...errors import Corrupt, LimitExceeded
from ..limits import DEFAULT
from . import toc
from .tarfields import decimal, number, records, text, time, xattrs
from .toc import Entry, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..limits import Limits

BLOCK = 512
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
_ZERO = bytes(BLOCK)
_REGULAR = b"0\0\x007"
_SIMPLE = {
    b"1": toc.HARDLINK,
    b"2": toc.SYMLINK,
    b"3": toc.CHARACTER,
    b"4": toc.BLOCK,
    b"5": toc.DIRECTORY,
    b"6": toc.FIFO,
}
# What a global header may set: the rest makes no sense for more than one member.
_GLOBAL = (b"uid", b"gid", b"mtime")


class Sparse(msgspec.Struct, frozen=True):
    """A sparse member: the bytes of its `pieces` (offset in the file, length) follow each other in the tar.

    They do so from byte `start`; the member is entry number `index`.
    """

    index: int
    start: int
    pieces: list[tuple[int, int]]


class Reader:
    """Push reader: `feed` the tar piece by piece, then `finish`; the members are in `entries` and `sparse`.

    Member data is skipped, never copied. A sparse member's entry has offset 0 and part SPARSE: the code that keeps
    the tar expands it and fills in the place. Both methods raise Corrupt for what is no tar and LimitExceeded
    for what is beyond `limits`; the message names the member and the byte at which its header starts.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.entries: list[Entry] = []
        self.sparse: list[Sparse] = []
        self.ended = False
        self._limits = limits
        self._offset = 0  # of the next byte to be consumed
        self._start = 0  # of the present member's first header
        self._skip = 0
        self._padding = 0  # how much of what is skipped last is padding
        self._need = BLOCK
        self._pending: bytearray | None = None
        self._consume: Callable[[bytes], None] = self._header
        self._zero_seen = False
        self._trailing = 0
        self._metadata = 0
        self._pieces_total = 0
        self._sparse_total = 0
        self._global: dict[bytes, bytes] = {}
        self._extensions = 0
        self._pax: dict[bytes, bytes] | None = None
        self._pax_map: list[tuple[int, int]] | None = None
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None
        # A sparse member whose map is still being read.
        self._entry: Entry | None = None
        self._pieces: list[tuple[int, int]] = []
        self._data_size = 0
        self._map_text = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece of the tar, of any length."""
        size = len(data)
        position = 0
        while not self.ended:
            if self._skip:
                step = min(self._skip, size - position)
                self._skip -= step
                self._offset += step
                position += step
                if self._skip:
                    return
            need = self._need
            pending = self._pending
            if pending is None:
                if size - position < need:
                    if position < size:
                        self._pending = bytearray(data[position:])
                    return
                unit = data[position : position + need]
                position += need
            else:
                step = min(need - len(pending), size - position)
                pending += data[position : position + step]
                position += step
                if len(pending) < need:
                    return
                unit = bytes(pending)
                self._pending = None
            self._offset += need
            try:
                self._consume(unit)
            except ValueError as error:
                raise self._bad(str(error)) from None
        self._trailing += size - position
        if self._trailing > self._limits.trailing:
            raise LimitExceeded(f"more than {self._limits.trailing} bytes follow the end of the tar")

    def _skip_data(self, size: int) -> None:
        self._padding = -size % BLOCK
        self._skip = size + self._padding

    def finish(self) -> None:
        """Say that no more bytes come. The end marker may be missing, and the padding of the last member with it
        (umoci insert writes such tars); a member's data may not."""
        if self.ended:
            return
        if 0 < self._skip <= self._padding:
            self._skip = 0
            self._move_last()
        if self._skip or self._pending or self._consume != self._header:
            where = shown(self.entries[-1].name) if self.entries and self._skip else "a header"
            raise Corrupt(f"the tar ends in the middle of {where}, at byte {self._offset}")
        if self._extensions:
            raise Corrupt(f"the tar ends after an extension header, at byte {self._offset}")
        self.ended = True

    def _move_last(self) -> None:
        """Treat the last member as a sparse one of one piece: where its data ends within a block the tar has no whole
        block to be read, and the kernel reads an index's files by blocks."""
        last = self.entries[-1]
        if last.kind == toc.REGULAR and last.part == toc.TAR and last.size:
            self.sparse.append(Sparse(len(self.entries) - 1, last.offset, [(0, last.size)]))
            self.entries[-1] = msgspec.structs.replace(last, offset=0, part=toc.SPARSE)

    # Header blocks

    def _header(self, block: bytes) -> None:
        if not self._extensions:
            self._start = self._offset - BLOCK
        if block == _ZERO:
            if self._zero_seen:
                if self._extensions:
                    raise self._bad("an extension header without a member")
                self.ended = True
            self._zero_seen = True
            return
        if self._zero_seen:
            raise self._bad("a header after a block of zeros")
        fields = _HEADER.unpack(block)
        self._check(block, fields[6])
        size = number(fields[4], "size")
        if size < 0:
            raise self._bad("a negative size")
        if size > self._limits.total:
            raise self._beyond(f"a size of {size} bytes")
        flag: bytes = fields[7]
        if flag in b"xgLKX":
            self._extension(flag, size)
            return
        self._member(block, fields, flag, size)

    def _check(self, block: bytes, field: bytes) -> None:
        """Compare the checksum; a sum over signed bytes, as some old writers made it, is accepted too."""
        # adler32's low half is 1 + the sum modulo 65521, and no half of a header can sum up to that: exact,
        # and thirty times as fast as a loop.
        checksum = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2 - sum(field) + 256
        expected = number(field, "checksum")
        if checksum != expected:
            high = sum(1 for byte in block[:148] + block[156:] if byte >= 128)
            if checksum - 256 * high != expected:
                raise self._bad("a wrong header checksum")

    def _member(self, block: bytes, fields: tuple[bytes, ...], flag: bytes, size: int) -> None:
        name = text(fields[0])
        link = text(fields[8])
        magic = block[257:265]
        modern = magic[:5] == b"ustar"
        if modern and magic[5:6] == b"\0":
            prefix = block[345:476] if block[508:] == b"tar\0" else fields[14]
            if prefix[0]:
                name = text(prefix) + b"/" + name
        pax = self._pax
        if pax is None and self._global:
            pax = {}
        uid = gid = 0
        mtime = nsec = 0
        attributes: tuple[tuple[bytes, bytes], ...] = ()
        if pax is None:
            uid = number(fields[2], "uid")
            gid = number(fields[3], "gid")
            mtime = number(fields[5], "mtime")
        else:
            if self._global:
                pax = {**self._global, **pax}
            name = pax.get(b"path") or name
            link = pax.get(b"linkpath") or link
            uid = _pax_number(pax, "uid", fields[2])
            gid = _pax_number(pax, "gid", fields[3])
            size = _pax_number(pax, "size", fields[4])
            value = pax.get(b"mtime")
            if value:
                mtime, nsec = time(value)
            else:
                mtime = number(fields[5], "mtime")
            attributes = self._attributes(pax)
        if self._long_name is not None:
            name = self._long_name
        if self._long_link is not None:
            link = self._long_link
        self._check_values(name, uid, gid, size, mtime)
        sparse_name = self._sparse_name(pax) if pax else None
        if sparse_name is not None:
            name = sparse_name

        major = minor = 0
        kind = _SIMPLE.get(flag, toc.REGULAR)
        if kind == toc.REGULAR:
            if flag not in _REGULAR and flag != b"S":
                if flag == b"V":  # a volume's label
                    self._reset()
                    return
                raise self._bad(f"an unknown type {flag!r}")
            link = b""
            if flag == b"\0" and name.endswith(b"/"):
                kind = toc.DIRECTORY  # the convention from before type 5
        elif kind in (toc.CHARACTER, toc.BLOCK):
            # v7 has no fields for the numbers.
            if modern:
                major = number(fields[12], "major")
                minor = number(fields[13], "minor")
            if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
                raise self._bad(f"device number {major}:{minor}")
        elif kind == toc.SYMLINK:
            if not link or len(link) > self._limits.link or b"\0" in link:
                raise self._bad("an empty or too long link target")
        elif kind == toc.HARDLINK and (not link or len(link) > self._limits.path):
            raise self._bad("an empty or too long link target")
        data = size if kind == toc.REGULAR else 0
        if kind not in (toc.SYMLINK, toc.HARDLINK):
            link = b""
        mode = number(fields[1], "mode") & 0o7777
        regular = kind == toc.REGULAR
        entry = Entry(
            name, kind, mode, uid, gid, size if regular else 0, mtime, nsec,
            self._offset if regular else 0, toc.TAR, link, major, minor, attributes,
        )  # fmt: skip
        limits = self._limits
        if len(self.entries) >= limits.members:
            raise LimitExceeded(f"the tar has more than {limits.members} members")
        self._metadata += len(name) + len(link) + sum(len(k) + len(v) for k, v in attributes)
        if self._metadata > limits.metadata:
            raise LimitExceeded(f"names and attributes of the tar are larger than {limits.metadata} bytes")
        self._data_size = data
        if flag == b"S":
            self._old_sparse(entry, block)
            return
        if pax and regular and (pieces := self._pax_sparse(entry, pax)) is not None:
            if pieces:
                self._commit_sparse(pieces[0])
            return
        self._skip_data(data)
        self.entries.append(entry)
        if self._extensions:
            self._reset()

    def _reset(self) -> None:
        self._extensions = 0
        self._pax = None
        self._pax_map = None
        self._long_name = None
        self._long_link = None
        self._consume = self._header
        self._need = BLOCK

    def _check_values(self, name: bytes, uid: int, gid: int, size: int, mtime: int) -> None:
        # 2^32 - 1 is "no change" to chown(2), so no file can have it.
        if not (0 <= uid < 0xFFFFFFFF and 0 <= gid < 0xFFFFFFFF):
            raise self._bad(f"owner {uid}:{gid}")
        if not 0 <= size <= self._limits.total:
            raise self._beyond(f"a size of {size} bytes")
        if not -(1 << 63) <= mtime < 1 << 63:
            raise self._bad(f"modification time {mtime}")
        self._check_name(name)

    def _check_name(self, name: bytes) -> None:
        limits = self._limits
        if not name:
            raise self._bad("an empty name")
        if len(name) > limits.component:
            if len(name) > limits.path:
                raise self._beyond(f"a path of {len(name)} bytes")
            if max(map(len, name.split(b"/"))) > limits.component:
                raise self._beyond("a path component of more than 255 bytes")
        if b"\0" in name:
            raise self._bad("a NUL in its name")

    # Extension headers

    def _extension(self, flag: bytes, size: int) -> None:
        limits = self._limits
        self._extensions += 1
        if self._extensions > limits.extensions:
            raise self._beyond(f"more than {limits.extensions} extension headers")
        if size > (limits.long_name if flag in b"LK" else limits.pax):
            raise self._beyond(f"an extension header of {size} bytes")
        if not size:
            raise self._bad("an empty extension header")
        self._need = (size + BLOCK - 1) & -BLOCK

        def consume(unit: bytes) -> None:
            self._need = BLOCK
            self._consume = self._header
            data = unit[:size]
            if flag == b"L":
                self._long_name = text(data)
            elif flag == b"K":
                self._long_link = text(data)
            elif flag == b"g":
                global_records, _ = records(data)
                for key in _GLOBAL:
                    if key in global_records:
                        self._global[key] = global_records[key]
                self._extensions -= 1  # a global header stands for itself
                self._global_seen()
            else:
                self._pax, self._pax_map = records(data)

        self._consume = consume

    def _global_seen(self) -> None:
        # Global headers count as members, else an endless run of them would not be bounded.
        self._metadata += 2 * BLOCK
        if self._metadata > self._limits.metadata:
            raise LimitExceeded(f"extension headers of the tar are larger than {self._limits.metadata} bytes")

    def _attributes(self, pax: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
        attributes = xattrs(pax)
        if len(attributes) > self._limits.xattrs:
            raise self._beyond(f"{len(attributes)} extended attributes")
        for value in attributes.values():
            if len(value) > self._limits.xattr_value:
                raise self._beyond(f"an extended attribute of {len(value)} bytes")
        return tuple(sorted(attributes.items()))

    # Sparse members

    def _sparse_name(self, pax: dict[bytes, bytes]) -> bytes | None:
        name = pax.get(b"GNU.sparse.name")
        if name:
            self._check_name(name)
        return name or None

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        size = number(block[483:495], "real size")
        self._entry = self._sized(entry, size)
        self._pieces = []
        full = self._old_pieces(block[386:482])
        if block[482] and full:
            self._consume = self._old_sparse_more
        elif block[482]:
            raise self._bad("a malformed sparse map")
        else:
            self._commit_sparse(self._pieces)

    def _old_sparse_more(self, block: bytes) -> None:
        full = self._old_pieces(block[:504])
        if block[504]:
            if not full:
                raise self._bad("a malformed sparse map")
            return
        self._commit_sparse(self._pieces)

    def _old_pieces(self, table: bytes) -> bool:
        """Add the pieces of one table; return whether it was full."""
        for at in range(0, len(table), 24):
            if not table[at]:
                return False
            offset = number(table[at : at + 12], "sparse offset")
            length = number(table[at + 12 : at + 24], "sparse length")
            self._pieces.append((offset, length))
        self._count_pieces(len(self._pieces))
        return True

    def _pax_sparse(self, entry: Entry, pax: dict[bytes, bytes]) -> list[list[tuple[int, int]]] | None:
        """Start a sparse member in one of the three pax forms.

        None: not sparse. An empty list: the map is in the data and comes later. Else the map, in a list.
        """
        major = pax.get(b"GNU.sparse.major")
        minor = pax.get(b"GNU.sparse.minor")
        if (major, minor) == (b"1", b"0"):
            self._entry = self._sized(entry, decimal(pax.get(b"GNU.sparse.realsize", b""), "real size"))
            self._pieces = []
            self._map_text = b""
            self._consume = self._map_block
            return []
        table = pax.get(b"GNU.sparse.map")
        if table is None and self._pax_map is None:
            if major is not None and (major, minor) not in ((b"0", b"0"), (b"0", b"1")):
                raise self._bad("an unknown sparse format")
            if b"GNU.sparse.size" not in pax:
                return None
        pieces = self._pax_map or []
        if table:
            numbers = table.split(b",")
            self._count_pieces(len(numbers) // 2)
            if len(numbers) % 2:
                raise self._bad("a malformed sparse map")
            values = [decimal(n, "sparse map") for n in numbers]
            pieces = list(zip(values[::2], values[1::2], strict=True))
        self._entry = self._sized(entry, decimal(pax.get(b"GNU.sparse.size", b""), "real size"))
        return [pieces]

    def _map_block(self, block: bytes) -> None:
        """Take one block of a sparse 1.0 map: decimal lines, the count first (tar manual, "PAX Format 1")."""
        if self._data_size < BLOCK:
            raise self._bad("a malformed sparse map")
        self._data_size -= BLOCK
        # Only complete lines are taken; a number may go on in the next block.
        lines = (self._map_text + block).split(b"\n")
        self._map_text = b""
        count = self._map_count(lines)
        if count is None or len(lines) - 2 < 2 * count:
            if count is None and len(lines[0]) > 20:
                raise self._bad("a malformed sparse map")
            self._keep_map(lines, count)
            return
        values = [decimal(n, "sparse map") for n in lines[1 : 1 + 2 * count]]
        self._pieces += zip(values[::2], values[1::2], strict=True)
        self._commit_sparse(self._pieces)

    def _map_count(self, lines: list[bytes]) -> int | None:
        """Return how many pieces are still to come, None while that line is incomplete."""
        if len(lines) < 2:
            return None
        count = decimal(lines[0], "sparse map")
        self._count_pieces(count + len(self._pieces))
        return count

    def _keep_map(self, lines: list[bytes], count: int | None) -> None:
        """Take the complete pairs out of an incomplete map, so that its text is never scanned twice."""
        if count is None:
            self._map_text = lines[0]
            return
        pairs = (len(lines) - 2) // 2
        values = [decimal(n, "sparse map") for n in lines[1 : 1 + 2 * pairs]]
        self._pieces += zip(values[::2], values[1::2], strict=True)
        self._map_text = b"\n".join([str(count - pairs).encode(), *lines[1 + 2 * pairs :]])

    def _count_pieces(self, count: int) -> None:
        if self._pieces_total + count > self._limits.sparse_pieces:
            raise self._beyond("too many sparse pieces")

    def _sized(self, entry: Entry, size: int) -> Entry:
        self._sparse_total += size
        if size < 0 or self._sparse_total > self._limits.sparse_size:
            raise self._beyond(f"sparse files of {self._sparse_total} bytes")
        return msgspec.structs.replace(entry, size=size, part=toc.SPARSE, offset=0)

    def _commit_sparse(self, pieces: list[tuple[int, int]]) -> None:
        entry = self._entry
        assert entry is not None
        self._count_pieces(len(pieces))
        self._pieces_total += len(pieces)
        end = total = 0
        for offset, length in pieces:
            if offset < end or length < 0 or offset + length > entry.size:
                raise self._bad("a sparse map that overlaps or exceeds the file")
            end = offset + length
            total += length
        if total != self._data_size:
            raise self._bad("a sparse map that does not fit its data")
        pieces = [piece for piece in pieces if piece[1]]
        self.sparse.append(Sparse(len(self.entries), self._offset, pieces))
        self.entries.append(entry)
        self._skip_data(self._data_size)
        self._entry = None
        self._pieces = []
        self._reset()

    # Errors

    def _where(self) -> str:
        last = f", after {shown(self.entries[-1].name)}" if self.entries else ""
        return f"tar member at byte {self._start}{last}"

    def _bad(self, what: str) -> Corrupt:
        return Corrupt(f"{self._where()}: {what}")

    def _beyond(self, what: str) -> LimitExceeded:
        return LimitExceeded(f"{self._where()}: {what}, above the limit for layers")


def _pax_number(pax: dict[bytes, bytes], key: str, field: bytes) -> int:
    """Return the number that a pax record gives, else the header's field."""
    value = pax.get(key.encode())
    return decimal(value, key) if value else number(field, key)
