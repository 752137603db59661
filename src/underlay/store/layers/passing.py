"""Layers that are read where they lie and not taken into the store: their tables of contents and their files."""

from __future__ import annotations

import hashlib
import os
import tempfile

import msgspec

from ...errors import Corrupt, DigestMismatch, LimitExceeded, NotFound
from ..kinds import REGULAR, TAR, shown
from ..limits import DEFAULT
from . import codec, intake, tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import FileIO

    from ..limits import Limits
    from .toc import Entry

    Source = Callable[[], bytes]

SUMMED = 1 << 20  # bytes: larger files are told by their size alone
_ALIGNED = 4096


class SkimmedLayer:
    """What is kept of a layer in memory: `entries` as its tar has them, `size` of the tar in bytes, contents of a few files
    and checksums of the small ones."""

    __slots__ = ("_checksums", "_contents", "entries", "size")

    def __init__(
        self, entries: list[Entry], size: int, contents: Mapping[int, bytes], checksums: Mapping[int, bytes]
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

    def close(self) -> None:
        """Nothing is to be given back."""


class SpooledLayer:
    """A layer whose tar, of `size` bytes, is in a file without a name until it is closed; `entries` say where in it."""

    __slots__ = ("_file", "entries", "size")

    def __init__(self, entries: list[Entry], size: int, file: FileIO) -> None:
        self.entries = entries
        self.size = size
        self._file = file

    def read(self, entry: Entry, limit: int) -> bytes:
        """Return the content of one of its regular files. Raises LimitExceeded, Corrupt."""
        if entry.size > limit:
            raise LimitExceeded(f"{shown(entry.name)} has more than {limit} bytes")
        data = bytearray()
        while len(data) < entry.size:
            piece = self.part(entry, len(data), entry.size - len(data))
            if not piece:
                raise Corrupt(f"{shown(entry.name)} is shorter than its layer says")
            data += piece
        return bytes(data)

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        """Return bytes of one of its regular files."""
        return os.pread(self._file.fileno(), max(0, min(size, entry.size - offset)), entry.offset + offset)

    def checksum(self, entry: Entry) -> bytes:
        """Return the SHA-256 of a file of at most SUMMED bytes, b"" for a larger one."""
        return hashlib.sha256(self.read(entry, SUMMED)).digest() if entry.size <= SUMMED else b""

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()


def spool(source: Source, diff_id: str, directory: str, limits: Limits = DEFAULT) -> SpooledLayer:
    """Read a layer from its compressed bytes into a file of `directory` that has no name; `source()` gives the next bytes,
    none at the end.

    Raises DigestMismatch when the layer is not the one of its diff id, and as `codec.decompress` and `tar.Reader` do.
    """
    file: FileIO = tempfile.TemporaryFile(dir=directory, buffering=0)
    try:
        size = 0
        reader = tar.Reader(limits)
        for piece in _verified(source, diff_id, reader, limits):
            size += len(piece)
            view = memoryview(piece)
            while view:
                view = view[file.write(view) or 0 :]
        return SpooledLayer(_expanded(reader, file.fileno()), size, file)
    except BaseException:
        file.close()
        raise


def skim(source: Source, diff_id: str, keep: Callable[[Entry], bool], limits: Limits = DEFAULT) -> SkimmedLayer:
    """Read a layer from its compressed bytes and keep the contents of the files for which `keep` is true; see `spool`."""
    reader = tar.Reader(limits)
    entries = reader.entries
    contents: dict[int, bytes] = {}
    checksums: dict[int, bytes] = {}
    position = seen = 0
    entry: Entry | None = None
    digest = hashlib.sha256()
    kept: bytearray | None = None
    for piece in _verified(source, diff_id, reader, limits):
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
    return SkimmedLayer(entries, position, contents, checksums)


def _verified(source: Source, diff_id: str, reader: tar.Reader, limits: Limits) -> Iterator[bytes]:
    """Yield the plain bytes of a layer when its reader has them; raises DigestMismatch at the end."""
    digest = hashlib.sha256()
    pieces = codec.decompress(source, limits)
    next(pieces)  # the name of its compression
    for piece in pieces:
        digest.update(piece)
        reader.feed(piece)
        yield piece
    reader.finish()
    actual = f"sha256:{digest.hexdigest()}"
    if actual != diff_id:
        raise DigestMismatch("layer's diff id", diff_id, actual)


def _expanded(reader: tar.Reader, fd: int) -> list[Entry]:
    """Write each sparse member in full behind the tar, its holes as holes; return the entries with their places there."""
    entries = reader.entries
    for member in reader.sparse:
        entry = entries[member.index]
        end = (os.fstat(fd).st_size + _ALIGNED - 1) & -_ALIGNED
        start = member.start
        for offset, length in member.pieces:
            intake.copy_range(fd, start, fd, end + offset, length)
            start += length
        os.ftruncate(fd, end + entry.size)
        entries[member.index] = msgspec.structs.replace(entry, part=TAR, offset=end)
    return entries
