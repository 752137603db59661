"""Writing the EROFS index of a merged tree: a file system whose files' data lies in the layers' tars.

The format is described in the kernel's Documentation/filesystems/erofs.rst; integers are little-endian.
Blocks are 512 bytes, so that tar members can be addressed in place; each tar is an extra device of the file
system.
"""

from __future__ import annotations

import struct

from ...errors import LimitExceeded
from ..layers import toc
from ..layers.merge import Node, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO, Protocol

    class Output(Protocol):
        """A file that is written from its beginning to its end."""

        def write(self, data: bytes, /) -> int: ...

        def tell(self) -> int: ...


BLOCK = 512
MAGIC = 0xE0F5E1E2
_SLOTS = 1152  # right after the superblock
_SLOT = 128
_INODE = 64
_COMPAT_MTIME = 2
_INCOMPAT = 0x4 | 0x8  # chunk-based files, device table
_PLAIN, _INLINE, _CHUNKS = 0, 2, 4
_INDEXES = 0x20
_MAX_BITS = 31

_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_DEVICE = struct.Struct("<64sII56x")
_HEAD = struct.Struct("<HHHHQIIIIqII16x")
_CHUNK = struct.Struct("<HHI")
_DIRENT = struct.Struct("<QHBx")
_XATTR = struct.Struct("<BBH")

# Index and prefix of attribute names; the access and default lists have no rest.
_PREFIXES = (
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
)
_FORMATS = {
    toc.REGULAR: 0o100000,
    toc.DIRECTORY: 0o040000,
    toc.CHARACTER: 0o020000,
    toc.BLOCK: 0o060000,
    toc.FIFO: 0o010000,
    toc.SOCKET: 0o140000,
    toc.SYMLINK: 0o120000,
}


class Device:
    """A file with the data of files: part `part` (`toc.TAR` or `toc.SPARSE`) of layer number `layer`.

    `size` is its length in bytes. `tag`, at most 64 bytes, is for people who look into the index.
    """

    __slots__ = ("layer", "part", "size", "tag")

    def __init__(self, layer: int, part: int, size: int, tag: bytes) -> None:
        self.layer = layer
        self.part = part
        self.size = size
        self.tag = tag


class _Item:
    """An inode's place and what follows it."""

    __slots__ = ("blocks", "layout", "node", "position", "size", "tail", "value", "xattrs")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.xattrs = b""
        self.position = 0
        self.layout = _PLAIN
        self.size = 0  # of the inode's data
        self.value = 0  # the field i_u
        self.tail: bytes | list[tuple[bytes, Node]] = b""  # inline data
        self.blocks: list[list[tuple[bytes, Node]]] = []  # a directory's blocks that are not inline


def write_index(path: str, tree: Tree, devices: Sequence[Device]) -> int:
    """Write the index of `tree` to the new file `path` and return its size in bytes; the caller syncs it.

    `devices` must hold every part that the tree's files lie in; mount options name them in the same order.
    The output depends on the arguments only. Raises LimitExceeded when the blocks of all devices together
    have no 32-bit number (2 TiB), OSError from writing.
    """
    writer = _Writer(tree, devices)
    with open(path, "xb", buffering=1 << 20) as file:
        return writer.write(file)


def is_index(path: str, tree: Tree, devices: Sequence[Device]) -> bool:
    """Tell whether the file `path` is what `write_index` would write; nothing is written. Raises as that does."""
    writer = _Writer(tree, devices)
    with open(path, "rb", buffering=1 << 20) as file:
        compared = _Compared(file)
        writer.write(compared)
        return compared.alike and not file.read(1)


