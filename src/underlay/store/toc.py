"""The table of contents of one layer: its members in order, and their compact form on disk."""

from __future__ import annotations

import msgspec

from ..errors import Corrupt

# Kinds of members. The first seven are the file types of EROFS directory entries (include/uapi/linux/fs.h,
# FT_*).
REGULAR = 1
DIRECTORY = 2
CHARACTER = 3
BLOCK = 4
FIFO = 5
SOCKET = 6
SYMLINK = 7
HARDLINK = 8

# Parts of a layer that hold file data.
TAR = 0
SPARSE = 1

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


def shown(name: bytes) -> str:
    """Return `name` for a message: quoted, control characters escaped, cut to a readable length."""
    text = repr(name.decode("utf-8", "surrogateescape"))
    return text if len(text) <= 120 else text[:117] + "…'"
