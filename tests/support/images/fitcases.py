"""Images that run, and images that cannot: each is predicted, and run to learn the truth. All end with 0 when they can."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_EXIT = bytes.fromhex("31ffb83c0000000f05")  # x86-64: exit(0)
_EXIT_386 = bytes.fromhex("31dbb801000000cd80")  # int 0x80: exit(0)
_IO_URING = bytes.fromhex("b8a9010000") + b"\x31\xff\x31\xf6\x0f\x05" + _EXIT  # io_uring_setup(0, 0)
_SHELL = b"#!/bin/sh\nexit 0\n"


@dataclass
class File:
    """A regular file of an image, a link where `link` is set, a directory where `data` is None."""

    data: bytes | None = b""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    link: str = ""


@dataclass
class Case:
    """An image: files above a small root, lines of a Dockerfile, without `root` nothing but the files."""

    name: str
    files: dict[str, File] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    root: bool = True

    def tar(self, below: bytes) -> bytes:
        """Return its files; `below` is the small root's tar."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            if self.root:
                with tarfile.open(fileobj=io.BytesIO(below)) as other:
                    for member in other:
                        tar.addfile(member, other.extractfile(member) if member.isfile() else None)
            for path, file in self.files.items():
                member = tarfile.TarInfo(path)
                member.mode, member.uid, member.gid = file.mode, file.uid, file.gid
                if file.link:
                    member.type, member.linkname = tarfile.SYMTYPE, file.link
                elif file.data is None:
                    member.type = tarfile.DIRTYPE
                else:
                    member.size = len(file.data)
                tar.addfile(member, io.BytesIO(file.data) if file.data is not None and not file.link else None)
        return buffer.getvalue()


def program(code: bytes, machine: int = 62, bits: int = 64, entry_only: bool = False) -> bytes:
    """Return a static executable of these instructions (elf(5)); with `entry_only` no segment of it is loaded."""
    wide = bits == 64
    header, segment = (64, 56) if wide else (52, 32)
    start = 0x400000
    entry = start + header + segment
    size = header + segment + len(code)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    word = "Q" if wide else "I"
    head = ident + struct.pack("<HHI" + word * 3, 2, machine, 1, entry, header, 0)
    head += struct.pack("<IHHHHHH", 0, header, segment, 0 if entry_only else 1, 0, 0, 0)
    if wide:
        load = struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 0x1000)
    else:
        load = struct.pack("<IIIIIIII", 1, 0, start, start, size, size, 5, 0x1000)
    return head + load + code


def cases(group: str) -> Iterator[Case]:
    """Yield the images of one of GROUPS."""
    yield from GROUPS[group]()


def _commands() -> Iterator[Case]:
    yield Case("plain", lines=['CMD ["true"]'])
    yield Case("shell form", lines=["CMD true"])
    yield Case("absolute", lines=['CMD ["/bin/true"]'])
    yield Case("entrypoint and command", lines=['ENTRYPOINT ["sh", "-c"]', 'CMD ["exit 0"]'])
    yield Case("no command")
    yield Case("absent", lines=['CMD ["absent"]'])
    yield Case("absent by path", lines=['CMD ["/opt/absent"]'])
    yield Case("command in the working directory", {"app/run": File(_SHELL)}, ["WORKDIR /app", 'CMD ["./run"]'])
    yield Case("not in the working directory", {"app/run": File(_SHELL)}, ["WORKDIR /", 'CMD ["./run"]'])
    yield Case("not searched in the working directory", {"app/run": File(_SHELL)}, ["WORKDIR /app", 'CMD ["run"]'])
    yield Case("path without bin", lines=["ENV PATH=/opt", 'CMD ["true"]'])
    yield Case("path with another directory", {"opt/run": File(_SHELL)}, ["ENV PATH=/opt", 'CMD ["run"]'])
    yield Case("found further along the path", {"opt/true": File(b"no", 0o644)}, ["ENV PATH=/opt:/bin", 'CMD ["true"]'])
    yield Case("no execute bit", {"run": File(_SHELL, 0o644)}, ['CMD ["/run"]'])
    yield Case("a directory", {"run": File(None)}, ['CMD ["/run"]'])
    yield Case("a link", {"opt/true": File(link="../bin/true")}, ['CMD ["/opt/true"]'])
    yield Case("a link to nothing", {"run": File(link="bin/nothing")}, ['CMD ["/run"]'])
    yield Case("a link to itself", {"run": File(link="/run")}, ['CMD ["/run"]'])
    yield Case("a link through a directory", {"here": File(link="bin")}, ['CMD ["/here/true"]'])


