"""What a case of the corpus is: a Dockerfile, the files of its context, and the words it is built with."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAST = 1_000_000_000
"""The time of what is in archives: one that no build makes."""


XATTR = "SCHILY.xattr."
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service=ep (linux/capability.h, struct vfs_cap_data)."""


@dataclass(frozen=True)
class Item:
    """Something in a context: a file, or what `kind` says (dir, link, hard, pipe, socket); its `data`, or what it leads
    to."""

    data: bytes = b""
    kind: str = "file"
    mode: int = 0o644
    xattrs: tuple[tuple[str, bytes], ...] = ()

    def make(self, root: Path, name: str) -> None:
        """Make it in a directory."""
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.kind == "dir":
            path.mkdir(exist_ok=True)
        elif self.kind == "link":
            path.symlink_to(os.fsdecode(self.data))
            return
        elif self.kind == "hard":
            path.hardlink_to(root / os.fsdecode(self.data))
            return
        elif self.kind in ("pipe", "socket"):
            os.mknod(path, stat.S_IFIFO if self.kind == "pipe" else stat.S_IFSOCK)
        else:
            path.write_bytes(self.data)
        path.chmod(self.mode)
        for key, value in self.xattrs:
            os.setxattr(path, key, value)


def executable(text: str) -> Item:
    return Item(text.encode(), mode=0o755)


def directory(mode: int = 0o755) -> Item:
    return Item(kind="dir", mode=mode)


def link(target: str) -> Item:
    return Item(target.encode(), "link")


def pipe() -> Item:
    return Item(kind="pipe")


def socket() -> Item:
    return Item(kind="socket")


def hard(target: str) -> Item:
    return Item(target.encode(), "hard")


@dataclass(frozen=True)
class Case:
    """One build. `flags` may speak of {context} and {beside}, a directory with the items of `beside` in it.

    `before`: Dockerfiles that are built first, by the names the images get. `builders` says with whom we are compared:
    d docker, b buildah. `file` is the Dockerfile's place.
    """

    name: str
    dockerfile: str | bytes
    files: Mapping[str, Item | str | bytes] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    stubs: tuple[str, ...] = ()
    """Directories in which places for mounts have to be made."""
    builders: str = "d"
    file: str = "Dockerfile"

    @property
    def past(self) -> int:
        """The time of all that is in the context. Docker takes a file that it has seen before for the same by its path,
        size and time: so each case has another."""
        return PAST + zlib.crc32(self.name.encode()) % 100_000_000

    def write(self, place: Path) -> tuple[Path, list[str]]:
        """Write context and Dockerfile below `place`; return the context and the words of the build."""
        # Docker knows contexts again by their last names.
        context, beside = place / f"context-{self.past}", place / "beside"
        context.mkdir(parents=True)
        beside.mkdir()
        for name, item in self.files.items():
            found = item if isinstance(item, Item) else Item(item.encode() if isinstance(item, str) else item)
            found.make(context, name)
        data = self.dockerfile if isinstance(self.dockerfile, bytes) else self.dockerfile.encode()
        (context / self.file).parent.mkdir(parents=True, exist_ok=True)
        (context / self.file).write_bytes(data)
        for name, text in self.beside.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_text(text)
        for top, directories, names in os.walk(place, topdown=False):
            for name in (*directories, *names):
                os.utime(os.path.join(top, name), (self.past, self.past), follow_symlinks=False)
        os.utime(context, (self.past, self.past))
        flags = [each.format(context=context, beside=beside) for each in self.flags]
        return context, ["-f", str(context / self.file), *flags]


def nameless(first: str) -> bytes:
    """Return a tar whose first member has a name that means nothing."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind in ((first, tarfile.DIRTYPE), ("d", tarfile.DIRTYPE), ("d/f", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.mode = kind, PAST - 1000, 0o755 if kind == tarfile.DIRTYPE else 0o644
            info.size = 2 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"f\n"))
    return buffer.getvalue()


def archive(compress: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return a tar with something of each kind in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: Any) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), PAST - 1000
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o640
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        member("d", tarfile.DIRTYPE, mode=0o750, uid=12, gid=34)
        member("d/file", data=b"file\n", uid=12, gid=34, mode=0o4755)
        member("d/again", tarfile.LNKTYPE, linkname="d/file", uid=12, gid=34, mode=0o4755)
        member("d/link", tarfile.SYMTYPE, linkname="file")
        member("d/pipe", tarfile.FIFOTYPE)
        member("d/capable", data=b"c", mode=0o755, pax_headers={XATTR + "security.capability": CAPABILITY.decode()})
        member("d/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
        member("e/f/no-parents", data=b"x", mode=0o600)
    return compress(buffer.getvalue())


def zstd(data: bytes) -> bytes:
    from backports import zstd as library

    return library.compress(data)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": lambda data: gzip.compress(data, mtime=0),
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstd,
}
