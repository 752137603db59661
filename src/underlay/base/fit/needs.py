"""What an image needs of a host: its programs, C library, ELF notes, distribution release."""

from __future__ import annotations

import msgspec

from ...human import whole
from ...packages import osrelease
from . import elf, first
from .first import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from ...oci.config import Config
    from ...oci.platform import Platform
    from ...packages.model import Files as NamedFiles
    from .elf import Elf

    class Files(NamedFiles, Protocol):
        """Files of an image, of which parts can be read."""

        def part(self, path: bytes, offset: int, size: int) -> bytes:
            """Return bytes of a regular file, as many as there are; b"" when there is none."""

        def real(self, path: bytes) -> bytes | None:
            """Return where links lead, None when there is nothing."""

        def executable(self, path: bytes) -> bool:
            """Tell whether the path is a regular file that has an execute bit."""


_LIBRARIES = (b"lib", b"usr/lib", b"lib64", b"usr/lib64", b"usr/local/lib", b"lib32", b"usr/lib32")
_TUPLES = {
    "amd64": b"x86_64-linux-gnu",
    "386": b"i386-linux-gnu",
    "arm64": b"aarch64-linux-gnu",
    "arm": b"arm-linux-gnueabihf",
    "ppc64le": b"powerpc64le-linux-gnu",
    "s390x": b"s390x-linux-gnu",
    "riscv64": b"riscv64-linux-gnu",
    "loong64": b"loongarch64-linux-gnu",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIBC = ("libc.", "libm.", "libpthread.", "libdl.", "librt.", "ld-")  # the parts of the C library
_CONFIGURED = 100  # directories of libraries that are configured
WORDS, _SCRIPTS, _CLOSURE = 12, 4, 200  # words of a command, scripts in a row, libraries of a program


class Program(msgspec.Struct, frozen=True):
    """An executable that the command names, or one of their libraries: its path and what it says of itself.

    `kernel` is the lowest that it runs on ("" says nothing), `x86_level` what its notes need (0 says nothing), `alignment`
    that of its segments in bytes; `missing` are libraries and symbol versions that the image does not have.
    """

    path: str
    architecture: str = ""
    kernel: str = ""
    x86_level: int = 0
    alignment: int = 0
    interpreter: str = ""
    missing: tuple[str, ...] = ()


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
    reader = Reader(files, environment.get("PATH") or PATH, directory)
    release = osrelease.read(files)
    programs = reader.programs(words)
    libc, version = reader.libc()
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

    def __init__(self, files: Files, path: str = PATH, directory: str = "/") -> None:
        self._files = files
        self.path = [part.strip("/").encode() for part in path.split(":") if part]
        self.directory = directory.strip("/").encode()
        self._read: dict[bytes, Elf | None] = {}
        self._configured_directories: list[bytes] | None = None

    def elf(self, path: bytes) -> Elf | None:
        """Return what a file says, None when it is no executable or library."""
        real = self._files.real(path)
        if real is None:
            return None
        if real not in self._read:
            self._read[real] = elf.read(lambda offset, size: self._files.part(real, offset, size))
        return self._read[real]

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
        waiting = [program for word in words[:WORDS] if not word.startswith("-") and (program := self.find(word))]
        seen: dict[bytes, None] = {}
        for path in waiting:
            for _ in range(_SCRIPTS):
                further = self.interpreter(path)
                if further is None:
                    break
                path = further
            seen.setdefault(path)
        programs: list[Program] = []
        for path in list(seen):
            read = self.elf(path)
            if read is None:
                continue
            libraries, missing = self._closure(read)
            programs.append(_program(path, read, missing))
            for library in libraries:
                if library not in seen and (needed := self.elf(library)) is not None:
                    seen.setdefault(library)
                    programs.append(_program(library, needed, []))
        return programs

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

    def _closure(self, program: Elf) -> tuple[list[bytes], list[str]]:
        """Return the files of the libraries that a program needs, with its interpreter; and what is missing."""
        missing: list[str] = []
        libraries: dict[bytes, Elf] = {}
        if program.interpreter:
            path = program.interpreter.lstrip("/").encode()
            real = self._files.real(path)
            if real is None:
                return [], [program.interpreter]
            loader = self.elf(path)
            if loader is not None:
                libraries[real] = loader
        given: dict[str, Elf] = {}
        waiting = [program]
        while waiting and len(given) < _CLOSURE:
            binary = waiting.pop()
            for name in binary.needed:
                if name in given:
                    continue
                library = self.library(name, program.architecture)
                if library is None:
                    # What a file's own run path leads to is not looked for: only the C library's part is certain.
                    if name.startswith(_LIBC):
                        missing.append(name)
                    continue
                path, read = library
                given[name] = read
                libraries[path] = read
                waiting.append(read)
        for binary in (program, *given.values()):
            for name, versions in binary.versions.items():
                defined = given[name].defined if name in given and name.startswith(_LIBC) else []
                if defined:
                    missing += [f"{version} of {name}" for version in versions if version not in defined]
        return list(libraries), sorted(set(missing))

    def library(self, name: str, architecture: str) -> tuple[bytes, Elf] | None:
        """Return where the library of a name lies in the usual directories, and what it says; None without one.

        Usual are those that the image's ld.so.conf names, too.
        """
        if "/" in name:
            path = self._files.real(name.lstrip("/").encode())
            read = self.elf(path) if path is not None else None
            return (path, read) if path is not None and read is not None else None
        wire = name.encode("utf-8", "surrogateescape")
        tuple_ = _TUPLES.get(architecture, b"")
        directories = [directory + b"/" + tuple_ for directory in (b"lib", b"usr/lib") if tuple_] + list(_LIBRARIES)
        if self._configured_directories is None:
            self._configured_directories = self._configured()
        for directory in (*directories, *self._configured_directories):
            path = self._files.real(directory + b"/" + wire)
            if path is not None:
                read = self.elf(path)
                if read is not None and read.architecture == architecture:
                    return path, read
        return None

    def _configured(self) -> list[bytes]:
        """Return the directories of libraries that ld.so.conf names (ldconfig(8)); what it includes is in ld.so.conf.d."""
        directory = b"etc/ld.so.conf.d"
        files = [b"etc/ld.so.conf", *(directory + b"/" + name for name in self._files.names(directory)[:_CONFIGURED])]
        lines = [line.strip() for path in files for line in self._files.part(path, 0, 1 << 16).split(b"\n")]
        return [line.strip(b"/") for line in lines if line.startswith(b"/")][:_CONFIGURED]

    def libc(self) -> tuple[str, str]:
        """Return the C library of the image and its version; ("", "") when there is none."""
        for architecture in ("amd64", "386", "arm64", "arm", "ppc64le", "s390x", "riscv64", "loong64"):
            library = self.library("libc.so.6", architecture)
            if library is not None:
                names = [
                    symbol_version.removeprefix("GLIBC_")
                    for symbol_version in library[1].defined
                    if symbol_version.startswith("GLIBC_2")
                ]
                versions = [_numbers(version_text) for version_text in names]
                return "glibc", ".".join(map(str, max(versions)[:2])) if versions else ""
        for directory in (b"lib", b"usr/lib"):
            for name in self._files.names(directory):
                if name.startswith(b"ld-musl-"):
                    return "musl", self._musl(directory + b"/" + name)
        return "", ""

    def _musl(self, path: bytes) -> str:
        import re

        real = self._files.real(path)
        data = self._files.part(real, 0, 2 << 20) if real is not None else b""
        match = re.search(rb"\0(1\.[0-2]\.\d{1,2})\0", data)
        return match[1].decode() if match else ""


def _program(path: bytes, read: Elf, missing: list[str]) -> Program:
    return Program(
        "/" + path.decode("utf-8", "replace"),
        read.architecture,
        ".".join(map(str, read.kernel)) if read.kernel else "",
        read.x86_level,
        read.alignment,
        read.interpreter,
        tuple(missing),
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(number for part in text.split(".") if (number := whole(part)) >= 0)


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
    for directory in (b"lib", b"usr/lib", b"usr/lib64", *(b"usr/lib/" + tuple_ for tuple_ in _TUPLES.values())):
        if any(name.startswith(b"liburing.so") for name in files.names(directory)):
            marks.append("io_uring")
            break
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