def _scripts() -> Iterator[Case]:
    def script(name: str, text: bytes, **more: File) -> Case:
        return Case(name, {"script": File(text), **more}, ['CMD ["/script"]'])

    yield script("script", _SHELL)
    yield script("script, a blank before its interpreter", b"#! /bin/sh -e\nexit 0\n")
    yield script("script through env", b"#!/bin/env sh\nexit 0\n")
    yield script("script through env, absent", b"#!/bin/env python9\n")
    yield script("script without a first line", b"exit 0\n")
    yield script("empty", b"")
    yield script("script of windows", b"#!/bin/sh\r\nexit 0\r\n")
    yield script("script with an absent interpreter", b"#!/bin/python9\n")
    yield script("script with a relative interpreter", b"#!bin/sh\nexit 0\n")
    yield script("script with a relative interpreter, absent", b"#!python9\n")
    yield script("script without an interpreter", b"#!\n")
    yield script("interpreter without an execute bit", b"#!/etc/passwd\n")
    yield script("interpreter that is a directory", b"#!/etc\n")
    yield script("script run by a script", b"#!/other\n", other=File(b"#!/bin/sh\nexit 0\n"))
    yield script("script run by an absent script's interpreter", b"#!/other\n", other=File(b"#!/absent\n"))
    yield script("five scripts in a row", b"#!/c\n", **_row())
    yield script("six scripts in a row", b"#!/b\n", **_row())
    yield script("text in place of a program", b"\x00\x01\x02\x03")


def _row() -> dict[str, File]:
    names = "abcdef"
    following = {name: names[number + 1] for number, name in enumerate(names[:-1])}
    return {name: File(b"#!/" + following.get(name, "bin/sh").encode() + b"\n") for name in names}


def _users() -> Iterator[Case]:
    yield Case("user by name", lines=["USER alice", 'CMD ["true"]'])
    yield Case("user by number", lines=["USER 4711", 'CMD ["true"]'])
    yield Case("user and group by number", lines=["USER 4711:4712", 'CMD ["true"]'])
    yield Case("unknown user", lines=["USER stranger", 'CMD ["true"]'])
    yield Case("unknown group", lines=["USER alice:strangers", 'CMD ["true"]'])
    run = ['CMD ["/run"]']
    yield Case("others may not execute", {"run": File(_SHELL, 0o700)}, ["USER alice", *run])
    yield Case("the owner may execute", {"run": File(_SHELL, 0o700, 1000)}, ["USER alice", *run])
    yield Case("the group may execute", {"run": File(_SHELL, 0o750, 0, 1001)}, ["USER alice", *run])
    yield Case("root executes what is others'", {"run": File(_SHELL, 0o100, 1000)}, run)
    yield Case("others may execute and not read", {"run": File(_SHELL, 0o711)}, ["USER alice", *run])
    closed = {"closed": File(None, 0o700), "closed/run": File(_SHELL)}
    yield Case("below a closed directory", closed, ["USER alice", 'CMD ["/closed/run"]'])
    yield Case("root below a closed directory", closed, ['CMD ["/closed/run"]'])
    yield Case(
        "a program that may be executed and not read", {"run": File(program(_EXIT), 0o711)}, ["USER alice", *run]
    )


def _configurations() -> Iterator[Case]:
    yield Case("new working directory", lines=["WORKDIR /new/folder", 'CMD ["true"]'])
    yield Case("working directory below a file", lines=["WORKDIR /etc/passwd/inside", 'CMD ["true"]'])
    yield Case("working directory is a file", lines=["WORKDIR /etc/passwd", 'CMD ["true"]'])
    yield Case("working directory behind a link", {"w": File(link="tmp")}, ["WORKDIR /w/new", 'CMD ["true"]'])


def _static_programs() -> Iterator[Case]:
    def static(name: str, data: bytes) -> Case:
        return Case(name, {"run": File(data)}, ['CMD ["/run"]'], root=False)

    yield static("static", program(_EXIT))
    yield static("static, of another processor", program(_EXIT, machine=183))
    yield static("static, 32 bits", program(_EXIT_386, machine=3, bits=32))
    yield static("static, with io_uring", program(_IO_URING))
    yield static("an executable that ends in its header", program(_EXIT)[:40])
    yield static("an executable without segments", program(_EXIT, entry_only=True))


