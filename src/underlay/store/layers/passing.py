"""A layer that is read once and not kept: its table of contents, checksums of its files, and the contents of a few."""

from __future__ import annotations

import hashlib

from ...errors import DigestMismatch, LimitExceeded, NotFound
from ..kinds import REGULAR, TAR, shown
from ..limits import DEFAULT
from . import codec, tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..limits import Limits
    from .toc import Entry

SUMMED = 1 << 20  # bytes: larger files are told by their size alone


class PassedLayer:
    """What is left of a layer that was read: `entries` as its tar has them, `size` of the tar in bytes."""

    __slots__ = ("_checksums", "_contents", "entries", "size")

    def __init__(
        self, entries: list[Entry], size: int, contents: dict[int, bytes], checksums: dict[int, bytes]
    ) -> None:
        self.entries = entries
        self.size = size
        self._contents = contents
        self._checksums = checksums

    def read(self, entry: Entry, limit: int) -> bytes:
        """Return the content of one of its regular files. Raises LimitExceeded, NotFound when it was not kept."""
        if entry.size > limit:
            raise LimitExceeded(f"{shown(entry.name)} has more than {limit} bytes")
        if not entry.size:
            return b""
        data = self._contents.get(entry.offset) if entry.part == TAR else None
        if data is None:
            raise NotFound(f"{shown(entry.name)} was passed over when the layer was read")
        return data

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        """Return bytes of one of its regular files. Raises NotFound when it was not kept."""
        return self.read(entry, entry.size)[offset : offset + size]

    def checksum(self, entry: Entry) -> bytes:
        """Return the SHA-256 of a file of at most SUMMED bytes, b"" where it is not known."""
        if not entry.size:
            return hashlib.sha256().digest()
        return self._checksums.get(entry.offset, b"") if entry.part == TAR else b""


def read(
    source: Callable[[], bytes], diff_id: str, keep: Callable[[Entry], bool], limits: Limits = DEFAULT
) -> PassedLayer:
    """Read a layer from its compressed bytes; `source()` gives the next, none at the end.

    The contents of files for which `keep` is true are kept. Raises DigestMismatch when the layer is not the one of its
    diff id, and as `codec.decompress` and `tar.Reader` do.
    """
    reader = tar.Reader(limits)
    entries = reader.entries
    total = hashlib.sha256()
    contents: dict[int, bytes] = {}
    checksums: dict[int, bytes] = {}
    position = seen = 0
    entry: Entry | None = None
    digest = hashlib.sha256()
    kept: bytearray | None = None
    pieces = codec.decompress(source, limits)
    next(pieces)
    for piece in pieces:
        total.update(piece)
        reader.feed(piece)
        end = position + len(piece)
        # Members follow each other, so one file at most is still open when a piece ends.
        while entry is not None or seen < len(entries):
            if entry is None:
                entry, seen = entries[seen], seen + 1
                if entry.kind != REGULAR or entry.part != TAR or not entry.size:
                    entry = None
                    continue
                wanted = keep(entry)
                if entry.size > SUMMED and not wanted:
                    entry = None
                    continue
                digest = hashlib.sha256()
                kept = bytearray() if wanted else None
            stop = entry.offset + entry.size
            data = memoryview(piece)[max(entry.offset - position, 0) : max(stop - position, 0)]
            digest.update(data)
            if kept is not None:
                kept += data
            if stop > end:
                break
            if entry.size <= SUMMED:
                checksums[entry.offset] = digest.digest()
            if kept is not None:
                contents[entry.offset] = bytes(kept)
            entry = None
        position = end
    reader.finish()
    actual = "sha256:" + total.hexdigest()
    if actual != diff_id:
        raise DigestMismatch("layer's diff id", diff_id, actual)
    return PassedLayer(entries, position, contents, checksums)
