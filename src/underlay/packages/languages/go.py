"""Go modules linked into an executable: the build information that the Go linker leaves (package debug/buildinfo).

Since Go 1.18 two texts, each with its length before it, stand in the section `.go.buildinfo`; before, it has pointers to
two strings. Both survive stripping.
"""

from __future__ import annotations

import re

from ..model import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import DatabaseContents
    from .elf import Read, Sections

SECTION = b".go.buildinfo"
_MAGIC = b"\xff Go buildinf:"
_ALIGNED = 16
_HEAD = 32
_SECTION_LIMIT = 16 << 20
_TEXT_LIMIT = 8 << 20
_MODULES_LIMIT = 20_000
_NAME_LIMIT = 500
_INLINE, _BIG = 2, 1  # bits of the byte of flags
_FRAME = 16  # bytes of sentinel before and after the list of modules


def read(read_part: Read, found: Sections, path: str, contents: DatabaseContents) -> None:
    """Add the modules of an executable at `path` to `contents`, with the standard library as "stdlib"."""
    texts = _texts(read_part, found)
    if texts is None:
        contents.skipped += 1
        return
    version, listed = texts
    # "go1.22.1 X:loopvar", "devel go1.23-…"
    words = [word for word in version.split() if word.startswith("go1")]
    if words:
        contents.add(Package("golang", "stdlib", _semantic(words[0].removeprefix("go")), path=path))
    for name, number in _modules(listed):
        contents.add(Package("golang", name, number, path=path))


def setting(read_part: Read, found: Sections, key: str) -> str:
    """Return a setting that an executable was built with ("GOAMD64", "CGO_ENABLED"), "" when it notes none."""
    texts = _texts(read_part, found) if SECTION in found.by_name else None
    for line in (texts[1] if texts is not None else "").split("\n")[: 4 * _MODULES_LIMIT]:
        name, _, value = line.removeprefix("build\t").partition("=")
        if name == key and line.startswith("build\t"):
            return value
    return ""


def _semantic(version: str) -> str:
    """Return a version of Go (1.23rc1, 1.22.1-foo) as advisories write it: 1.23.0-rc1, 1.22.1."""
    match = re.match(r"([0-9]+(?:\.[0-9]+)*)((?:rc|beta)[0-9]+)?", version)
    if match is None:
        return version
    numbers = match[1] + ".0" * max(0, 2 - match[1].count("."))
    return f"{numbers}-{match[2]}" if match[2] else match[1]


def _texts(read_part: Read, found: Sections) -> tuple[str, str] | None:
    section = found.by_name[SECTION]
    data = read_part(section.offset, min(section.size, _SECTION_LIMIT))
    at = data.find(_MAGIC)
    while at >= 0 and at % _ALIGNED:
        at = data.find(_MAGIC, at + 1)
    if at < 0 or len(data) < at + _HEAD:
        return None
    flags = data[at + 15]
    if flags & _INLINE:
        version, after = _counted(data, at + _HEAD)
        listed, _ = _counted(data, after)
    else:
        pointer = data[at + 14]
        if pointer != found.pointer:
            return None
        order = "big" if flags & _BIG else "little"
        version = _string(read_part, found, data[at + 16 : at + 16 + pointer], order)
        listed = _string(read_part, found, data[at + 16 + pointer : at + 16 + 2 * pointer], order)
    if not version.startswith((b"go", b"devel")):
        return None
    if len(listed) > 2 * _FRAME and listed[-_FRAME - 1 : -_FRAME] == b"\n":
        listed = listed[_FRAME:-_FRAME]
    return version.decode("utf-8", "replace"), listed.decode("utf-8", "replace")


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the text whose length is written before it as a varint, and where it ends."""
    size = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return data[at : at + size], at + size


def _string(read_part: Read, found: Sections, pointer: bytes, order: str) -> bytes:
    """Return the Go string (address and length) that lies where `pointer` leads."""
    place = found.offset(_number(pointer, order))
    if place < 0:
        return b""
    head = read_part(place, 2 * len(pointer))
    start = found.offset(_number(head[: len(pointer)], order))
    size = _number(head[len(pointer) :], order)
    return read_part(start, size) if start >= 0 and size <= _TEXT_LIMIT else b""


def _number(data: bytes, order: str) -> int:
    return int.from_bytes(data, "big" if order == "big" else "little")


def _modules(listed: str) -> list[tuple[str, str]]:
    """Return name and version of each module: the main one unless built from a working directory, its dependencies, and
    in the place of a replaced one what replaced it."""
    modules: list[tuple[str, str]] = []
    for line in listed.split("\n")[: 4 * _MODULES_LIMIT]:
        word, *fields = line.split("\t")
        if word in ("mod", "dep", "=>") and len(fields) >= 2 and len(fields[0]) <= _NAME_LIMIT:
            if word == "=>" and modules:
                modules.pop()
            modules.append((fields[0], fields[1]))
        if len(modules) >= _MODULES_LIMIT:
            break
    return [
        (name, version)
        for name, version in modules
        if version.startswith("v") and len(version) <= _NAME_LIMIT and not name.startswith((".", "/"))
    ]
