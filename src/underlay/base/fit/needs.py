"""What an image needs of a host: its programs, C library, ELF notes, distribution release."""

from __future__ import annotations

import msgspec

from ...human import whole
from ...packages import osrelease
from . import code, first
from .first import Broken
from .linking import Linker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...oci.config import Config
    from ...oci.platform import Platform
    from .elf import Elf
    from .files import Files


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORDS, _SCRIPTS = 12, 4  # words of a command, scripts in a row


class Program(msgspec.Struct, frozen=True):
    """An executable that the command names, or one of their libraries: its path and what it says of itself.

    `kernel` is the lowest that it runs on ("" says nothing), `x86_level` the one that it needs (0 says nothing), by
    its ISA note or, of a program in Go, the setting `goamd64` that it was built with ("" for none); `alignment` that of its
    segments in bytes; `missing` are libraries and symbol versions that the image does not have; `io_uring`
    says by what it is known to use io_uring ("" is not).
    """

    path: str
    architecture: str = ""
    kernel: str = ""
    x86_level: int = 0
    alignment: int = 0
    interpreter: str = ""
    missing: tuple[str, ...] = ()
    io_uring: str = ""
    goamd64: str = ""


class Needs(msgspec.Struct, frozen=True):
    """What was found. `libc` is glibc, musl or "", with its version ("" unknown); `systemd` the version of the init that
    the command names (0 for none); `has` marks of things that depend on the host; `broken` what keeps the first program
    from running anywhere."""

    architecture: str
    variant: str = ""
    distribution: str = ""
    release: str = ""
    name: str = ""  # as the distribution calls the release
    libc: str = ""
    libc_version: str = ""
    programs: tuple[Program, ...] = ()
    systemd: int = 0
    has: tuple[str, ...] = ()
    looked_inside: bool = True  # whether there were files to look at
    os: str = "linux"
    broken: tuple[Broken, ...] = ()


def of(
    config: Config,
    platform: Platform,
    files: Files | None,
    command: Sequence[str] = (),
    entrypoint: Sequence[str] | None = None,
) -> Needs:
    """Return what an image asks; without `files` only what its configuration says.

    `command` and `entrypoint` are run instead of its own, as with docker's `run`.
    """
    if files is None:
        return Needs(platform.architecture, platform.variant, looked_inside=False, os=platform.os)
    execution = config.config
    own = [] if execution is None or entrypoint is not None else execution.cmd or []
    leading = entrypoint if entrypoint is not None else (execution.entrypoint if execution else None) or []
    words = [*leading, *(command or own)]
    environment = dict(pair.partition("=")[::2] for pair in (execution.env if execution else None) or ())
    directory = (execution.working_dir if execution else None) or "/"
    reader = Reader(files, environment.get("PATH") or PATH, directory, environment.get("LD_LIBRARY_PATH") or "")
    release = osrelease.read(files)
    programs = reader.programs(words)
    libc, version = reader.linker.libc()
    return Needs(
        platform.architecture,
        platform.variant,
        release.get("ID", ""),
        release.get("VERSION_ID", ""),
        release.get("PRETTY_NAME", ""),
        libc,
        version,
        tuple(programs),
        _systemd(files, words),
        tuple(_marks(files)),
        os=platform.os,
        broken=first.look(files, words, reader.path, reader.directory, execution),
    )


class Reader:
    """Reads the executables of one image."""

    def __init__(self, files: Files, path: str = PATH, directory: str = "/", library_path: str = "") -> None:
        self._files = files
        self.path = [part.strip("/").encode() for part in path.split(":") if part]
        self.directory = directory.strip("/").encode()
        self.linker = Linker(files, library_path)

    def find(self, word: str) -> bytes | None:
        """Return the path of the program that a word of a command names."""
        name = word.encode("utf-8", "surrogateescape")
        if b"/" in name:
            path = name.lstrip(b"/") if name.startswith(b"/") else self.directory + b"/" + name
            return self._files.real(path)
        for directory in self.path:
            program = self._files.real(directory + b"/" + name)
            if program is not None and self._files.part(program, 0, 2) in (b"\x7fE", b"#!"):
                return program
        return None

    def programs(self, words: Sequence[str]) -> list[Program]:
        """Return the programs that a command begins or hands on to, and the interpreters and libraries they need."""
        named = [program for word in words[:WORDS] if not word.startswith("-") and (program := self.find(word))]
        begun = self._program_of(named[0]) if named and named[0] == self.find(words[0]) else None
        found: dict[bytes, Program] = {}
        for path in dict.fromkeys(map(self._program_of, named)):
            read = self.linker.elf(path)
            if read is None:
                continue
            linked = self.linker.link(read, path, path == begun)
            ring = next((f"needs {name}" for name in read.needed if name.startswith("liburing.")), "")
            if not ring and code.sets_up_io_uring(self._files, path, read.architecture):
                ring = "calls io_uring_setup"
            level = code.goamd64(self._files, path) if read.architecture == "amd64" else ""
            found[path] = _program(path, read, linked.missing, ring, level)
            for place, library in linked.libraries.items():
                found.setdefault(place, _program(place, library, []))
        return list(found.values())

    def _program_of(self, path: bytes) -> bytes:
        """Return the program that the kernel starts for a file: the last interpreter, where it is a script."""
        for _ in range(_SCRIPTS):
            further = self.interpreter(path)
            if further is None:
                break
            path = further
        return path

    def interpreter(self, path: bytes) -> bytes | None:
        """Return the program that runs a script, None for what is none."""
        head = self._files.part(path, 0, 256)
        if not head.startswith(b"#!"):
            return None
        words = head[2:].split(b"\n")[0].split()
        if not words:
            return None
        if words[0].endswith(b"/env") and len(words) > 1:
            names = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word]
            return self.find(names[0].decode("utf-8", "surrogateescape")) if names else None
        return self._files.real(words[0].lstrip(b"/"))


def _program(path: bytes, read: Elf, missing: list[str], io_uring: str = "", goamd64: str = "") -> Program:
    return Program(
        "/" + path.decode("utf-8", "replace"),
        read.architecture,
        ".".join(map(str, read.kernel)) if read.kernel else "",
        max(read.x86_level, int(goamd64[1:] or 0)),
        read.alignment,
        read.interpreter,
        tuple(missing),
        io_uring,
        goamd64,
    )


def _systemd(files: Files, words: Sequence[str]) -> int:
    """Return the version of systemd when it is what the command starts, 0 otherwise."""
    if not words:
        return 0
    program = files.real(words[0].lstrip("/").encode())
    if program is None or not program.endswith(b"systemd/systemd"):
        return 0
    import re

    for directory in (b"usr/lib/systemd", b"lib/systemd", b"usr/lib64/systemd"):
        for name in files.names(directory):
            match = re.fullmatch(rb"libsystemd-shared-(\d+)[.\w-]*\.so", name)
            if match:
                return max(whole(match[1]), 0)
    from ...packages import installed

    for package in installed.installed(files, languages=False).packages:
        if package.name == "systemd" and (version := re.match(r"(?:[0-9]+:)?([0-9]+)", package.version)):
            return max(whole(version[1]), 0)
    return 0


def _marks(files: Files) -> list[str]:
    marks = []
    for path in (b"usr/sbin/iptables", b"sbin/iptables"):
        real = files.real(path)
        if real is not None and b"nft" in real.rpartition(b"/")[2]:
            marks.append("iptables-nft")
            break
    if any(
        files.names(directory) for directory in (b"usr/share/elasticsearch", b"usr/share/opensearch", b"opt/sonarqube")
    ):
        marks.append("max_map_count")
    return marks
