"""Taking layers in: one pass over a stream, verified, stored as tar and table of contents."""

from __future__ import annotations

import errno
import os
import threading

import msgspec

from ...errors import Corrupt, DigestMismatch, LimitExceeded
from ...events import Event, ignore
from ...files import Lock, sync_directory
from ...lean.values import Value
from ...linux.files import writeback
from ...oci import digest as digests
from ..limits import DEFAULT
from ..scratch import Scratch, ensure
from . import codec, directory, tar, toc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ...events import Emit
    from ...paths import Paths
    from ..limits import Limits

    class Source(Protocol):
        """Where a layer comes from: `read(n)` gives at most n bytes, none at the end."""

        def read(self, n: int, /) -> bytes: ...


# Pieces between the threads; each is at most codec.CHUNK long, so this bounds the memory of an ingest.
_QUEUE = 8
_WRITEBACK = 8 << 20
_EXPLAINED = 256 << 20
_ZEROS = bytes(codec.CHUNK)


class IngestedLayer(Value):
    """The result of ingesting a layer. Sizes are bytes; `compression` is as `codec.detect` returns it."""

    diff_id: str
    size: int
    entries: int
    content: int  # bytes of its regular files
    blob_digest: str
    blob_size: int
    compression: str


def ingest(
    paths: Paths,
    source: Source,
    *,
    expected_diff_id: str | None = None,
    expected_blob: tuple[str, int] | None = None,
    limits: Limits = DEFAULT,
    emit: Emit = ignore,
) -> IngestedLayer | None:
    """Ingest a layer from `source`, compressed in any way that `codec` supports; it becomes visible when complete.

    `expected_diff_id` is the digest that the uncompressed tar must have; when that layer is in the store already,
    nothing is read and None is returned. Of two processes that expect the same layer one waits for the other.
    `expected_blob` is the digest and the size in bytes of the compressed bytes. Emits `layer.progress` with
    `done` and `total` in compressed bytes (total 0 when unknown).

    Raises DigestMismatch, Corrupt (no tar, damaged compression), LimitExceeded, InvalidInput (a malformed
    digest), OSError from disk, and whatever `source.read` raises. Nothing is left behind then.
    """
    if expected_blob is not None:
        digests.check(expected_blob[0], "layer digest")
    if expected_diff_id is None:
        return _ingest(paths, source, None, expected_blob, limits, emit)
    layer_directory = directory(paths, expected_diff_id)
    if os.path.isdir(layer_directory):
        return None
    ensure(paths.locks)
    with Lock(f"{paths.locks}/layer-{os.path.basename(layer_directory)}"):
        if os.path.isdir(layer_directory):
            return None
        return _ingest(paths, source, expected_diff_id, expected_blob, limits, emit)


def _ingest(
    paths: Paths,
    source: Source,
    diff_id: str | None,
    blob: tuple[str, int] | None,
    limits: Limits,
    emit: Emit,
) -> IngestedLayer:
    intake = _Intake(source, blob, emit, blob[0] if blob else diff_id or "")
    with Scratch(paths, "layer") as scratch:
        made = f"{scratch.path}/made"
        os.mkdir(made, 0o700)
        try:
            with _Sink(f"{made}/tar", limits) as sink:
                pieces = codec.decompress(intake.read, limits)
                compression = next(pieces).decode()
                for piece in pieces:
                    sink.put(piece)
                intake.verify()
        except (Corrupt, LimitExceeded) as error:
            if not isinstance(error, DigestMismatch):
                intake.explain()
            raise
        if diff_id is not None and sink.diff_id != diff_id:
            raise DigestMismatch("layer's diff id", diff_id, sink.diff_id)
        entries = _expand(made, sink.reader)
        _write_toc(f"{made}/toc", entries)
        for name in os.listdir(made):
            sync_file(f"{made}/{name}")
        sync_directory(made)
        layer_directory = directory(paths, sink.diff_id)
        ensure(paths.layers)
        try:
            os.rename(made, layer_directory)
        except OSError as error:
            # Another process was faster with the same bytes: theirs is as good.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync_directory(paths.layers)
    content = toc.content(entries)
    return IngestedLayer(sink.diff_id, sink.size, len(entries), content, intake.digest, intake.size, compression)


