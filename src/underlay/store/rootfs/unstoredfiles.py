"""Single files of an image whose layers are not in the store: read as they come, into a file without a name."""

from __future__ import annotations

import hashlib
import os
import tempfile

import msgspec

from ...errors import Corrupt, DigestMismatch, LimitExceeded
from ...lean.values import Value
from ..kinds import REGULAR, TAR, shown
from ..layers import codec, intake, merge, tar
from ..limits import DEFAULT
from ..scratch import ensure
from .imagefiles import FILE_LIMIT, ImageFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import FileIO
    from types import TracebackType

    from ...paths import Paths
    from ..layers.toc import Entry

_TOTAL_LIMIT = 128 << 30  # bytes of all layers of an image, uncompressed
_ALIGNED = 4096


class LayerStream(Value):
    """A layer to be read: the digest that its uncompressed tar must have, and what returns its next bytes, b"" at the
    end."""

    diff_id: str
    read: Callable[[], bytes]


class _Layer:
    """A layer's tar in an open file that has no name, its `size` in bytes, and its members."""

    __slots__ = ("entries", "file", "size")

    def __init__(self, file: FileIO, size: int, entries: list[Entry]) -> None:
        self.file = file
        self.size = size
        self.entries = entries


class UnstoredFiles(ImageFiles):
    """The files of the image that `layers` make, base first: see ImageFiles. Its tars lie on the disk of the store until
    it is closed.

    Raises DigestMismatch, Corrupt, LimitExceeded, and what reading raises.
    """

    def __init__(self, paths: Paths, layers: Iterable[LayerStream]) -> None:
        self._layers: list[_Layer] = []
        directory = ensure(paths.temporary)
        left = _TOTAL_LIMIT
        try:
            for layer in layers:
                self._layers.append(_received(layer, directory, left))
                left -= self._layers[-1].size
            self._root = merge.merge(layer.entries for layer in self._layers).root
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> UnstoredFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the disk back."""
        for layer in self._layers:
            layer.file.close()

    def lower(self, count: int) -> ImageFiles:
        """See ImageFiles; these files are closed together."""
        below = object.__new__(UnstoredFiles)
        below._layers = self._layers[:count]
        below._root = merge.merge(layer.entries for layer in below._layers).root
        return below

    def part(self, path: bytes, offset: int, size: int) -> bytes:
        """See ImageFiles."""
        node = self.node(path)
        if node is None or node.entry.kind != REGULAR:
            return b""
        entry = node.entry
        fd = self._layers[node.layer].file.fileno()
        return os.pread(fd, max(0, min(size, entry.size - offset)), entry.offset + offset)

    def read(self, path: bytes, limit: int = FILE_LIMIT) -> bytes | None:
        """See ImageFiles."""
        node = self.node(path)
        if node is None or node.entry.kind != REGULAR:
            return None
        if node.entry.size > limit:
            raise LimitExceeded(f"{shown(path)} has more than {limit} bytes")
        data = bytearray()
        while len(data) < node.entry.size:
            piece = self.part(path, len(data), node.entry.size - len(data))
            if not piece:
                raise Corrupt(f"{shown(path)} is shorter than its layer says")
            data += piece
        return bytes(data)


def _received(layer: LayerStream, directory: str, left: int) -> _Layer:
    """Read a layer to its end, uncompressed; what is not what its digest says is refused."""
    file: FileIO = tempfile.TemporaryFile(dir=directory, buffering=0)
    try:
        size = 0
        reader = tar.Reader(DEFAULT)
        hashed = hashlib.sha256()
        pieces = codec.decompress(layer.read, DEFAULT)
        next(pieces)  # the name of its compression
        for piece in pieces:
            hashed.update(piece)
            view = memoryview(piece)
            while view:
                view = view[file.write(view) or 0 :]
            size += len(piece)
            if size > left:
                raise LimitExceeded(f"the layers of the image have more than {_TOTAL_LIMIT} bytes when uncompressed")
            reader.feed(piece)
        reader.finish()
        actual = f"sha256:{hashed.hexdigest()}"
        if actual != layer.diff_id:
            raise DigestMismatch("layer's diff id", layer.diff_id, actual)
        return _Layer(file, size, _expanded(reader, file.fileno()))
    except BaseException:
        file.close()
        raise


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
