"""Writing an empty ext4 file system into a sparse file, without a program of the host (kernel, filesystems/ext4).

Blocks of 4096 bytes, groups of 32768; a journal, so that a host that went down leaves it whole; checksums of group
descriptors (gdt_csum), so that bitmaps and inode tables of unused groups need not be written. What is
written is the superblock and its copies, the descriptors, the first and the last group's bitmaps, the journal's head, and
the directories / and /lost+found: some hundred kilobytes.
"""

from __future__ import annotations

import os
import struct
import time

from ...errors import InvalidInput

BLOCK = 4096
_GROUP = 32768  # blocks, as many as the bits of a block
_INODE = 256
_PER_INODE = 16384  # bytes of the file system for each inode, mke2fs(8)'s default
_FIRST = 11  # the first inode that is not reserved: /lost+found
_ROOT, _JOURNAL = 2, 8
MINIMUM = 16 << 20
MAXIMUM = (1 << 44) - (_GROUP * BLOCK)  # what block numbers of 32 bits can name

_COMPATIBLE = 0x4 | 0x8 | 0x20  # has_journal, ext_attr, dir_index
_INCOMPATIBLE = 0x2 | 0x40  # filetype, extent
_READ_COMPATIBLE = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40  # sparse_super … huge_file, gdt_csum, dir_nlink, extra_isize
_INODES_UNUSED, _BLOCKS_UNUSED, _INODES_ZERO = 1, 2, 4  # flags of a descriptor
_EXTENTS = 0x80000  # flag of an inode