class _Intake:
    """Reads the source, hashing and counting; never takes more than the expected size and one byte."""

    def __init__(self, source: Source, blob: tuple[str, int] | None, emit: Emit, subject: str) -> None:
        import hashlib

        self._source = source
        self._blob = blob
        self._emit = emit
        self._subject = subject
        self._algorithm = blob[0].partition(":")[0] if blob else "sha256"
        self._hash = hashlib.new(self._algorithm)
        self.size = 0

    @property
    def digest(self) -> str:
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def read(self) -> bytes:
        want = codec.CHUNK
        if self._blob is not None:
            want = min(want, self._blob[1] - self.size + 1)
        data = self._source.read(want) if want > 0 else b""
        self.size += len(data)
        if self._blob is not None:
            expected = self._blob[1]
            if self.size > expected:
                raise DigestMismatch(f"size of layer {self._blob[0]}", expected, "more")
            if not data and self.size < expected:
                raise DigestMismatch(f"size of layer {self._blob[0]}", expected, self.size)
        self._hash.update(data)
        if data:
            total = self._blob[1] if self._blob else 0
            self._emit(Event("layer.progress", self._subject, done=self.size, total=total))
        return data

    def explain(self) -> None:
        """Raise DigestMismatch when bytes that could not be taken for a layer are not the bytes promised either.

        So much is read for that, but not without end.
        """
        if self._blob is not None and self._blob[1] - self.size <= _EXPLAINED:
            while self.read():
                pass
            self.verify()

    def verify(self) -> None:
        if self._blob is not None and self.digest != self._blob[0]:
            raise DigestMismatch("layer's digest", self._blob[0], self.digest)


class _Sink:
    """Hashes and writes the tar and reads its headers in a thread, while the caller reads and inflates.

    These two halves take about the same time, and all of it but the header reading runs without the
    interpreter lock. On leaving without an error the tar is complete.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        import hashlib
        from queue import Queue

        self.reader = tar.Reader(limits)
        self.size = 0
        self._hash = hashlib.sha256()
        self._path = path
        self._queue: Queue[bytes | None] = Queue(_QUEUE)
        self._error: BaseException | None = None
        self._aborted = False
        self._thread = threading.Thread(target=self._run, name="layer-sink", daemon=True)

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def __enter__(self) -> _Sink:
        self._thread.start()
        return self

    def put(self, piece: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(piece)

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: object) -> None:
        self._aborted = kind is not None
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        ended = False
        try:
            with open(self._path, "xb", buffering=0) as file:
                while (piece := self._queue.get()) is not None:
                    self._take(file.fileno(), piece)
                ended = True
                os.ftruncate(file.fileno(), self.size)
            if not self._aborted:
                self.reader.finish()
        except BaseException as error:
            self._error = error
            # The producer must neither block on a full queue nor go on for long.
            while not ended:
                ended = self._queue.get() is None

    def _take(self, fd: int, piece: bytes) -> None:
        if self._aborted:
            return
        self._hash.update(piece)
        self.reader.feed(piece)
        # A piece of zeros becomes a hole: the comparison costs nothing for others, and bombs of zeros no
        # space.
        if len(piece) < 4096 or piece != _ZEROS[: len(piece)]:
            view = memoryview(piece)
            position = self.size
            while view:
                count = os.pwrite(fd, view, position)
                position += count
                view = view[count:]
        before = self.size
        self.size += len(piece)
        if before // _WRITEBACK != self.size // _WRITEBACK:
            # The fsync at the end shall find little to do. What is written stays cached: it will be read soon.
            writeback.begin(fd, (before // _WRITEBACK) * _WRITEBACK, _WRITEBACK)


def _expand(made: str, reader: tar.Reader) -> list[toc.Entry]:
    """Expand each sparse member into the layer's sparse file, and return the entries with their offsets there.

    There a member has its logical size, holes stay holes, and it starts at a multiple of 4096.
    """
    entries = reader.entries
    if not reader.sparse:
        return entries
    source = os.open(f"{made}/tar", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(f"{made}/sparse", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            position = 0
            for member in reader.sparse:
                entry = entries[member.index]
                entries[member.index] = msgspec.structs.replace(entry, offset=position)
                start = member.start
                for offset, length in member.pieces:
                    copy_range(source, start, target, position + offset, length)
                    start += length
                position += (entry.size + 4095) & -4096
            os.ftruncate(target, position)
        finally:
            os.close(target)
    finally:
        os.close(source)
    return entries


def copy_range(source: int, start: int, target: int, position: int, length: int) -> None:
    """Copy `length` bytes between files inside the kernel where it can (copy_file_range(2)).

    Raises Corrupt when `source` ends before, OSError otherwise.
    """
    while length:
        try:
            count = os.copy_file_range(source, target, min(length, 1 << 30), start, position)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            count = os.pwrite(target, os.pread(source, min(length, codec.CHUNK), start), position)
        if not count:
            raise Corrupt("a layer's tar is shorter than its table of contents says")
        start += count
        position += count
        length -= count


def _write_toc(path: str, entries: list[toc.Entry]) -> None:
    with open(path, "xb") as file:
        file.write(toc.encode(entries))


def sync_file(path: str) -> None:
    """Make the content of the file `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
