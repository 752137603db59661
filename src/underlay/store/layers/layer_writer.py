"""Writing a layer: members become its tar, hashed on the way, and its table of contents, with no second look at them."""

from __future__ import annotations

import errno
import os
import threading

from ...errors import Conflict, InvalidInput, LimitExceeded
from ...files import sync_directory
from ...linux.files import writeback
from .. import layers
from ..limits import DEFAULT
from ..scratch import Scratch, ensure
from . import codec, intake, toc
from .intake import IngestedLayer
from .tarheader import BLOCK, header
from .toc import Entry, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue import Queue
    from types import TracebackType

    from ...paths import Paths
    from ..limits import Limits

__all__ = ["LayerWriter"]

# Members are gathered into pieces of this size, which a thread hashes and writes while the next one is gathered.
_PIECE = 512 << 10
_QUEUE = 8
_WRITEBACK = 8 << 20
_ZEROS = bytes(codec.CHUNK)


class LayerWriter:
    """Writes one layer into the store: `add` its members in order, then `finish`; nothing is visible before that.

    To be used with `with`, which removes what an error left unfinished. The store then holds exactly what
    `intake.ingest` makes of the same tar. Times are whole seconds unless `subsecond`; those after `clamp` (seconds since
    the epoch) become it. Raises LimitExceeded for what `ingest` would not take.
    """

    def __init__(
        self, paths: Paths, *, clamp: int | None = None, subsecond: bool = False, limits: Limits = DEFAULT
    ) -> None:
        self.entries: list[Entry] = []
        self._paths = paths
        self._clamp = clamp
        self._subsecond = subsecond
        self._limits = limits
        self._scratch = Scratch(paths, "layer")
        self._made = ""
        self._out: _Out | None = None
        self._buffer = bytearray()
        self._offset = 0  # in the tar, of the next header
        self._metadata = 0

    def __enter__(self) -> LayerWriter:
        self._made = f"{self._scratch.__enter__().path}/made"
        os.mkdir(self._made, 0o700)
        self._out = _Out(f"{self._made}/tar")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._out is not None:
                self._out.abort()
        finally:
            self._scratch.__exit__(kind, value, trace)

    def add(self, entry: Entry, data: int | bytes | None = None) -> None:
        """Add a member; `offset` and `part` of `entry` do not matter, the final slash of a directory may be missing.

        `data` is the content of a regular file of `entry.size` bytes: bytes, or a descriptor that is read from where
        it stands. Raises Conflict when there is less of it, InvalidInput for what a tar cannot hold.
        """
        name = entry.name
        kind = entry.kind
        if kind == toc.DIRECTORY and not name.endswith(b"/"):
            name += b"/"
        mtime, nsec = entry.mtime, entry.nsec if self._subsecond else 0
        if self._clamp is not None and mtime >= self._clamp:
            mtime, nsec = self._clamp, 0
        size = entry.size if kind == toc.REGULAR else 0
        entry = Entry(
            name, kind, entry.mode & 0o7777, entry.uid, entry.gid, size, mtime, nsec,
            0, toc.TAR, entry.link, entry.major, entry.minor, entry.xattrs,
        )  # fmt: skip
        head = header(entry)
        offset = self._offset + len(head)
        self._offset = offset + (size + BLOCK - 1 & -BLOCK)
        self._check(entry)
        if kind == toc.REGULAR:
            entry = Entry(
                name, kind, entry.mode, entry.uid, entry.gid, size, mtime, nsec,
                offset, toc.TAR, b"", 0, 0, entry.xattrs,
            )  # fmt: skip
        self.entries.append(entry)
        buffer = self._buffer
        buffer += head
        if size:
            self._content(entry, data)
            buffer = self._buffer
        if len(buffer) >= _PIECE:
            self._flush()

    def finish(self) -> IngestedLayer:
        """Complete the layer, make it durable, then visible; another process may have been faster with the same bytes."""
        assert self._out is not None
        self._buffer += bytes(2 * BLOCK)
        self._flush()
        diff_id = self._out.finish()
        size = self._out.size
        with open(f"{self._made}/toc", "xb") as file:
            file.write(toc.encode(self.entries))
        layer_directory = layers.directory(self._paths, diff_id)
        if not os.path.isdir(layer_directory):
            intake.sync_file(f"{self._made}/tar")
            intake.sync_file(f"{self._made}/toc")
            sync_directory(self._made)
            ensure(self._paths.layers)
            try:
                os.rename(self._made, layer_directory)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            sync_directory(self._paths.layers)
        return IngestedLayer(diff_id, size, len(self.entries), toc.content(self.entries), diff_id, size, "none")

    # The parts of `add`

    def _content(self, entry: Entry, data: int | bytes | None) -> None:
        size = entry.size
        padding = bytes(-size % BLOCK)
        if isinstance(data, int):
            left = size
            while left:
                # Large files go past the buffer, by pieces of their own.
                if len(self._buffer) >= _PIECE or left >= _PIECE:
                    self._flush()
                piece = os.read(data, min(left, codec.CHUNK))
                if not piece:
                    raise Conflict(f"{shown(entry.name)} became shorter while it was read")
                left -= len(piece)
                if len(piece) >= _PIECE:
                    self._put(piece)
                else:
                    self._buffer += piece
        elif data is not None and len(data) == size:
            self._buffer += data
        else:
            raise InvalidInput(f"{shown(entry.name)}: its content does not have {size} bytes, as its entry says")
        self._buffer += padding

    def _flush(self) -> None:
        if self._buffer:
            self._put(self._buffer)
            self._buffer = bytearray()

    def _put(self, piece: bytes | bytearray) -> None:
        assert self._out is not None
        self._out.put(piece)

    def _check(self, entry: Entry) -> None:
        """Refuse what `ingest` would refuse to read."""
        limits = self._limits
        name, link = entry.name, entry.link
        if not name or b"\0" in name or b"\0" in link:
            raise InvalidInput(f"a layer cannot hold a file called {shown(name)}")
        if len(name) > limits.path or len(link) > limits.link:
            raise LimitExceeded(f"{shown(name)}: the path is longer than {limits.path} bytes, the limit for layers")
        if self._offset > limits.total:
            raise LimitExceeded(
                f"{shown(name)}: the layer is larger than {limits.total} bytes", "is there a sparse file?"
            )
        self._metadata += len(name) + len(link)
        if entry.xattrs:
            self._metadata += sum(len(key) + len(value) for key, value in entry.xattrs)
            if len(entry.xattrs) > limits.xattrs or any(len(v) > limits.xattr_value for _, v in entry.xattrs):
                raise LimitExceeded(f"{shown(name)} has more extended attributes than the limit for layers")
        if len(self.entries) >= limits.members or self._metadata > limits.metadata:
            raise LimitExceeded(f"more than {limits.members} files, or too long names: above the limit for layers")