def _dynamic_programs() -> Iterator[Case]:
    ls = _libraries("/usr/bin/ls")
    if ls is None:
        return
    loader = next(path for path in ls if "ld-" in path)
    extra = next((path for path in ls if "libc." not in path and path not in (loader, "usr/bin/ls")), "")
    libc = next(path for path in ls if "libc.so" in path)

    def dynamic(name: str, change: Callable[[dict[str, File]], None], *lines: str) -> Case:
        files = dict(ls)
        change(files)
        return Case(name, files, [*lines, 'CMD ["/usr/bin/ls", "/"]'], root=False)

    def moved(path: str, to: str) -> Callable[[dict[str, File]], None]:
        def change(files: dict[str, File]) -> None:
            files[to] = files.pop(path)

        return change

    def patched(path: str, edit: Callable[[bytes], bytes]) -> Callable[[dict[str, File]], None]:
        def change(files: dict[str, File]) -> None:
            files[path] = File(edit(files[path].data or b""))

        return change

    yield dynamic("dynamic", lambda files: None)
    yield dynamic("without its loader", lambda files: (files.pop(loader), None)[1])
    yield dynamic("without its C library", lambda files: (files.pop(libc), None)[1])
    yield dynamic("with a C library of the future", patched("usr/bin/ls", _wanting_more))
    yield dynamic(
        "its loader may not be executed", lambda files: files.update({loader: File(files[loader].data, 0o644)})
    )
    for level in (2, 3, 4):
        data = _for_level(ls["usr/bin/ls"].data or b"", level)
        if data:
            yield Case(
                f"made for x86-64-v{level}", {**ls, "usr/bin/ls": File(data)}, ['CMD ["/usr/bin/ls", "/"]'], root=False
            )
    yield dynamic("a program for a kernel of the future", patched("usr/bin/ls", _for_kernel))
    yield dynamic("a C library for a kernel of the future", patched(libc, _for_kernel))
    if extra:
        name = extra.rpartition("/")[2]
        yield dynamic("without another library", lambda files: (files.pop(extra), None)[1])
        yield dynamic("a library in /opt", moved(extra, f"opt/{name}"))
        yield dynamic(
            "a library in /opt that a variable names", moved(extra, f"opt/{name}"), "ENV LD_LIBRARY_PATH=/opt"
        )
        yield dynamic("a library in /usr/lib", moved(extra, f"usr/lib/{name}"))
        yield dynamic(
            "a library that only ld.so.conf names",
            lambda files: files.update({f"opt/{name}": files.pop(extra), "etc/ld.so.conf": File(b"/opt\n", 0o644)}),
        )
        yield dynamic("a library that is no library", lambda files: files.update({extra: File(b"text")}))

        def by_run_path(files: dict[str, File]) -> None:
            files[f"c.so.6/{name}"] = files.pop(extra)
            files["usr/bin/ls"] = File(_with_run_path(files["usr/bin/ls"].data or b""))

        yield dynamic("a library that a run path names", by_run_path)


def _libraries(path: str) -> dict[str, File] | None:
    """Return a program of this host with its loader and libraries; None where it is linked statically, or without ldd."""
    if not Path(path).exists() or not shutil.which("ldd"):
        return None
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    if done.returncode:
        return None
    words = [word for line in done.stdout.splitlines() for word in line.split() if word.startswith("/")]
    return {each.lstrip("/"): File(Path(each).read_bytes()) for each in (path, *words)}


def _wanting_more(data: bytes) -> bytes:
    """Let a program want a version of glibc's symbols that there is not: its name, and the hash of it (gABI)."""
    name = next(each for each in (b"GLIBC_2.34", b"GLIBC_2.33", b"GLIBC_2.17", b"GLIBC_2.3") if each + b"\0" in data)
    other = name.replace(b"_2.", b"_9.")
    data = data.replace(name + b"\0", other + b"\0")
    return data.replace(struct.pack("<I", _hash(name)), struct.pack("<I", _hash(other)))


def _for_level(data: bytes, level: int) -> bytes:
    """Let the note of a program say that it needs a level of x86-64; b"" where it has no such note."""
    for kind in (0xC0008002, 0xC0010002):  # GNU_PROPERTY_X86_ISA_1_NEEDED, or USED in its place
        at = data.find(struct.pack("<II", kind, 4))
        if at >= 0:
            return data[:at] + struct.pack("<III", 0xC0008002, 4, (1 << level) - 1) + data[at + 12 :]
    return b""


def _for_kernel(data: bytes) -> bytes:
    """Let the ABI note of a program or library ask for Linux 9.9.9."""
    at = data.index(struct.pack("<III", 4, 16, 1) + b"GNU\0" + bytes(4)) + 20
    return data[:at] + struct.pack("<III", 9, 9, 9) + data[at + 12 :]


def _hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


def _with_run_path(data: bytes) -> bytes:
    """Turn a program's DT_DEBUG into a DT_RUNPATH of `c.so.6`, the end of the name of its C library."""
    table = data.index(b"\0libc.so.6\0")
    start = data.rindex(b"\0\0", 0, table) + 1  # the table of strings begins with an empty one
    debug = data.index(struct.pack("<QQ", 21, 0), table)
    return data[:debug] + struct.pack("<QQ", 29, table + 4 - start) + data[debug + 16 :]


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "commands": _commands,
    "scripts": _scripts,
    "users": _users,
    "configurations": _configurations,
    "static_programs": _static_programs,
    "dynamic_programs": _dynamic_programs,
}
