"""What an executable or library says of itself: machine, interpreter, libraries and symbol versions, notes (elf(5), gABI).

Read from hostile files: all sizes and counts are bounded, and what is broken is left out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]  # offset, size → as much as there is
    Text = Callable[[int], str]  # offset in the table of strings → the string

_HEADERS = 256  # program headers that are looked at
_PART = 4 << 20  # bytes of one part of a file
_TEXT = 4096  # bytes of one name
_ENTRIES = 20000
_ET_EXEC, _ET_DYN = 2, 3
_LOAD, _DYNAMIC, _INTERP, _NOTE = 1, 2, 3, 4
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH, _VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = (
    1,
    5,
    10,
    14,
    15,
    29,
    0x6FFFFFFC,
    0x6FFFFFFD,
    0x6FFFFFFE,
    0x6FFFFFFF,
)
_ABI_TAG, _PROPERTY = 1, 5
_X86_NEEDED = 0xC0008002  # GNU_PROPERTY_X86_ISA_1_NEEDED
# Values of e_machine (and the class, and the byte order), by the names that images have (GOARCH).
_MACHINES = {
    (3, 32, "little"): "386",
    (62, 64, "little"): "amd64",
    (62, 32, "little"): "amd64",  # x32
    (40, 32, "little"): "arm",
    (183, 64, "little"): "arm64",
    (21, 64, "little"): "ppc64le",
    (21, 64, "big"): "ppc64",
    (22, 64, "big"): "s390x",
    (243, 64, "little"): "riscv64",
    (258, 64, "little"): "loong64",
    (8, 64, "little"): "mips64le",
    (8, 64, "big"): "mips64",
    (8, 32, "little"): "mipsle",
    (8, 32, "big"): "mips",
}


class Elf:
    """What was found: `architecture` ("" unknown), `bits`, whether the kernel can load it (`executable`).

    `interpreter` and `soname` ("" none), `needed` libraries, `paths` where it wants them looked for.
    `versions` are the symbol versions wanted, by library; `defined` those given. `kernel` is the lowest of the ABI note
    (None without one), `x86_level` that of the ISA note (0 without one), `alignment` the smallest of its segments in bytes
    (0 for no segments).
    """

    __slots__ = (
        "alignment",
        "architecture",
        "bits",
        "defined",
        "executable",
        "interpreter",
        "kernel",
        "needed",
        "paths",
        "soname",
        "versions",
        "x86_level",
    )

    def __init__(self) -> None:
        self.architecture = ""
        self.bits = 0
        self.executable = False
        self.interpreter = self.soname = ""
        self.needed: list[str] = []
        self.paths: list[str] = []
        self.versions: dict[str, list[str]] = {}
        self.defined: list[str] = []
        self.kernel: tuple[int, int, int] | None = None
        self.x86_level = 0
        self.alignment = 0


def read(part: Read) -> Elf | None:
    """Return what a file says, None when it is no ELF file. Never raises on what is in it."""
    try:
        return _Reader(part).elf()
    except (IndexError, ValueError, OverflowError):
        return None


class _Segment:
    __slots__ = ("address", "alignment", "kind", "offset", "size")

    def __init__(self, kind: int, offset: int, address: int, size: int, alignment: int) -> None:
        self.kind = kind
        self.offset = offset
        self.address = address
        self.size = size
        self.alignment = alignment


class _Reader:
    def __init__(self, part: Read) -> None:
        self._part = part
        self._order = "little"
        self._word = 8

    def elf(self) -> Elf | None:
        head = self._part(0, 64)
        if len(head) < 52 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
            return None
        self._order = "little" if head[5] == 1 else "big"
        self._word = 4 if head[4] == 1 else 8
        elf_file = Elf()
        elf_file.bits = self._word * 8
        machine = self._number(head, 18, 2)
        elf_file.architecture = _MACHINES.get((machine, elf_file.bits, self._order), "")
        segments = list(self._segments(head))
        loads = [segment.alignment for segment in segments if segment.kind == _LOAD]
        elf_file.alignment = min(loads, default=0)
        elf_file.executable = bool(loads) and self._number(head, 16, 2) in (_ET_EXEC, _ET_DYN)
        for segment in segments:
            if segment.kind == _INTERP:
                elf_file.interpreter = _named(self._part(segment.offset, min(segment.size, _TEXT)))
            elif segment.kind == _NOTE:
                self._notes(elf_file, self._part(segment.offset, min(segment.size, 1 << 16)), segment.alignment)
            elif segment.kind == _DYNAMIC:
                self._dynamic(elf_file, self._part(segment.offset, min(segment.size, 1 << 16)), segments)
        return elf_file

    def _number(self, data: bytes, offset: int, size: int) -> int:
        piece = data[offset : offset + size]
        if len(piece) < size:
            raise IndexError
        return int.from_bytes(piece, "little" if self._order == "little" else "big")

    def _segments(self, head: bytes) -> Iterator[_Segment]:
        wide = self._word == 8
        start = self._number(head, 32 if wide else 28, self._word)
        size = self._number(head, 54 if wide else 42, 2)
        count = min(self._number(head, 56 if wide else 44, 2), _HEADERS)
        if size < (56 if wide else 32):
            return
        table = self._part(start, size * count)
        for at in range(0, len(table) - size + 1, size):
            entry = table[at : at + size]
            if wide:
                places = (0, 8, 16, 32, 48)
            else:
                places = (0, 4, 8, 16, 28)
            sizes = (4, *([self._word] * 4))
            yield _Segment(*(self._number(entry, offset, width) for offset, width in zip(places, sizes, strict=True)))

    # Notes

    def _notes(self, elf_file: Elf, data: bytes, alignment: int) -> None:
        step = 8 if alignment == 8 else 4
        at = 0
        while at + 12 <= len(data):
            name_size, size, kind = (self._number(data, at + n, 4) for n in (0, 4, 8))
            name = data[at + 12 : at + 12 + name_size]
            begin = at + 12 + _up(name_size, 4)
            body = data[begin : begin + size]
            if name == b"GNU\0" and kind == _ABI_TAG and len(body) >= 16 and self._number(body, 0, 4) == 0:
                major, minor, patch = (self._number(body, n, 4) for n in (4, 8, 12))
                elf_file.kernel = (major, minor, patch)
            elif name == b"GNU\0" and kind == _PROPERTY:
                self._properties(elf_file, body)
            at = begin + _up(size, step)

    def _properties(self, elf_file: Elf, data: bytes) -> None:
        at = 0
        while at + 8 <= len(data):
            kind, size = self._number(data, at, 4), self._number(data, at + 4, 4)
            if kind == _X86_NEEDED and size >= 4:
                # Bit 0 is the baseline, 1 is x86-64-v2, and so on (x86-64 psABI, "Program Property").
                elf_file.x86_level = max(elf_file.x86_level, self._number(data, at + 8, 4).bit_length())
            at += 8 + _up(size, self._word)

    # Dynamic section

    def _dynamic(self, elf_file: Elf, data: bytes, segments: list[_Segment]) -> None:
        entries: dict[int, int] = {}
        needed = []
        for at in range(0, len(data) - 2 * self._word + 1, 2 * self._word):
            tag, value = self._number(data, at, self._word), self._number(data, at + self._word, self._word)
            if tag == 0:
                break
            if tag == _NEEDED:
                needed.append(value)
            else:
                entries[tag] = value
        table, size = entries.get(_STRTAB, 0), entries.get(_STRSZ, 0)

        def text(offset: int) -> str:
            # One by one: with many symbols the table is longer than what is read at once.
            data = self._at(table + offset, min(size - offset, _TEXT), segments) if offset < size else b""
            return _named(data)

        elf_file.needed = [text(name_offset) for name_offset in needed[:1000]]
        if _SONAME in entries:
            elf_file.soname = text(entries[_SONAME])
        run_path = entries.get(_RUNPATH, entries.get(_RPATH))
        if run_path is not None:
            elf_file.paths = [directory for directory in text(run_path).split(":") if directory]
        if _VERNEED in entries:
            elf_file.versions = self._wanted(entries[_VERNEED], entries.get(_VERNEEDNUM, 0), segments, text)
        if _VERDEF in entries:
            elf_file.defined = self._given(entries[_VERDEF], entries.get(_VERDEFNUM, 0), segments, text)

    def _at(self, address: int, size: int, segments: list[_Segment]) -> bytes:
        for segment in segments:
            if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
                inside = address - segment.address
                return self._part(segment.offset + inside, min(size, segment.size - inside))
        return b""

    def _wanted(self, address: int, count: int, segments: list[_Segment], text: Text) -> dict[str, list[str]]:
        data = self._at(address, 1 << 18, segments)
        versions: dict[str, list[str]] = {}
        at = 0
        left = _ENTRIES
        for _ in range(min(count, _ENTRIES)):
            many, file, first, following = (self._number(data, at + n, w) for n, w in ((2, 2), (4, 4), (8, 4), (12, 4)))
            names = versions.setdefault(text(file), [])
            inner = at + first
            for _ in range(many):
                left -= 1
                names.append(text(self._number(data, inner + 8, 4)))
                further = self._number(data, inner + 12, 4)
                if not further or not left:
                    break
                inner += further
            if not following or left <= 0:
                break
            at += following
        return versions

    def _given(self, address: int, count: int, segments: list[_Segment], text: Text) -> list[str]:
        data = self._at(address, 1 << 18, segments)
        versions = []
        at = 0
        for _ in range(min(count, _ENTRIES)):
            flags, first, following = (self._number(data, at + n, w) for n, w in ((2, 2), (12, 4), (16, 4)))
            if not flags & 1:  # the base definition names the file itself
                versions.append(text(self._number(data, at + first, 4)))
            if not following:
                break
            at += following
        return versions


def _up(value: int, step: int) -> int:
    return (value + step - 1) // step * step


def _named(data: bytes) -> str:
    """Return the text that ends with the first zero byte."""
    return data.partition(b"\0")[0].decode("utf-8", "replace")