class _Layout:
    """Where everything lies in a file system of `size` bytes."""

    def __init__(self, size: int) -> None:
        self.blocks = size // BLOCK
        while True:
            self.groups = -(-self.blocks // _GROUP)
            wanted = -(-self.blocks * BLOCK // (_PER_INODE * self.groups))
            per_block = BLOCK // _INODE
            self.inodes = max(per_block, -(-wanted // per_block) * per_block)  # of each group
            self.table = self.inodes // per_block  # blocks of a group's inode table
            self.descriptors = -(-self.groups * 32 // BLOCK)  # blocks
            last = self.groups - 1
            if last == 0 or self.length(last) >= self.metadata(last) + 64:
                break
            self.blocks = last * _GROUP  # the last group has no room for its own tables: left out, as mke2fs does
        self.journal = 1024 if self.blocks < 32768 else 4096 if self.blocks < 262144 else 8192
        self.data = self.metadata(0)  # the first block behind the first group's tables
        self.used = self.data + self.journal + 2

    def length(self, group: int) -> int:
        return min(_GROUP, self.blocks - group * _GROUP)

    def head(self, group: int) -> int:
        """Return how many blocks of a group the superblock and the descriptors take (sparse_super: few have copies)."""
        return 1 + self.descriptors if _has_copy(group) else 0

    def metadata(self, group: int) -> int:
        return self.head(group) + 2 + self.table


def _has_copy(group: int) -> bool:
    if group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


def _crc16_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
        table.append(byte)
    return table


def _crc16(data: bytes, crc: int, table: list[int]) -> int:
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


def write(path: str, size: int) -> None:
    """Make the file `path` with an empty file system of `size` bytes; it takes as little room as nothing in it does.

    Raises InvalidInput for sizes out of reach, FileExistsError, OSError.
    """
    if not MINIMUM <= size <= MAXIMUM:
        raise InvalidInput(f"cannot create a file system of {size} bytes: allowed are {MINIMUM} to {MAXIMUM} bytes")
    layout = _Layout(size)
    uuid, now = os.urandom(16), int(time.time())
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, layout.blocks * BLOCK)
        descriptors, free = _descriptors(layout, uuid)
        for group in range(layout.groups):
            if _has_copy(group):
                superblock = _superblock(layout, uuid, now, free, group)
                _put(fd, group * _GROUP, superblock if group else bytes(1024) + superblock)
                _put(fd, group * _GROUP + 1, descriptors)
        _put(fd, layout.head(0), _bitmap(range(layout.used), layout.length(0)))
        _put(fd, layout.head(0) + 1, _bitmap(range(_FIRST), layout.inodes))
        last = layout.groups - 1
        if last:
            block = last * _GROUP + layout.head(last)
            _put(fd, block, _bitmap(range(layout.metadata(last)), layout.length(last)))
        journal, root, lost = layout.data, layout.data + layout.journal, layout.data + layout.journal + 1
        for number, inode in (
            (_ROOT, _inode(0o40755, 3, root, 1, now)),
            (_JOURNAL, _inode(0o100600, 1, journal, layout.journal, now)),
            (_FIRST, _inode(0o40700, 2, lost, 1, now)),
        ):
            os.pwrite(fd, inode, (layout.head(0) + 2) * BLOCK + (number - 1) * _INODE)
        _put(fd, journal, _journal(layout.journal))
        _put(fd, root, _directory(_ROOT, _ROOT, [(b"lost+found", _FIRST)]))
        _put(fd, lost, _directory(_FIRST, _ROOT, []))
        os.fsync(fd)
    finally:
        os.close(fd)


def _put(fd: int, block: int, data: bytes) -> None:
    os.pwrite(fd, data, block * BLOCK)


def _bitmap(used: range, size: int) -> bytes:
    """Return a block of bits, those of `used` and those beyond `size` set."""
    bits = (1 << len(used)) - 1 | ((1 << BLOCK * 8) - 1) ^ ((1 << size) - 1)
    return bits.to_bytes(BLOCK, "little")


def _descriptors(layout: _Layout, uuid: bytes) -> tuple[bytes, int]:
    """Return all group descriptors, and the number of free blocks."""
    table = _crc16_table()
    seed = _crc16(uuid, 0xFFFF, table)
    group_descriptors, total = [], 0
    for group in range(layout.groups):
        start = group * _GROUP + layout.head(group)
        first, last = group == 0, group == layout.groups - 1
        free = layout.length(group) - (layout.used if first else layout.metadata(group))
        unused = layout.inodes - (_FIRST if first else 0)
        # The last group's bitmap is padded, so it must be there.
        flags = _INODES_ZERO | (0 if first else _INODES_UNUSED) | (0 if first or last else _BLOCKS_UNUSED)
        body = struct.pack("<IIIHHHHIHHH", start, start + 1, start + 2, free, unused, 2 * first, flags, 0, 0, 0, unused)
        group_descriptors.append(body + struct.pack("<H", _crc16(struct.pack("<I", group) + body, seed, table)))
        total += free
    return b"".join(group_descriptors), total


def _superblock(layout: _Layout, uuid: bytes, now: int, free: int, group: int) -> bytes:
    journal = _extent(layout.data, layout.journal)
    block = bytearray(1024)
    total = layout.inodes * layout.groups
    fields = struct.pack(
        "<13IHHHHHHIIIIHHIHH3I",
        total, layout.blocks, 0, free, total - _FIRST, 0, 2, 2, _GROUP, _GROUP, layout.inodes, 0, now,
        0, 0xFFFF, 0xEF53, 1, 2, 0,  # clean; after an error it can only be read
        now, 0, 0, 1, 0, 0,
        _FIRST, _INODE, group, _COMPATIBLE, _INCOMPATIBLE, _READ_COMPATIBLE,
    )  # fmt: skip
    block[: len(fields)] = fields
    block[104:120] = uuid
    struct.pack_into("<I", block, 224, _JOURNAL)
    block[236:252] = uuid[::-1]  # seed of the directories' hashes: only that it differs matters
    block[252:254] = b"\x01\x01"  # half MD4; the journal's inode is copied below
    struct.pack_into("<II", block, 256, 0xC, 0)  # by default with user_xattr and acl
    struct.pack_into("<I", block, 264, now)
    block[268:328] = journal
    struct.pack_into("<II", block, 328, 0, layout.journal * BLOCK)
    struct.pack_into("<HHI", block, 348, 32, 32, 1)  # sizes of inodes' second part; hashes of signed characters
    return bytes(block)


def _extent(start: int, length: int) -> bytes:
    """Return the root of an inode's extent tree with one extent."""
    return struct.pack("<HHHHIIHHI", 0xF30A, 1, 4, 0, 0, 0, length, 0, start).ljust(60, b"\0")


def _inode(mode: int, links: int, start: int, length: int, now: int) -> bytes:
    body = struct.pack("<HHIIIIIHHIII", mode, 0, length * BLOCK, now, now, now, 0, 0, links, length * 8, _EXTENTS, 0)
    body = (body + _extent(start, length)).ljust(128, b"\0")
    # The second part: its size, and when the file was made.
    return (body + struct.pack("<HHIIIII", 32, 0, 0, 0, 0, now, 0)).ljust(_INODE, b"\0")


def _directory(own: int, parent: int, children: list[tuple[bytes, int]]) -> bytes:
    entries = [(b".", own), (b"..", parent), *children]
    content = b""
    for position, (name, number) in enumerate(entries):
        length = (8 + len(name) + 3) // 4 * 4 if position < len(entries) - 1 else BLOCK - len(content)
        content += struct.pack("<IHBB", number, length, len(name), 2).ljust(8, b"\0") + name.ljust(length - 8, b"\0")
    return content


def _journal(length: int) -> bytes:
    """Return the superblock of an empty journal (kernel, filesystems/ext4/journal.rst), big-endian."""
    body = struct.pack(">12I", 0xC03B3998, 4, 0, BLOCK, length, 1, 1, 0, 0, 0, 0, 0)
    return (body + bytes(16) + struct.pack(">I", 1)).ljust(1024, b"\0")
