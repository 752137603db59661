"""Which modules of a kernel a machine needs, and in which order they have to be loaded.

Dependencies are read from the modules themselves: packages have no modules.dep, depmod(8) makes that on installation. The
section .modinfo of each has `depends=a,b`, and what it wants loaded before in `softdep=pre: c` (linux/module.h).
"""

from __future__ import annotations

import os
import re
import struct

from ...errors import Corrupt, InvalidInput, LimitExceeded
from ...store.layers import codec
from ...store.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sources import Part

# What machines need of a kernel, in the order in which it is loaded where it is not built in.
WANTED = (
    *("virtio_pci", "virtio_blk", "virtio_console", "erofs", "overlay", "ext4", "virtio_net", "fuse", "virtiofs"),
    *("af_packet", "virtio_balloon"),
)
# Those without which none can run, with the option of the kernel's configuration.
REQUIRED = {
    "erofs": "CONFIG_EROFS_FS",
    "overlay": "CONFIG_OVERLAY_FS",
    "virtio_blk": "CONFIG_VIRTIO_BLK",
    "virtio_console": "CONFIG_VIRTIO_CONSOLE",
    "ext4": "CONFIG_EXT4_FS",
}
_OPTIONS = {
    **REQUIRED,
    "virtio_pci": "CONFIG_VIRTIO_PCI",
    "virtio_net": "CONFIG_VIRTIO_NET",
    "fuse": "CONFIG_FUSE_FS",
    "virtiofs": "CONFIG_VIRTIO_FS",
    "af_packet": "CONFIG_PACKET",
    "virtio_balloon": "CONFIG_VIRTIO_BALLOON",
}
_FILE = re.compile(r"(?:.*/)?([0-9A-Za-z_-]{1,64})\.ko(?:\.xz|\.gz|\.zst|\.bz2)?")
_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")
_LIMITS = Limits(total=64 << 20, members=4)
_BUILT_IN_LIMIT = 4 << 20
_MOST, _TOTAL = 200, 256 << 20  # modules that are loaded, and their bytes
_MACHINES = {62: "amd64", 183: "arm64"}
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr


class Chosen:
    """The modules of a machine: `contents` by their names, in the order in which they have to be loaded, and the names of
    the wanted ones that are `built_in`."""

    __slots__ = ("built_in", "contents")

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.built_in: list[str] = []


class _Missing(Exception):
    """A module that another needs is not there."""


def choose(
    below: Mapping[str, Part], options: Mapping[str, str] | None, release: str, architecture: str, source: str
) -> Chosen:
    """Return what a machine needs of the files `below` a kernel's directory of modules.

    Raises InvalidInput if the kernel lacks what a machine cannot do without, Corrupt and LimitExceeded for bad modules.
    """
    inventory = _Inventory(below, release, architecture, source)
    chosen = Chosen()
    lacking = []
    for name in WANTED:
        if name in inventory.built_in or (options or {}).get(_OPTIONS[name]) == "y":
            chosen.built_in.append(name)
            continue
        try:
            chosen.contents |= inventory.with_dependencies(name, chosen.contents)
        except _Missing as missing:
            if name in REQUIRED:
                lacking.append(_lack(name, str(missing), options))
    if lacking:
        known = bool(below) or options is not None
        raise InvalidInput(
            f"the kernel {release} lacks what a machine needs: {', '.join(lacking)}",
            "take another kernel, such as Debian's linux-image-cloud-amd64"
            if known
            else f"neither its configuration nor its modules are known: give the directory with --modules, or put "
            f"config-{release} beside it",
        )
    return chosen


def _lack(name: str, missing: str, options: Mapping[str, str] | None) -> str:
    if missing != name:
        return f"{name} (it depends on {missing}, which is not there)"
    if options is None:
        return name
    option = _OPTIONS[name]
    return (
        f"{name} ({option} is {options[option]}, but there is no such module)"
        if option in options
        else f"{name} ({option})"
    )


