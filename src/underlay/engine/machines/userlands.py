"""Userlands: interpreters for other processors than the host's, from which the initrds of their machines are made.

Below the root, each has a directory `userlands/ARCHITECTURE`: `python` is the interpreter, `modules/` has the
standard library's, `extensions/NAME.so` those that are machine code, `libraries/NAME` what these are linked with, by the
names that they are asked for by; `userland.json` says what belongs to what, and which version it is (`Userland` in
runtime.machine.records). They come from packages of a distribution, and nothing of them is ever run on the host. A
directory comes and goes as a whole.
"""

from __future__ import annotations

import os
import re
from itertools import chain

from ...base.fit import elf
from ...errors import Corrupt, InvalidInput, LimitExceeded, NotFound, Unsupported
from ...files import sync_directory
from ...lean.jsontext import dumps
from ...runtime.machine import initrd
from ...store.scratch import Scratch, ensure
from . import kernels, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...paths import Paths
    from ...runtime.machine.records import Userland

FORMAT = 1
OLDEST = (3, 11)  # of Python: what underlay itself runs on
_MINOR = rb"(3\.[0-9]{1,2})"
_BELOW = rb"(?:\./)?usr/lib/python" + _MINOR
_PROGRAM = re.compile(rb"(?:\./)?usr/bin/python" + _MINOR)
_WORD = rb"[A-Za-z_][0-9A-Za-z_]{0,99}"
_MODULE = re.compile(_BELOW + rb"/((?:" + _WORD + rb"/){0,8}" + _WORD + rb"\.py)")
_EXTENSION = re.compile(_BELOW + rb"/lib-dynload/(" + _WORD + rb")\.(cpython-[0-9a-z]{1,8})-[0-9a-z_-]{1,60}\.so")
_LIBRARY = re.compile(rb"(?:\./)?(?:usr/)?lib/(?:[0-9a-z_]{1,20}-linux-gnu/)?([0-9A-Za-z_+.-]{1,100})")
_NAME = re.compile(r"[0-9A-Za-z_+-][0-9A-Za-z_+.-]{0,90}\.so[0-9.]{0,20}")
_LOADER = re.compile(r"/lib(?:64)?/" + _NAME.pattern)
# Directories of the standard library that an agent has no use for.
_WITHOUT = ("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "pydoc_data", "ensurepip", "distutils", "venv")
_TEST = re.compile(r"_test|_xx|xx")  # extensions for tests of Python
_FILE, _TOTAL, _MOST = 64 << 20, 256 << 20, 10_000  # bytes of a file, of all; files
_NEEDED = ("_ctypes", "termios", "resource")  # extensions without which there is no agent


class _Making:
    """A userland in the making, of packages."""

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture
        self.versions: set[str] = set()  # minor versions of Python
        self.tags: set[str] = set()
        self.program = b""
        self.modules: dict[str, bytes] = {}
        self.extensions: dict[str, bytes] = {}
        self.libraries: dict[str, bytes] = {}
        self._left = _TOTAL

    def take(self, package: str, scratch: str) -> None:
        """Read the interpreter, modules and libraries that a package has. Raises InvalidInput, Corrupt, LimitExceeded."""
        for path, part in sources.members(package, scratch):
            if match := _PROGRAM.fullmatch(path):
                self.versions.add(match[1].decode())
                self.program = self._read(part, path)
            elif match := _MODULE.fullmatch(path):
                name = match[2].decode()
                if name.partition("/")[0] not in _WITHOUT:
                    self.versions.add(match[1].decode())
                    self.modules[name] = self._read(part, path)
            elif match := _EXTENSION.fullmatch(path):
                name = match[2].decode()
                if not _TEST.match(name):
                    self.versions.add(match[1].decode())
                    self.tags.add(match[3].decode())
                    self.extensions[name] = self._read(part, path)
            elif (match := _LIBRARY.fullmatch(path)) and _NAME.fullmatch(match[1].decode()):
                data = self._read(part, path)
                if data.startswith(b"\x7fELF"):  # some are scripts of the linker
                    name = self._elf(data, path.decode()).soname
                    self.libraries[name if _NAME.fullmatch(name) else match[1].decode()] = data

    def _read(self, part: sources.Part, path: bytes) -> bytes:
        data = part.read(_FILE, path.decode("utf-8", "replace"))
        self._left -= len(data)
        if self._left < 0 or len(self.modules) + len(self.libraries) + len(self.extensions) >= _MOST:
            raise LimitExceeded(f"a userland has more than {_MOST} files or {_TOTAL} bytes")
        return data

    def _elf(self, data: bytes, name: str) -> elf.Elf:
        """Return what a program or library says of itself. Raises InvalidInput if it is for another processor."""
        found = elf.read(lambda offset, size: data[offset : offset + size])
        if found is None or found.architecture != self.architecture:
            raise InvalidInput(f"{name:.200} is no program or library for {self.architecture}")
        return found

    def finish(self, version: str, packages: list[str]) -> Userland:
        """Return the record, and keep only libraries that something needs. Raises InvalidInput, Unsupported."""
        absent = [
            what
            for what, there in (
                ("an interpreter", self.program),
                ("its modules", "os.py" in self.modules and "encodings/__init__.py" in self.modules),
                *((f"the module {name}", name in self.extensions) for name in _NEEDED),
            )
            if not there
        ]
        if absent or len(self.versions) != 1 or len(self.tags) != 1:
            raise InvalidInput(
                f"the packages {' '.join(packages)} are not one Python: "
                + (f"{absent[0]} is missing" if absent else "of several versions")
            )
        [python], [tag] = self.versions, self.tags
        if tuple(map(int, python.split("."))) < OLDEST:
            raise Unsupported(f"machines need Python {OLDEST[0]}.{OLDEST[1]}, the packages have {python}")
        program = self._elf(self.program, "the interpreter")
        loader = program.interpreter
        if not _LOADER.fullmatch(loader) or os.path.basename(loader) not in self.libraries:
            raise InvalidInput(f"the packages {' '.join(packages)} lack the dynamic loader: {loader!r:.100}")
        needs = {name: self._elf(data, name).needed for name, data in self.libraries.items()}
        extensions = {name: self._elf(data, name).needed for name, data in self.extensions.items()}
        wanted = _reachable([os.path.basename(loader), *program.needed, *chain(*extensions.values())], needs)
        self.libraries = {name: data for name, data in self.libraries.items() if name in wanted}
        return {
            "format": FORMAT,
            "architecture": self.architecture,
            "version": version,
            "packages": packages,
            "python": python,
            "tag": tag,
            "interpreter": loader,
            "modules": sorted(self.modules),
            "libraries": program.needed,
            "extensions": extensions,
            "needs": {name: needs[name] for name in self.libraries},
        }


def _reachable(names: Iterable[str], needs: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in needs and name not in found:
            found.add(name)
            waiting += needs[name]
    return found


def make(paths: Paths, architecture: str, version: str, packages: Sequence[str]) -> str:
    """Make a userland of Debian packages, given by their paths, in the place of the older one for its architecture; returns
    its directory. `version` is that of the interpreter's package.

    Raises InvalidInput, Corrupt, LimitExceeded, Unsupported, and OSError for what cannot be written.
    """
    with Scratch(paths, "import") as scratch:
        making = _Making(architecture)
        for number, package in enumerate(packages):
            making.take(package, f"{scratch.path}/tar{number}")
            os.unlink(f"{scratch.path}/tar{number}")
        record = making.finish(version, [os.path.basename(package) for package in packages])
        made = f"{scratch.path}/userland"
        _write(f"{made}/python", making.program)
        for name, data in making.modules.items():
            _write(f"{made}/modules/{name}", data)
        for name, data in making.extensions.items():
            _write(f"{made}/extensions/{name}.so", data)
        for name, data in making.libraries.items():
            _write(f"{made}/libraries/{name}", data)
        _write(f"{made}/userland.json", dumps(record).encode())
        os.sync()
        above = ensure(directory_of(paths))
        place = f"{above}/{architecture}"
        with kernels.lock(paths):
            if os.path.lexists(place):
                os.rename(place, f"{scratch.path}/replaced")
            os.rename(made, place)
            sync_directory(above)
        return place


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    with open(path, "xb") as file:
        file.write(data)


def directory_of(paths: Paths) -> str:
    """Return the directory that has the directories of userlands."""
    return paths.root + "/userlands"


def version_of(paths: Paths, architecture: str) -> str:
    """Return the version of the userland for an architecture, "" if there is none that can be used."""
    try:
        record = initrd.userland_record(f"{directory_of(paths)}/{architecture}")
    except (OSError, ValueError):
        return ""
    return record["version"] if record.get("format") == FORMAT else ""


def find(paths: Paths, architecture: str) -> str:
    """Return the directory of the userland for an architecture. Raises NotFound."""
    if not version_of(paths, architecture):
        raise NotFound(
            f"there is no userland for machines of {architecture} in the store: the agent in them needs Python",
            f"`underlay machine kernel fetch --platform linux/{architecture}` gets it with a kernel",
        )
    return f"{directory_of(paths)}/{architecture}"


def remove_unused(paths: Paths) -> None:
    """Remove the userlands of architectures that no kernel in the store is for any more."""
    try:
        used = {kernel.architecture for kernel in kernels.listing(paths)}
    except Corrupt:
        return  # nobody knows what a damaged one is for
    with kernels.lock(paths), Scratch(paths, "gone") as scratch:
        for architecture in kernels.ARCHITECTURES:
            place = f"{directory_of(paths)}/{architecture}"
            if architecture not in used and os.path.lexists(place):
                os.rename(place, f"{scratch.path}/{architecture}")
                sync_directory(directory_of(paths))
