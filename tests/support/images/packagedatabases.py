"""Files of an image for tests, and databases of rpm made from nothing."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from underlay.errors import LimitExceeded


class MemoryFiles:
    """Files by path."""

    def __init__(self, files: dict[str, bytes | str]) -> None:
        self.files = {name.encode(): data.encode() if isinstance(data, str) else data for name, data in files.items()}

    def read(self, path: bytes, limit: int = 64 << 20) -> bytes | None:
        data = self.files.get(path)
        if data is not None and len(data) > limit:
            raise LimitExceeded(f"{path!r} is too long")
        return data

    def names(self, directory: bytes) -> list[bytes]:
        start = directory + b"/"
        return sorted({path[len(start) :].split(b"/")[0] for path in self.files if path.startswith(start)})

    def find(self, endings: tuple[bytes, ...]) -> Iterator[bytes]:
        return (path for path in sorted(self.files) if path.endswith(endings))

    def executables(self) -> Iterator[bytes]:
        return (path for path in sorted(self.files) if self.files[path].startswith(b"\x7fELF"))

    def size(self, path: bytes) -> int:
        return len(self.files.get(path, b""))

    def part(self, path: bytes, offset: int, size: int) -> bytes:
        return self.files.get(path, b"")[offset : offset + size]


class DirectoryFiles:
    """The files below a directory."""

    def __init__(self, root: Path | str) -> None:
        self.root = os.fsencode(root)

    def read(self, path: bytes, limit: int = 64 << 20) -> bytes | None:
        try:
            with open(self.root + b"/" + path, "rb") as file:
                return file.read()
        except OSError:
            return None

    def names(self, directory: bytes) -> list[bytes]:
        try:
            return sorted(os.listdir(self.root + b"/" + directory))
        except OSError:
            return []

    def find(self, endings: tuple[bytes, ...]) -> Iterator[bytes]:
        for place, _, names in os.walk(self.root):
            for name in names:
                path = (place + b"/" + name)[len(self.root) + 1 :]
                if path.endswith(endings):
                    yield path

    def executables(self) -> Iterator[bytes]:
        return (path for path in self.find((b"",)) if os.access(self.root + b"/" + path, os.X_OK))

    def size(self, path: bytes) -> int:
        return os.stat(self.root + b"/" + path).st_size

    def part(self, path: bytes, offset: int, size: int) -> bytes:
        with open(self.root + b"/" + path, "rb") as file:
            file.seek(offset)
            return file.read(size)


def rpm_header(name: str, version: str, release: str, epoch: int | None = None, **more: str) -> bytes:
    """A header as rpm keeps it."""
    data = b""
    entries = []
    texts = {1000: name, 1001: version, 1002: release, 1014: "MIT", 1022: more.get("arch", "x86_64")}
    if more.get("source"):
        texts[1044] = more["source"]
    for tag, text in texts.items():
        entries.append(struct.pack(">IIII", tag, 6, len(data), 1))
        data += text.encode() + b"\0"
    if epoch is not None:
        data += bytes(-len(data) % 4)
        entries.append(struct.pack(">IIII", 1003, 4, len(data), 1))
        data += struct.pack(">I", epoch)
    if more.get("file"):
        directory, _, base = more["file"].rpartition("/")
        data += bytes(-len(data) % 4)
        entries.append(struct.pack(">IIII", 1116, 4, len(data), 1))
        data += struct.pack(">I", 0)
        for tag, text in ((1117, base), (1118, directory + "/")):
            entries.append(struct.pack(">IIII", tag, 8, len(data), 1))
            data += text.encode() + b"\0"
    return struct.pack(">II", len(entries), len(data)) + b"".join(entries) + data


def sqlite_database(path: Path, headers: list[bytes], wal: bool = False) -> tuple[bytes, bytes]:
    """rpm's table in SQLite: the bytes of the file and of its log, taken while the log is there."""
    connection = sqlite3.connect(path, isolation_level=None)
    if wal:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.execute("CREATE TABLE Name (key TEXT, hnum INTEGER, idx INTEGER)")
    for header in headers:
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (header,))
    log = Path(f"{path}-wal")
    found = path.read_bytes(), log.read_bytes() if log.exists() else b""
    connection.close()
    return found


def ndb_database(headers: list[bytes]) -> bytes:
    """rpm's own database."""
    page, blobs = struct.pack("<4sIIIIII", b"RpmP", 0, 1, 1, len(headers) + 1, 0, 0).ljust(32, b"\0"), b""
    for number, header in enumerate(headers, 1):
        page += struct.pack("<4sIII", b"Slot", number, (4096 + len(blobs)) // 16, 0)
        blob = struct.pack("<4sIII", b"BlbS", number, 1, len(header)) + header
        blobs += blob + bytes(-len(blob) % 16)
    page += b"".join(struct.pack("<4sIII", b"Slot", 0, 0, 0) for _ in range((4096 - len(page)) // 16))
    return page + blobs


def berkeley_database(path: Path, headers: list[bytes]) -> bytes:
    """The hash of Berkeley DB that rpm had before, made by its own program; a skip where that is not."""
    program = shutil.which("db5.3_load")
    if program is None:
        pytest.skip("no db5.3_load here")
    lines = ["VERSION=3", "format=bytevalue", "type=hash", "HEADER=END", " 00000000", " 00000010"]
    for number, header in enumerate(headers, 1):
        lines += [" " + struct.pack("<I", number).hex(), " " + header.hex()]
    text = "\n".join([*lines, "DATA=END", ""])
    subprocess.run([program, str(path)], input=text, text=True, check=True)
    return path.read_bytes()


def elf(section: str, data: bytes, address: int = 0, more: bytes = b"") -> bytes:
    """A 64-bit little-endian executable with one section of that name, and bytes mapped after it."""
    names = b"\0.shstrtab\0" + section.encode() + b"\0"
    body = data + more
    start = 64
    names_at = start + len(body)
    table = names_at + len(names)
    head = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, table, 0, 64, 56, 0, 64, 3, 1)
    )
    row = struct.Struct("<IIQQQQIIQQ")
    rows = row.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    rows += row.pack(1, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    rows += row.pack(11, 1, 2, address, start, len(body), 0, 0, 1, 0)
    return head + body + names + rows + bytes(70_000)


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def inline(version: str, modules: str) -> bytes:
    framed = (
        b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6"
        + modules.encode()
        + b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"
    )
    head = (b"\xff Go buildinf:\x08\x02").ljust(32, b"\0")
    return head + varint(len(version)) + version.encode() + varint(len(framed)) + framed


def jar(**members: bytes | str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return data.getvalue()