class _Inventory:
    """The modules of a kernel, by their names; each is read when it is asked for."""

    def __init__(self, below: Mapping[str, Part], release: str, architecture: str, source: str) -> None:
        self._release, self._architecture, self._source = release, architecture, source
        self._files: dict[str, tuple[str, Part]] = {}
        # Of two that are called alike the kernel's own comes first: kernel/ before updates/.
        for path, part in sorted(below.items()):
            if match := _FILE.fullmatch(path):
                self._files.setdefault(match[1].replace("-", "_"), (path, part))
        self.built_in: set[str] = set()
        self._left = _TOTAL
        if listed := below.get("modules.builtin"):
            text = listed.read(_BUILT_IN_LIMIT, "modules.builtin").decode(errors="replace")
            self.built_in = {
                match[1].replace("-", "_") for line in text.splitlines() if (match := _FILE.fullmatch(line))
            }

    def with_dependencies(self, name: str, there: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return a module after those that it needs, without what is `there` already. Raises _Missing."""
        found: dict[str, bytes] = {}
        self._add(name, there, found, ())
        return found

    def _add(self, name: str, there: Mapping[str, bytes], found: dict[str, bytes], above: tuple[str, ...]) -> None:
        if name in there or name in found or name in self.built_in:
            return
        if name in above:
            raise Corrupt(f"{self._source}: the modules {' and '.join(above[above.index(name) :])} need each other")
        if name not in self._files:
            raise _Missing(name)
        if len(there) + len(found) + len(above) >= _MOST:
            raise LimitExceeded(f"{self._source}: a machine would have to load more than {_MOST} modules")
        data = self._read(name)
        depends, before = self._needs(name, data)
        for other in before:
            # Names of algorithms stand there, too, such as crc32c: crc32c_generic is the module for any processor.
            for each in (other, f"{other}_generic"):
                if each in self._files and each not in (name, *above):
                    try:
                        self._add(each, there, found, (*above, name))
                    except _Missing:
                        pass  # it can do without
                    break
        for other in depends:
            self._add(other, there, found, (*above, name))
        found[name] = data

    def _read(self, name: str) -> bytes:
        path, part = self._files[name]
        shown = f"{self._source}: the module {path}"
        packed = part.read(_LIMITS.total, shown)
        waiting = [packed]
        pieces = codec.decompress(lambda: waiting.pop() if waiting else b"", _LIMITS)
        try:
            next(pieces)  # the name of the compression
            data = b"".join(pieces)
        except (Corrupt, LimitExceeded) as error:
            raise type(error)(f"{shown} is damaged: {error.message}") from None
        self._left -= len(data)
        if self._left < 0:
            raise LimitExceeded(f"{self._source}: the modules of a machine have more than {_TOTAL} bytes")
        return data

    def _needs(self, name: str, data: bytes) -> tuple[list[str], list[str]]:
        """Return the modules that one needs, and those that it wants before itself if they are there.

        Raises Corrupt, InvalidInput.
        """
        shown = f"{self._source}: the module {name}"
        machine, strings = _modinfo(data, shown)
        if machine != self._architecture:
            raise InvalidInput(f"{shown} is not for {self._architecture}")
        depends: list[str] = []
        before: list[str] = []
        for text in strings:
            key, _, value = text.decode("ascii", "replace").partition("=")
            if key == "depends":
                depends += [each for each in value.split(",") if each]
            elif key == "softdep" and value.startswith("pre:"):
                before += value[4:].partition("post:")[0].split()
            elif key == "vermagic" and value.partition(" ")[0] != self._release:
                raise InvalidInput(
                    f"{shown} is one of the kernel {value.partition(' ')[0]:.100}, not of {self._release}"
                )
        if not all(map(_NAME.fullmatch, depends)):
            raise Corrupt(f"{shown}: it names a dependency that is not the name of a module")
        return [each.replace("-", "_") for each in depends], [each.replace("-", "_") for each in before]


def _modinfo(data: bytes, shown: str) -> tuple[str, list[bytes]]:
    """Return the architecture of a module, and the strings of its section .modinfo (elf(5)). Raises Corrupt."""
    try:
        header = _HEADER.unpack_from(data)
        ident, machine, start, width, count, names_index = (header[each] for each in (0, 2, 6, 11, 12, 13))
        if ident[:6] != b"\x7fELF\2\1" or width != _SECTION.size:
            raise Corrupt(f"{shown} is not a module for a 64-bit processor")
        sections = [_SECTION.unpack_from(data, start + number * width) for number in range(count)]
        names = sections[names_index]
        for section in sections:
            at = names[4] + section[0]
            if data[at : at + 9] == b".modinfo\0":
                return _MACHINES.get(machine, ""), data[section[4] : section[4] + section[5]].split(b"\0")
    except (struct.error, IndexError):
        pass
    raise Corrupt(f"{shown} is damaged: it does not say what it needs")


def write(chosen: Chosen, directory: str) -> None:
    """Write modules to a new directory, durably. Raises OSError."""
    os.mkdir(directory, 0o700)
    for name, data in chosen.contents.items():
        with open(f"{directory}/{name}.ko", "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
