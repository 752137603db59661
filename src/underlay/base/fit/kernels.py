"""Facts about a kernel that is not running, from its image, its configuration, or a Debian package of it.

Sources: the kernel's documentation (arch/x86/boot, arch/arm64/booting), deb(5), and the options in its Kconfig files.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import BinaryIO

import msgspec

from ...errors import Corrupt, InvalidInput, LimitExceeded
from ...store.kinds import REGULAR, TAR
from ...store.layers import codec, tar
from ...store.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...store.layers.toc import Entry
    from . import Host

IMAGE_LIMIT = 256 << 20  # bytes of a kernel's image
CONFIG_LIMIT = 4 << 20
_PACKAGE = Limits(total=4 << 30, members=200_000)
_AR = b"!<arch>\n"
RELEASE = r"([0-9]+\.[0-9]+[0-9A-Za-z.+~_-]{0,200})"
_BANNER = re.compile(rb"Linux version " + RELEASE.encode() + rb" \(")
_CONFIG = re.compile(rb"(?:\./)?boot/config-" + RELEASE.encode())
_TITLE = re.compile(rf"# Linux/(\w+) {RELEASE} Kernel Configuration$", re.MULTILINE)
_OPTION = re.compile(r"(CONFIG_\w+)=(.*)$", re.MULTILINE)
_ARCHITECTURES = {"arm64": "arm64", "arm": "arm", "powerpc": "ppc64le", "s390": "s390x", "riscv": "riscv64"}
_PAGES = {"CONFIG_ARM64_16K_PAGES": 16 << 10, "CONFIG_ARM64_64K_PAGES": 64 << 10, "CONFIG_PPC_64K_PAGES": 64 << 10}
_HOW = "give a bzImage, a config-VERSION, or the Debian package (linux-image-….deb) of a kernel"


class Kernel(msgspec.Struct, frozen=True):
    """A kernel: its `release` as uname has it, its `architecture` in the words of images, and the options of its
    configuration that are set; None if they are not known: an image alone does not have them."""

    release: str
    architecture: str
    options: dict[str, str] | None = None

    def on(self, host: Host, name: str) -> Host:
        """Return the facts of a host as they would be if it ran this kernel; `name` is the name that they get.

        The processor is the host's if it is of the kernel's architecture; else nothing is known of it.
        """
        changes: dict[str, object] = {"kernel": self.release, "architecture": self.architecture, "name": name}
        if self.architecture != host.architecture:
            changes |= {"flags": frozenset(), "cpu_architecture": 0, "emulated": (), "page_size": 4096}
        if self.options is not None:
            options = self.options
            compat = "CONFIG_IA32_EMULATION" if self.architecture == "amd64" else "CONFIG_COMPAT"
            changes["vsyscall"] = "CONFIG_LEGACY_VSYSCALL_NONE" not in options
            changes["compat32"] = compat in options and "CONFIG_IA32_EMULATION_DEFAULT_DISABLED" not in options
            changes["nf_tables"] = "CONFIG_NF_TABLES" in options
            changes["page_size"] = next((size for option, size in _PAGES.items() if option in options), 4096)
        return msgspec.structs.replace(host, **changes)


def read(path: str, name: str = "") -> Kernel:
    """Return the kernel in a file, which errors call `name`.

    Raises InvalidInput for another file, Corrupt, LimitExceeded.
    """
    try:
        with open(path, "rb") as file:
            return _read(file, name or path)
    except OSError as error:
        raise InvalidInput(f"{name or path}: {error.strerror}", _HOW) from None


def _read(file: BinaryIO, path: str) -> Kernel:
    head = file.read(0x300)
    if head.startswith(_AR):
        return _package(file, path)
    if image := _image(head, file, path):
        return image
    if head.startswith((b"#", b"CONFIG_")) and b"\0" not in head:
        file.seek(0)
        return configured(file.read(CONFIG_LIMIT), path)
    raise InvalidInput(f"{path} is not a kernel", _HOW)


def is_package(path: str) -> bool:
    """Return whether a file begins as Debian packages do. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(len(_AR)) == _AR


