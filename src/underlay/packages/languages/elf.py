"""Sections of an ELF executable by name (gABI, "Sections"), as far as compilers note there what they built from.

Files are hostile: all counts and sizes are bounded, and what is broken has no sections.
"""

from __future__ import annotations

from struct import Struct, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]  # offset, size: returns as many bytes as there are

_SECTIONS_LIMIT = 4096
_NAMES_LIMIT = 1 << 20
_NOBITS = 8  # a section without bytes in the file


class Section:
    """Where a section lies: `offset` in the file and `address` in memory, `size` in bytes."""

    __slots__ = ("address", "offset", "size")

    def __init__(self, address: int, offset: int, size: int) -> None:
        self.address = address
        self.offset = offset
        self.size = size


class Sections:
    """The sections of a file by name; `pointer` is the size of an address in bytes, `order` that of its bytes."""

    __slots__ = ("by_name", "order", "pointer")

    def __init__(self, by_name: dict[bytes, Section], pointer: int, order: str) -> None:
        self.by_name = by_name
        self.pointer = pointer
        self.order = order

    def offset(self, address: int) -> int:
        """Return where in the file an address of memory is, -1 when no section has it."""
        for section in self.by_name.values():
            if section.address and section.address <= address < section.address + section.size:
                return section.offset + address - section.address
        return -1


def sections(read: Read) -> Sections | None:
    """Return the sections of a file, None when it is no ELF file or has none. Never raises on what is in it."""
    head = read(0, 64)
    if len(head) < 52 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    order, wide = "<" if head[5] == 1 else ">", head[4] == 2
    try:
        table, _, _, _, _, entry_size, count, names_index = Struct(
            order + ("QIHHHHHH" if wide else "IIHHHHHH")
        ).unpack_from(head, 40 if wide else 32)
    except error:
        return None
    layout = Struct(order + ("IIQQQQ" if wide else "IIIIII"))  # name, kind, flags, address, offset, size
    if entry_size < layout.size or count > _SECTIONS_LIMIT or names_index >= count:
        return None
    data = read(table, entry_size * count)
    if len(data) < entry_size * count:
        return None
    rows = [layout.unpack_from(data, number * entry_size) for number in range(count)]
    names = read(rows[names_index][4], min(rows[names_index][5], _NAMES_LIMIT))
    by_name: dict[bytes, Section] = {}
    for name, kind, _, address, offset, size in rows:
        if kind != _NOBITS:
            by_name.setdefault(names[name : names.find(b"\0", name)], Section(address, offset, size))
    return Sections(by_name, 8 if wide else 4, "little" if order == "<" else "big")
