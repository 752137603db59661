"""ADD of archives: a tar, compressed or not, is recognized by its content; its members go below the destination."""

from __future__ import annotations

import os

import msgspec

from ...errors import Corrupt, InvalidInput, LimitExceeded
from ...paths import Paths
from ...store import layers
from ...store.layers import codec, intake, tar, toc
from ...store.scratch import Scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.layers.toc import Entry
    from ...store.limits import Limits
    from .placing import Destination

# A member's headers come within this many bytes, or it is no archive.
_HEAD = 4 << 20


class _File:
    """Reads a file from its beginning, whatever else happens to the descriptor's position."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = 0

    def read(self, n: int = codec.CHUNK) -> bytes:
        data = os.pread(self._fd, n, self._position)
        self._position += len(data)
        return data


def is_archive(fd: int, limits: Limits) -> bool:
    """Tell whether a file begins as a tar does, through whatever compression it has."""
    reader = tar.Reader(limits)
    left = _HEAD
    try:
        pieces = codec.decompress(_File(fd).read, limits)
        next(pieces)
        for piece in pieces:
            reader.feed(piece)
            left -= len(piece)
            if reader.entries or reader.sparse:
                return True
            if reader.ended or left <= 0:
                return False
    except (Corrupt, LimitExceeded):
        # The first member was good, whatever comes after it.
        return bool(reader.entries)
    return False


def unpack(
    paths: Paths, fd: int, destination: Destination, base: bytes, owner: tuple[int, int] | None, limits: Limits
) -> None:
    """Place the members of an archive below `base`; they belong to `owner`, or to the owners in the archive.

    Links are followed below the destination's root as a chroot would, `..` and absolute names stay below `base`. What is
    in the way is replaced, but directories are merged. Raises Corrupt, LimitExceeded, InvalidInput.
    """
    with Scratch(paths, "layer") as scratch:
        # A small store of its own: a layer's way in has all the checks that an archive needs.
        store = Paths(f"{scratch.path}/store", f"{scratch.path}/state")
        made = intake.ingest(store, _File(fd), limits=limits)
        assert made is not None
        parts: dict[int, int] = {}
        try:
            entries = layers.read_toc(store, made.diff_id)
            for entry in entries:
                if entry.kind == toc.DIRECTORY and entry.name.strip(b"/") == b"":
                    destination.times[base] = entry.mtime
            destination.make(base)
            for entry in entries:
                data = None
                if entry.kind == toc.REGULAR and entry.size:
                    if entry.part not in parts:
                        parts[entry.part] = layers.open_part(store, made.diff_id, entry.part)
                    data = parts[entry.part]
                    os.lseek(data, entry.offset, os.SEEK_SET)
                _place(destination, base, entry, owner, data)
        finally:
            for part in parts.values():
                os.close(part)


def _place(
    destination: Destination, base: bytes, entry: Entry, owner: tuple[int, int] | None, data: int | None
) -> None:
    names = _below(entry.name)
    if not names:
        return  # the archive's own root: nothing but its time is taken over
    parent = destination.resolve("/".join(names[:-1]), base)
    destination.make(parent)
    path = _under(parent, names[-1])
    link = entry.link
    if entry.kind == toc.HARDLINK:
        target = _below(link)
        link = _under(destination.resolve("/".join(target[:-1]), base), target[-1]) if target else b""
        kind = destination.kind(link) if link else None
        if kind is None or kind == toc.DIRECTORY:
            raise InvalidInput(f"hard link {toc.shown(entry.name)} to {toc.shown(entry.link)}, which is not a file")
        if link == path:
            return
    uid, gid = owner or (entry.uid, entry.gid)
    destination.put(msgspec.structs.replace(entry, name=path, link=link, uid=uid, gid=gid), data, replace=True)


def _below(name: bytes) -> list[str]:
    """Return the components of an archive's name; none leads above its root."""
    kept: list[str] = []
    for part in os.fsdecode(name).split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part and part != ".":
            kept.append(part)
    return kept


def _under(directory: bytes, name: str) -> bytes:
    return directory + b"/" + os.fsencode(name) if directory else os.fsencode(name)
