"""Packing: the upper directory of an overlay becomes a layer, its whiteouts in the words of tars."""

from __future__ import annotations

import os
import stat

import msgspec

from ...errors import InvalidInput, Unsupported
from ..kinds import OPAQUE, WHITEOUT
from ..limits import DEFAULT
from . import toc, walking
from .layer_writer import LayerWriter
from .merge import Node
from .toc import Entry, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ...paths import Paths
    from ..limits import Limits
    from .intake import IngestedLayer


def pack(
    paths: Paths,
    upper: int,
    *,
    userxattr: bool,
    clamp: int | None = None,
    skip: Collection[bytes] = (),
    limits: Limits = DEFAULT,
) -> IngestedLayer:
    """Create a layer from the directory `upper`, the upper directory of an overlay that is no longer mounted.

    `userxattr` says that the overlay was mounted with that option, and keeps its marks in `user.overlay.*`. `skip` are
    paths relative to `upper` that are left out, with all below them. Sockets are left out, as docker does.
    Raises InvalidInput for names that mean something else in a layer, Unsupported where the directory does not hold all
    that the overlay shows, KernelError naming the path that cannot be read, LimitExceeded.
    """
    with LayerWriter(paths, clamp=clamp, limits=limits) as writer:
        _Packer(writer, b"user.overlay." if userxattr else b"trusted.overlay.", skip).pack(upper)
        return writer.finish()


class _Packer:
    def __init__(self, writer: LayerWriter, marks: bytes, skip: Collection[bytes]) -> None:
        self._writer = writer
        self._marks = marks
        self._skip = frozenset(skip)
        # First names of files that have several.
        self._names: dict[tuple[int, int], bytes] = {}

    def pack(self, upper: int) -> None:
        skip = self._skip
        for fd, path, name, kind in walking.walk(upper, lambda path: path not in skip):
            if path in skip:
                continue
            if name.startswith(WHITEOUT):
                raise InvalidInput(
                    f"{shown(path)}: cannot store a file whose name begins with .wh.",
                    "in a layer such names mark removed files (whiteouts); remove it in the same step",
                )
            if kind == toc.REGULAR:
                self._regular(fd, path, name)
            else:
                self._other(fd, path, name)

    def _regular(self, parent: int, path: bytes, name: bytes) -> None:
        fd, facts = walking.open_file(parent, name, path)
        try:
            xattrs = walking.file_attributes(fd, path)
            if xattrs and not facts.st_size and any(key == self._marks + b"whiteout" for key, _ in xattrs):
                self._gone(path, name)
                return
            entry = toc.entry_of(path, facts)
            if xattrs:
                entry = self._with(entry, xattrs)
            if facts.st_nlink > 1 and self._linked(entry, facts):
                return
            self._writer.add(entry, fd)
        finally:
            os.close(fd)

    def _other(self, parent: int, path: bytes, name: bytes) -> None:
        facts = walking.look(parent, name, path)
        form = stat.S_IFMT(facts.st_mode)
        if form == stat.S_IFSOCK:
            return
        if form == stat.S_IFCHR and not facts.st_rdev:
            self._gone(path, name)
            return
        link = walking.read_link(parent, name, path) if form == stat.S_IFLNK else b""
        entry = toc.entry_of(path, facts, link=link)
        if form != stat.S_IFDIR and facts.st_nlink > 1 and self._linked(entry, facts):
            return
        xattrs = walking.attributes(parent, name, path)
        self._writer.add(self._with(entry, xattrs) if xattrs else entry)
        # "x" marks only that files in it may be whiteouts by attribute.
        if (self._marks + b"opaque", b"y") in xattrs:
            self._writer.add(Entry(path + b"/" + OPAQUE, toc.REGULAR, 0, 0, 0, 0, entry.mtime, 0))

    def _gone(self, path: bytes, name: bytes) -> None:
        self._writer.add(Entry(path[: len(path) - len(name)] + WHITEOUT + name, toc.REGULAR, 0, 0, 0, 0, 0, 0))

    def _linked(self, entry: Entry, facts: os.stat_result) -> bool:
        """Add a file as a hard link if one of its names was added before.

        The link repeats all attributes: they are applied to the file when the layer is unpacked.
        """
        first = self._names.setdefault((facts.st_dev, facts.st_ino), entry.name)
        if first == entry.name:
            return False
        self._writer.add(msgspec.structs.replace(entry, kind=toc.HARDLINK, link=first))
        return True

    def _with(self, entry: Entry, xattrs: tuple[tuple[bytes, bytes], ...]) -> Entry:
        """Return the member with those attributes that an image may set."""
        for mark in (b"redirect", b"metacopy"):
            if any(key == self._marks + mark for key, _ in xattrs):
                raise Unsupported(
                    f"{shown(entry.name)}: its content lies in a lower layer ({mark.decode()})",
                    "the overlay must be mounted with redirect_dir=off and metacopy=off",
                )
        entry = msgspec.structs.replace(entry, xattrs=xattrs)
        return msgspec.structs.replace(entry, xattrs=tuple(Node(entry, 0).xattrs))
