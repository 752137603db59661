"""Layers to upload: the compressed or plain forms in which each can be sent, and the content of each form."""

from __future__ import annotations

import os

from ...errors import Corrupt, NotFound
from ...events import Event
from ...oci import digest as digests
from ...store import blobs, layers
from ...store.layers import codec
from ...store.rows import layers as layer_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...events import Emit
    from ...paths import Paths
    from ...store.rows.meta import Meta

_PIECE = 1 << 20


class Pushed:
    """The result of a push or a copy: the `digest` that the reference now refers to, and the `size` of that document."""

    __slots__ = ("digest", "size")

    def __init__(self, digest: str, size: int) -> None:
        self.digest = digest
        self.size = size


class Stored:
    """A file of the store that is uploaded unchanged: a blob, or the uncompressed tar of a layer.

    `subject` is the layer's diff id.
    """

    def __init__(self, path: str, subject: str, digest: str, size: int, compression: str, emit: Emit) -> None:
        self.subject = subject
        self.digest = digest
        self.size = size
        self.compression = compression
        self.recipe = ""
        self._path = path
        self._emit = emit

    def pieces(self, start: int, /) -> Iterator[bytes]:
        """Yield the bytes from `start` on. Raises NotFound, Corrupt (the file is shorter than recorded)."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound(f"{self.digest} is missing from the store", "run `underlay system check`") from None
        try:
            position = start
            while position < self.size:
                data = os.pread(fd, min(_PIECE, self.size - position), position)
                if not data:
                    raise Corrupt(f"{self.digest} is truncated in the store", "run `underlay system check`")
                position += len(data)
                yield data
                self._emit(Event("blob.progress", self.subject, done=position, total=self.size))
        finally:
            os.close(fd)


class Compressed:
    """A layer's tar, compressed while it is read; the same bytes each time, as the recipe determines them.

    `digest` and `size` are available after the pieces have been read once from the beginning.
    """

    def __init__(self, paths: Paths, diff_id: str, emit: Emit) -> None:
        self.subject = diff_id
        self.diff_id = diff_id
        self.digest = ""
        self.size = -1
        self.compression = "gzip"
        self.recipe = codec.recipe("gzip")
        self._paths = paths
        self._emit = emit

    def pieces(self, start: int, /) -> Iterator[bytes]:
        """Yield the compressed bytes from `start` on."""
        packer = codec.compressor("gzip")
        state = digests.hasher()
        total = layers.size(self._paths, self.diff_id)
        position = 0
        fd = layers.open_part(self._paths, self.diff_id)
        try:
            done = 0
            while True:
                data = os.pread(fd, _PIECE, done)
                done += len(data)
                piece = packer.compress(data) if data else packer.flush()
                state.update(piece)
                before, position = position, position + len(piece)
                if position > start:
                    yield piece[max(start - before, 0) :]
                if not data:
                    break
                self._emit(Event("blob.progress", self.diff_id, done=done, total=total))
        finally:
            os.close(fd)
        self.digest = "sha256:" + state.hexdigest()
        self.size = position


def as_named(paths: Paths, meta: Meta, diff_id: str, blob: str, size: int, emit: Emit) -> Stored | Compressed | None:
    """Return a layer in exactly the form `blob`, None when that form is not stored and cannot be recreated."""
    if blob == diff_id:
        path = layers.directory(paths, diff_id) + "/tar"
        return Stored(path, diff_id, diff_id, layers.size(paths, diff_id), "none", emit)
    known = layer_rows.known_layer(meta, blob)
    if known is not None and known[3] and blobs.exists(paths, blob):
        return Stored(blobs.path(paths, blob), diff_id, blob, size, known[2], emit)
    if layer_rows.recipes(meta, diff_id).get(blob) == codec.recipe("gzip"):
        return Compressed(paths, diff_id, emit)
    return None


class Document:
    """A configuration, or another document that is sent as a blob."""

    def __init__(self, data: bytes, digest: str) -> None:
        self.digest = digest
        self.size = len(data)
        self._data = data

    def pieces(self, start: int, /) -> Iterator[bytes]:
        """Yield the bytes from `start` on."""
        yield self._data[start:]