def _image(head: bytes, file: BinaryIO, path: str) -> Kernel | None:
    """Return the kernel whose image begins with `head`, None if these bytes begin no image of a kernel."""
    if head[0x202:0x206] == b"HdrS" and head[0x1FE:0x200] == b"\x55\xaa":
        protocol = int.from_bytes(head[0x206:0x208], "little")
        at = int.from_bytes(head[0x20E:0x210], "little")
        if not at or protocol < 0x200:
            raise InvalidInput(f"{path}: a kernel that does not say which it is", _HOW)
        file.seek(at + 0x200)
        match = re.match(RELEASE.encode() + rb"[ \0]", file.read(256))
        if match is None:
            raise Corrupt(f"{path}: the kernel's version is damaged")
        is_64 = protocol >= 0x20C and head[0x236] & 1  # XLF_KERNEL_64
        return Kernel(match[1].decode(), "amd64" if is_64 else "386")
    if head[56:60] == b"ARM\x64":
        file.seek(0)
        match = _BANNER.search(file.read(IMAGE_LIMIT))
        if match is None:
            raise InvalidInput(f"{path}: an arm64 kernel that does not say which it is", _HOW)
        return Kernel(match[1].decode(), "arm64")
    return None


def configured(data: bytes, path: str) -> Kernel:
    """Return the kernel that a configuration is of; what a distribution adds to the version is not in its `release`.

    Raises InvalidInput, in which the configuration is that of `path`.
    """
    text = data.decode(errors="replace")
    title = _TITLE.search(text)
    if title is None:
        raise InvalidInput(f"{path} is not the configuration of a kernel: no line names its version", _HOW)
    options = dict(_OPTION.findall(text))
    architecture = _ARCHITECTURES.get(title[1], title[1])
    if title[1] == "x86":
        architecture = "amd64" if "CONFIG_X86_64" in options else "386"
    return Kernel(title[2], architecture, options)


def _package(file: BinaryIO, path: str) -> Kernel:
    """Return the kernel of a Debian package: from the configuration in its /boot."""
    pieces = package_files(file, path)
    try:
        found = _configuration(pieces)
    except (Corrupt, LimitExceeded) as error:
        raise Corrupt(f"{path}: the package is damaged: {error.message}") from None
    if found is None:
        raise InvalidInput(f"{path}: a package without /boot/config-VERSION", _HOW)
    # The title in the configuration lacks what the distribution adds to the version.
    return msgspec.structs.replace(configured(found[1], path), release=found[0])


def package_files(file: BinaryIO, path: str, limits: Limits = _PACKAGE) -> Iterator[bytes]:
    """Return the pieces of the tar in which a Debian package has its files.

    Raises InvalidInput and Corrupt, which name `path`; the iterator raises Corrupt and LimitExceeded, which do not.
    """
    for name, size in _members(file, path):
        if name.startswith("data.tar"):
            left = size

            def piece() -> bytes:
                nonlocal left
                data = file.read(min(left, codec.CHUNK))
                left -= len(data)
                return data

            return islice(codec.decompress(piece, limits), 1, None)  # the first is the name of the compression
    raise InvalidInput(f"{path}: a package without files", _HOW)


def _members(file: BinaryIO, path: str) -> Iterator[tuple[str, int]]:
    """Yield name and size of each member of an ar archive, with the file positioned at its content (deb(5), ar(5))."""
    at, end = len(_AR), os.fstat(file.fileno()).st_size
    while at < end:
        file.seek(at)
        header = file.read(60)
        digits = header[48:58].strip()
        if len(header) != 60 or header[58:] != b"`\n" or not digits.isdigit() or at + 60 + int(digits) > end:
            raise Corrupt(f"{path}: the package is damaged")
        yield header[:16].decode(errors="replace").strip().rstrip("/"), int(digits)
        at += 60 + int(digits) + int(digits) % 2


def _configuration(pieces: Iterator[bytes]) -> tuple[str, bytes] | None:
    """Return version and text of the configuration in a tar's /boot, None without one. Raises Corrupt, LimitExceeded."""
    reader, position, seen = tar.Reader(_PACKAGE), 0, 0
    entry: Entry | None = None
    text = b""
    for piece in pieces:
        reader.feed(piece)
        while entry is None and seen < len(reader.entries):
            each, seen = reader.entries[seen], seen + 1
            if _CONFIG.fullmatch(each.name) and (each.kind, each.part) == (REGULAR, TAR) and each.size <= CONFIG_LIMIT:
                entry = each
        if entry is not None:
            begin = max(entry.offset + len(text) - position, 0)
            text += piece[begin : begin + entry.size - len(text)]
            if len(text) == entry.size:
                return entry.name.decode().partition("config-")[2], text
        position += len(piece)
    reader.finish()
    return None