class _Compared:
    """Takes what is written for a file and compares it with what is there: `alike` as long as it is the same."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self.alike = True

    def write(self, data: bytes) -> int:
        self.alike = self.alike and self._file.read(len(data)) == data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


_PAGE = 4096


class _Writer:
    def __init__(self, tree: Tree, devices: Sequence[Device]) -> None:
        self._tree = tree
        self._devices = devices
        self._numbers = {(d.layer, d.part): i + 1 for i, d in enumerate(devices)}
        self._items: list[_Item] = []
        self._nids: dict[int, int] = {}  # id of node → inode number
        self._end = (_SLOTS + _SLOT * len(devices) + 31) & -32
        self._free = 0  # first block after the metadata, then after all blocks given away

    def write(self, file: Output) -> int:
        count = self._tree.count_links()
        self._place()
        self._write_super(file, count)
        position = file.tell()
        for number, item in enumerate(self._items):
            file.write(bytes(item.position - position))
            position = item.position + file.write(self._inode(item, number + 1))
        file.write(bytes(-position % BLOCK))
        for item in self._items:
            if item.blocks or (item.layout == _PLAIN and item.tail):
                self._write_blocks(file, item)
        size = file.tell()
        # Linux 7 reads the superblock by whole pages and refuses a file that ends within the first one.
        size += file.write(bytes(-size % _PAGE))
        assert size == self._free * BLOCK
        return size

    # Where everything goes

    def _place(self) -> None:
        # The root first: its number has 16 bits only. Then each directory's files beside each other.
        self._put(self._tree.root)
        seen = self._nids
        for _, directory in self._tree.directories():
            if id(directory) not in seen:
                self._put(directory)
            children = directory.children or {}
            for name in sorted(children):
                child = children[name]
                if child.children is None and id(child) not in seen:
                    self._put(child)
        self._free = (self._end + BLOCK - 1) // BLOCK
        for item in self._items:
            full = len(item.blocks)
            if item.layout == _PLAIN and item.tail:
                full += (_length(item.tail) + BLOCK - 1) // BLOCK
            if full:
                item.value = self._free
                self._free += full
        self._free += -self._free % (_PAGE // BLOCK)
        total = self._free + sum((d.size + BLOCK - 1) // BLOCK for d in self._devices)
        if total >= 1 << 32:
            raise LimitExceeded(f"the image's layers hold {total * BLOCK} bytes, an index can address 2 TiB")

    def _put(self, node: Node) -> None:
        entry = node.entry
        item = _Item(node)
        kind = entry.kind
        if entry.xattrs:
            item.xattrs = _xattr_block(node)
        extra = len(item.xattrs)
        following = 0
        if node.children is not None:
            item.blocks, item.size = _directory_blocks(node)
            item.tail = item.blocks.pop()
            item.layout = _INLINE
        elif kind == toc.SYMLINK:
            item.tail = entry.link
            item.size = len(entry.link)
            item.layout = _INLINE if item.size <= BLOCK // 2 else _PLAIN
        elif kind == toc.REGULAR:
            item.size = entry.size
            if entry.size:
                item.layout = _CHUNKS
                bits = min(((entry.size - 1) // BLOCK).bit_length(), _MAX_BITS)
                item.value = bits | _INDEXES
                chunks = (entry.size - 1 >> (bits + 9)) + 1
                extra = (extra + 7) & -8  # indexes are aligned to their size
                following = _CHUNK.size * chunks
        elif kind in (toc.CHARACTER, toc.BLOCK):
            # The kernel's new_encode_dev(): 12 bits of major between 8 and 12 bits of minor.
            item.value = entry.minor & 0xFF | entry.major << 8 | (entry.minor & ~0xFF) << 12
        start = self._end
        if item.layout == _INLINE:
            following = _length(item.tail)
            # Inline data must not cross a block's end. Should moving on not help, it gets a block of its own.
            if (start + _INODE + extra) % BLOCK + following > BLOCK:
                moved = start + -(start + _INODE + extra) % BLOCK + 31 & -32
                if (moved + _INODE + extra) % BLOCK + following <= BLOCK:
                    start = moved
                else:
                    item.layout = _PLAIN
                    following = 0
        item.position = start
        self._end = (start + _INODE + extra + following + 31) & -32
        self._items.append(item)
        self._nids[id(node)] = start // 32

    # Bytes

    def _write_super(self, file: Output, count: int) -> None:
        root = self._nids[id(self._tree.root)]
        file.write(bytes(1024))
        file.write(
            _SUPER.pack(
                MAGIC, 0, _COMPAT_MTIME, 9, 0, root, count, 0, 0, self._free, 0, 0, b"", b"",
                _INCOMPAT, 0, len(self._devices), _SLOTS // _SLOT, 0, 0, 0, 0, 0,
            )
        )  # fmt: skip
        mapped = self._free
        for device in self._devices:
            blocks = (device.size + BLOCK - 1) // BLOCK
            file.write(_DEVICE.pack(device.tag, blocks, mapped))
            mapped += blocks

    def _inode(self, item: _Item, number: int) -> bytes:
        node = item.node
        entry = node.entry
        count = (len(item.xattrs) - 12) // 4 + 1 if item.xattrs else 0
        # Linux gives every symbolic link this mode (symlink(7)), whatever a tar says.
        mode = 0o777 if entry.kind == toc.SYMLINK else entry.mode
        head = _HEAD.pack(
            1 | item.layout << 1, count, _FORMATS[entry.kind] | mode, 0, item.size, item.value, number,
            entry.uid, entry.gid, entry.mtime, entry.nsec, node.nlink,
        )  # fmt: skip
        if item.layout == _CHUNKS:
            device = self._numbers[node.layer, entry.part]
            first = entry.offset // BLOCK
            step = 1 << (item.value & _MAX_BITS)
            chunks = (item.size - 1) // (step * BLOCK) + 1
            indexes = b"".join([_CHUNK.pack(0, device, first + i * step) for i in range(chunks)])
            return head + item.xattrs + bytes(-len(item.xattrs) % 8) + indexes
        if item.layout == _INLINE:
            return head + item.xattrs + self._data(item, item.tail)
        return head + item.xattrs

    def _data(self, item: _Item, data: bytes | list[tuple[bytes, Node]]) -> bytes:
        if isinstance(data, bytes):
            return data
        nids = self._nids
        heads = []
        names = []
        offset = _DIRENT.size * len(data)
        for name, node in data:
            heads.append(_DIRENT.pack(nids[id(node)], offset, node.entry.kind))
            names.append(name)
            offset += len(name)
        return b"".join(heads + names)

    def _write_blocks(self, file: Output, item: _Item) -> None:
        for block in item.blocks:
            data = self._data(item, block)
            file.write(data + bytes(-len(data) % BLOCK))
        if item.layout == _PLAIN and item.tail:
            data = self._data(item, item.tail)
            file.write(data + bytes(-len(data) % BLOCK))


def _length(data: bytes | list[tuple[bytes, Node]]) -> int:
    if isinstance(data, bytes):
        return len(data)
    return sum([_DIRENT.size + len(name) for name, _ in data])


def _directory_blocks(node: Node) -> tuple[list[list[tuple[bytes, Node]]], int]:
    """Return a directory's entries block by block, and its size: whole blocks and what the last one holds."""
    children = node.children or {}
    names = sorted([*children, b".", b".."])
    blocks: list[list[tuple[bytes, Node]]] = []
    block: list[tuple[bytes, Node]] = []
    used = 0
    for name in names:
        need = _DIRENT.size + len(name)
        if used + need > BLOCK:
            blocks.append(block)
            block = []
            used = 0
        used += need
        child = children.get(name)
        if child is None:
            child = node if name == b"." else node.parent
        block.append((name, child))
    blocks.append(block)
    return blocks, BLOCK * (len(blocks) - 1) + used


def _xattr_block(node: Node) -> bytes:
    """Return the inline attributes of a node: a header of 12 bytes, then entries padded to 4."""
    entries = []
    for name, value in node.xattrs:
        for index, prefix in _PREFIXES:
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                data = _XATTR.pack(len(rest), index, len(value)) + rest + value
                entries.append(data + bytes(-len(data) % 4))
                break
    if not entries:
        return b""
    block = bytes(12) + b"".join(entries)
    if len(block) > 4 * 0xFFFF:
        raise LimitExceeded(f"{toc.shown(node.entry.name)} has {len(block)} bytes of extended attributes")
    return block
