"""Which libraries a program finds in its image: where the loaders of glibc (ld.so(8)) and of musl look for them."""

from __future__ import annotations

from ...human import whole
from . import elf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .elf import Elf
    from .files import Files

_DIRECTORIES = (b"lib", b"usr/lib", b"lib64", b"usr/lib64", b"usr/local/lib", b"lib32", b"usr/lib32")
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
_LIBC = ("libc.", "libm.", "libpthread.", "libdl.", "librt.", "ld-")  # the parts of the C library
_CONFIGURED = 100  # directories that are configured
_CLOSURE = 200  # libraries of a program
_CACHE = 4 << 20  # bytes of ld.so.cache


class Linked:
    """The libraries that a program gets, by path, its loader among them; and what it needs and does not get."""

    __slots__ = ("libraries", "missing")

    def __init__(self) -> None:
        self.libraries: dict[bytes, Elf] = {}
        self.missing: list[str] = []


class Linker:
    """Finds the libraries of one image's programs; `library_path` is its variable LD_LIBRARY_PATH."""

    def __init__(self, files: Files, library_path: str = "") -> None:
        self._files = files
        self._variable = [part.strip("/").encode() for part in library_path.replace(";", ":").split(":") if part]
        self._read: dict[bytes, Elf | None] = {}
        self._listed: dict[bytes, list[bytes]] = {}
        self._cache: bytes | None = None

    def elf(self, path: bytes) -> Elf | None:
        """Return what a file says, None when it is no executable or library."""
        real = self._files.real(path)
        if real is None:
            return None
        if real not in self._read:
            self._read[real] = elf.read(lambda offset, size: self._files.part(real, offset, size))
        return self._read[real]

    def link(self, program: Elf, path: bytes, begun: bool) -> Linked:
        """Return the libraries that the program at `path` gets from its loader.

        `begun` says that the container begins with it, so that nothing before it can have changed the environment: all
        that it lacks is certain. Of others only the C library's parts are.
        """
        linked = Linked()
        if program.interpreter:
            place = program.interpreter.lstrip("/").encode()
            real = self._files.real(place)
            if real is None:
                linked.missing = [program.interpreter]
                return linked
            loader = self.elf(place)
            if loader is not None:
                linked.libraries[real] = loader
        given: dict[str, Elf] = {}
        absent: set[str] = set()
        waiting = [(program, _run_path(program, path))]
        while waiting and len(given) < _CLOSURE:
            binary, run_path = waiting.pop()
            for name in binary.needed:
                if name in given or name in absent:
                    continue
                found = self._in_directories(name, program.architecture, run_path) or self.library(
                    name, program.architecture
                )
                if found is None:
                    absent.add(name)
                    if name.startswith(_LIBC) or (begun and self._must_be_missing(name, run_path)):
                        linked.missing.append(name)
                    continue
                place, read = found
                given[name] = read
                linked.libraries[place] = read
                # musl looks along the paths of those that need a library, glibc too where they are DT_RPATH.
                waiting.append((read, [*_run_path(read, place), *run_path]))
        for binary in (program, *given.values()):
            for name, versions in binary.versions.items():
                defined = given[name].defined if name in given and (begun or name.startswith(_LIBC)) else []
                if defined:
                    linked.missing += [f"{version} of {name}" for version in versions if version not in defined]
        linked.missing = sorted(set(linked.missing))
        return linked

    def library(self, name: str, architecture: str) -> tuple[bytes, Elf] | None:
        """Return where the library of a name lies in the usual directories, and what it says; None without one.

        Usual are those that LD_LIBRARY_PATH and musl's own file name, too, and for what ldconfig(8) has entered into its
        cache those of ld.so.conf, which the loader itself does not read.
        """
        if "/" in name:
            path = self._files.real(name.lstrip("/").encode())
            read = self.elf(path) if path is not None else None
            return (path, read) if path is not None and read is not None else None
        tuple_ = _TUPLES.get(architecture, b"")
        own = [directory + b"/" + tuple_ for directory in (b"lib", b"usr/lib") if tuple_]
        usual = (*self._variable, *own, *_DIRECTORIES, *self._lists(b"ld-musl-"))
        found = self._in_directories(name, architecture, usual)
        if found is None and self._cached(name):
            found = self._in_directories(name, architecture, self._lists(b"ld.so.conf"))
        return found

    def _in_directories(self, name: str, architecture: str, directories: Iterable[bytes]) -> tuple[bytes, Elf] | None:
        wire = name.encode("utf-8", "surrogateescape")
        if b"/" in wire:
            return None
        for directory in directories:
            path = self._files.real(directory + b"/" + wire)
            if path is not None:
                read = self.elf(path)
                if read is not None and read.architecture == architecture:
                    return path, read
        return None

    def _must_be_missing(self, name: str, run_path: list[bytes]) -> bool:
        """Tell whether no loader can find a library that was not found where we have looked."""
        # A token may stand for what depends on the host.
        return "/" not in name and not any(b"$" in directory for directory in run_path) and not self._cached(name)

    def _cached(self, name: str) -> bool:
        if self._cache is None:
            self._cache = self._files.part(b"etc/ld.so.cache", 0, _CACHE)
        return name.encode("utf-8", "surrogateescape") + b"\0" in self._cache

    def _lists(self, kind: bytes) -> list[bytes]:
        """Return the directories that files of one kind in /etc name: ld.so.conf and what it includes, or musl's own."""
        if kind not in self._listed:
            names = [b"etc/" + name for name in self._files.names(b"etc") if name.startswith(kind)]
            directory = b"etc/ld.so.conf.d/"
            if kind == b"ld.so.conf":
                names += [directory + name for name in self._files.names(directory.rstrip(b"/"))[:_CONFIGURED]]
            lines = [
                line.strip()
                for path in names[:_CONFIGURED]
                for line in self._files.part(path, 0, 1 << 16).replace(b":", b"\n").split(b"\n")
            ]
            self._listed[kind] = [line.strip(b"/") for line in lines if line.startswith(b"/")][:_CONFIGURED]
        return self._listed[kind]

    def libc(self) -> tuple[str, str]:
        """Return the C library of the image and its version; ("", "") when there is none."""
        for architecture in _TUPLES:
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


def _run_path(binary: Elf, path: bytes) -> list[bytes]:
    """Return the directories of a file's own run path; `path` is where it lies, without a slash in front."""
    origin = path.rpartition(b"/")[0]
    directories = []
    for part in binary.paths[:_CONFIGURED]:
        wire = part.encode("utf-8", "surrogateescape")
        directories.append(wire.replace(b"${ORIGIN}", origin).replace(b"$ORIGIN", origin).strip(b"/"))
    return directories


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(number for part in text.split(".") if (number := whole(part)) >= 0)
