"""Kinds of files, as layers and EROFS name them, whiteouts, parts of a layer, and how a file's name is shown to people."""

from __future__ import annotations

# The first seven are the file types of EROFS directory entries (include/uapi/linux/fs.h, FT_*).
REGULAR = 1
DIRECTORY = 2
CHARACTER = 3
BLOCK = 4
FIFO = 5
SOCKET = 6
SYMLINK = 7
HARDLINK = 8

# Names of members that take away what is below (OCI image specification, layer.md, "Whiteouts").
WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
# Where aufs kept a name of each file with several; layers made on it have hard links to there.
LEFTOVER_LINKS = b".wh..wh.plnk"

# Parts of a layer that hold file data.
TAR = 0
SPARSE = 1


def shown(name: bytes) -> str:
    """Return `name` for a message: quoted, control characters escaped, cut to a readable length."""
    text = repr(name.decode("utf-8", "surrogateescape"))
    return text if len(text) <= 120 else text[:117] + "…'"
