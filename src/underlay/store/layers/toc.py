"""The table of contents of one layer: its members in order, and their compact form on disk."""

from __future__ import annotations

import os

import msgspec

from ...errors import Corrupt
from ..kinds import BLOCK, CHARACTER, DIRECTORY, FIFO, HARDLINK, REGULAR, SOCKET, SPARSE, SYMLINK, TAR, shown
from .walking import kind_of

__all__ = [
    "BLOCK",
    "CHARACTER",
    "DIRECTORY",
    "FIFO",
    "HARDLINK",
    "REGULAR",
    "SOCKET",
    "SPARSE",
    "SYMLINK",
    "TAR",
    "Entry",
    "decode",
    "encode",
    "entry_of",
    "shown",
]

_MAGIC = b"underlay toc 1\n"


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One member of a layer's tar, as its headers say it: nothing is filtered or resolved yet.

    `name` and `link` are bytes as found (`link`: target of a symbolic or hard link). `mode` holds the twelve
    permission bits only. `mtime` is in seconds since the epoch and may be negative; `nsec` is 0 to 999999999.
    The `size` bytes of a regular file start at byte `offset` of the layer's part `part` (`TAR` or `SPARSE`),
    always at a multiple of 512.
    """

    name: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    nsec: int
    offset: int = 0
    part: int = TAR
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


_decoder: msgspec.msgpack.Decoder[list[Entry]] = msgspec.msgpack.Decoder(list[Entry])
_encoder = msgspec.msgpack.Encoder()


def content(entries: list[Entry]) -> int:
    """Return the bytes of the regular files: what an image's size is counted in, as docker does."""
    return sum(entry.size for entry in entries if entry.kind == REGULAR)


def encode(entries: list[Entry]) -> bytes:
    """Return the on-disk form: a line naming format and version, then MessagePack."""
    return _MAGIC + _encoder.encode(entries)


def decode(data: bytes) -> list[Entry]:
    """Return the entries in `data`; raises Corrupt when they are not what `encode` made."""
    if not data.startswith(_MAGIC):
        raise Corrupt("not a table of contents of this version")
    try:
        return _decoder.decode(memoryview(data)[len(_MAGIC) :])
    except msgspec.MsgspecError as error:
        raise Corrupt(f"damaged table of contents: {error}") from None


def entry_of(
    path: bytes, facts: os.stat_result, xattrs: tuple[tuple[bytes, bytes], ...] = (), link: bytes = b""
) -> Entry:
    """Return the member that a file with these facts becomes, under the name `path`."""
    mode = facts.st_mode
    kind = kind_of(mode)
    seconds, nanoseconds = divmod(facts.st_mtime_ns, 1_000_000_000)
    major = minor = 0
    if kind in (CHARACTER, BLOCK):
        major, minor = os.major(facts.st_rdev), os.minor(facts.st_rdev)
    size = facts.st_size if kind == REGULAR else 0
    return Entry(
        path, kind, mode & 0o7777, facts.st_uid, facts.st_gid, size, seconds, nanoseconds,
        0, TAR, link, major, minor, xattrs,
    )  # fmt: skip