class _Out:
    """Hashes and writes pieces: in a thread once there is more than one, since both run without the interpreter lock."""

    def __init__(self, path: str) -> None:
        import hashlib

        self.size = 0
        self._hash = hashlib.sha256()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._first: bytes | bytearray | None = None
        self._queue: Queue[bytes | bytearray | None] | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def put(self, piece: bytes | bytearray) -> None:
        if self._first is None and self._queue is None:
            self._first = piece
            return
        if self._queue is None:
            from queue import Queue

            self._queue = Queue(_QUEUE)
            self._queue.put(self._first)
            self._first = None
            self._thread = threading.Thread(target=self._run, name="layer-writer", daemon=True)
            self._thread.start()
        if self._error is not None:
            raise self._error
        self._queue.put(piece)

    def finish(self) -> str:
        """Write what is left; return the digest."""
        self._join()
        if self._error is not None:
            raise self._error
        if self._first is not None:
            self._take(self._first)
        os.ftruncate(self._fd, self.size)
        return f"sha256:{self._hash.hexdigest()}"

    def abort(self) -> None:
        """Stop the thread and close the file, whatever state they are in."""
        self._join()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _join(self) -> None:
        if self._thread is not None and self._queue is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        assert self._queue is not None
        while (piece := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._take(piece)
                except BaseException as error:
                    # The rest is taken off the queue, so that its other end does not wait for ever.
                    self._error = error

    def _take(self, piece: bytes | bytearray) -> None:
        self._hash.update(piece)
        before = self.size
        self.size += len(piece)
        if len(piece) < 4096 or piece != _ZEROS[: len(piece)]:  # zeros become a hole
            view = memoryview(piece)
            position = before
            while view:
                count = os.pwrite(self._fd, view, position)
                position += count
                view = view[count:]
        if before // _WRITEBACK != self.size // _WRITEBACK:
            # The fsync at the end shall find little to do.
            writeback.begin(self._fd, (before // _WRITEBACK) * _WRITEBACK, _WRITEBACK)
