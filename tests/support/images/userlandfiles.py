"""Userlands to be read: shared libraries that say what they need, and Debian packages of a Python made of them."""

from __future__ import annotations

import struct

from kernelfiles import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LOADER = "/lib/ld-linux-aarch64.so.1"
_STANDARD = "./usr/lib/python3.13"
_LIBRARIES = "./usr/lib/aarch64-linux-gnu"


def library(soname: str = "", needed: Sequence[str] = (), machine: int = 183, interpreter: str = "") -> bytes:
    """An ELF file with a dynamic section (gABI): for arm64, or the processor `machine`."""
    names = b"\0"
    rows = []
    for tag, name in ((14, soname), *((1, name) for name in needed)):
        if name:
            rows.append((tag, len(names)))
            names += name.encode() + b"\0"
    start = 64 + 3 * 56
    loader = interpreter.encode() + b"\0"
    table = start + len(loader)
    dynamic = table + len(names)
    rows += [(5, table), (10, len(names)), (0, 0)]
    data = loader + names + b"".join(struct.pack("<QQ", *row) for row in rows)
    end = start + len(data)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    kinds = [(1, 0, end), (2, dynamic, end - dynamic), (3 if interpreter else 0, start, len(loader))]
    return (
        head + b"".join(struct.pack("<IIQQQQQQ", kind, 4, at, at, at, size, size, 8) for kind, at, size in kinds) + data
    )


def python_files(tag: str = "cpython-313") -> dict[str, bytes]:
    """The files of a Python for arm64 and of what it is linked with, by their paths in packages."""

    def extension(name: str, *needed: str) -> tuple[str, bytes]:
        path = f"{_STANDARD}/lib-dynload/{name}.{tag}-aarch64-linux-gnu.so"
        return path, library("", [*needed, "libc.so.6"])

    return {
        "./usr/bin/python3.13": library("", ["libm.so.6", "libc.so.6"], interpreter=LOADER),
        f"{_STANDARD}/os.py": b"name = 'posix'\n",
        f"{_STANDARD}/encodings/__init__.py": b"",
        f"{_STANDARD}/encodings/utf_8.py": b"",
        f"{_STANDARD}/unused.py": b"",
        f"{_STANDARD}/test/test_os.py": b"",
        f"{_STANDARD}/LICENSE.txt": b"",
        **dict([extension("_ctypes", "libffi.so.8"), extension("termios"), extension("resource")]),
        **dict([extension("_ssl", "libssl.so.3"), extension("_testcapi")]),
        f"{_LIBRARIES}/libc.so.6": library("libc.so.6", ["ld-linux-aarch64.so.1"]),
        f"{_LIBRARIES}/libm.so.6": library("libm.so.6", ["libc.so.6"]),
        f"{_LIBRARIES}/libffi.so.8.1.4": library("libffi.so.8", ["libc.so.6"]),
        f"{_LIBRARIES}/ld-linux-aarch64.so.1": library("ld-linux-aarch64.so.1"),
        f"{_LIBRARIES}/libnss_files.so.2": library("libnss_files.so.2", ["libc.so.6"]),
        f"{_LIBRARIES}/libc.so": b"/* a script of the linker */",
        f"{_LIBRARIES}/gconv/BIG5.so": library(),
    }


def python_package(**changed: bytes | None) -> bytes:
    """One package of all of it; files are given by the last part of their names, up to the dot, None for none."""
    files = {}
    for path, data in python_files().items():
        new = changed.get(path.rpartition("/")[2].split(".")[0].replace("-", "_"), data)
        if new is not None:
            files[path] = new
    return package(files)
