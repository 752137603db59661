"""Blobs: documents (and compressed layers that are kept) as files named by their digest, exact bytes."""

from __future__ import annotations

import fcntl
import os

from ..errors import Corrupt, DigestMismatch, NotFound
from ..files import read_bytes, sync_directory
from ..oci import digest as digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from ..paths import Paths

DOCUMENT_LIMIT = 8 << 20  # bytes; the longest document that may enter (see oci.document)


def path(paths: Paths, digest: str) -> str:
    """Return the path of the blob `digest`; raises InvalidInput when it is not a digest."""
    algorithm, _, digits = digests.check(digest).partition(":")
    return f"{paths.blobs}/{algorithm}/{digits}"


def exists(paths: Paths, digest: str) -> bool:
    """Return whether the blob is in the store."""
    return os.path.exists(path(paths, digest))


def size(paths: Paths, digest: str) -> int:
    """Return the length of a blob in bytes; raises NotFound."""
    try:
        return os.stat(path(paths, digest)).st_size
    except FileNotFoundError:
        raise NotFound(f"no blob {digest} in the store") from None


def read(paths: Paths, digest: str, limit: int = DOCUMENT_LIMIT) -> bytes:
    """Return the bytes of a document, unverified: they were verified on the way in (`system check` does it
    again).

    Raises Corrupt when a blob that a row promises is missing.
    """
    try:
        return read_bytes(path(paths, digest), limit)
    except FileNotFoundError:
        raise Corrupt(
            f"blob {digest} is missing from the store",
            "run `underlay system check --repair`, then load again",
        ) from None


def open_blob(paths: Paths, digest: str) -> int:
    """Return a descriptor for reading the blob; raises NotFound."""
    try:
        return os.open(path(paths, digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotFound(f"no blob {digest} in the store") from None


def put(paths: Paths, data: bytes, digest: str = "") -> str:
    """Store `data` and return its digest; with `digest` given raises DigestMismatch unless it is that."""
    if digest:
        digests.verify(data, digest, "blob")
    else:
        digest = digests.of(data)
    if not exists(paths, digest):
        with Writer(paths, digest, len(data)) as writer:
            writer.write(data)
            writer.commit()
    return digest


class Writer:
    """Takes a blob in pieces under a temporary name; `commit` verifies it and gives it its own name.

    Left without `commit`, nothing stays. `expected` is the digest promised, `length` the size promised in
    bytes or None; writing more than promised raises DigestMismatch at once.
    """

    __slots__ = ("_fd", "_hash", "_paths", "_temporary", "expected", "length", "what", "written")

    def __init__(self, paths: Paths, expected: str, length: int | None = None, what: str = "blob") -> None:
        self.expected = digests.check(expected, what)
        self.length = length
        self.what = what
        self.written = 0
        self._paths = paths
        self._hash = digests.hasher(expected)
        self._temporary = f"{paths.temporary}/blob-{os.getpid()}-{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._temporary, flags, 0o600)
        # Shows the sweep that this file has a living owner.
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        self.written += len(data)
        if self.length is not None and self.written > self.length:
            raise DigestMismatch(
                f"{self.what} {self.expected}: wrong size", f"{self.length} bytes", f"at least {self.written}"
            )
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def commit(self) -> None:
        """Verify size and digest, make the bytes durable and the blob visible; raises DigestMismatch."""
        if self.length is not None and self.written != self.length:
            raise DigestMismatch(f"{self.what} {self.expected}: wrong size", f"{self.length} bytes", f"{self.written}")
        actual_digest = self.expected.partition(":")[0] + ":" + self._hash.hexdigest()
        if actual_digest != self.expected:
            raise DigestMismatch(f"{self.what}: wrong digest", self.expected, actual_digest)
        os.fsync(self._fd)
        target = path(self._paths, self.expected)
        directory = os.path.dirname(target)
        os.makedirs(directory, mode=0o711, exist_ok=True)
        os.rename(self._temporary, target)
        self._temporary = ""
        sync_directory(directory)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        if self._temporary:
            os.unlink(self._temporary)


def every(paths: Paths) -> Iterator[tuple[str, int]]:
    """Yield digest and size of each stored blob; files not named by a digest are skipped."""
    for algorithm in digests.ALGORITHMS:
        try:
            entries = os.scandir(f"{paths.blobs}/{algorithm}")
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                name = f"{algorithm}:{entry.name}"
                if digests.is_digest(name) and entry.is_file(follow_symlinks=False):
                    yield name, entry.stat(follow_symlinks=False).st_size


def remove_leftovers(paths: Paths) -> int:
    """Remove what writers that died left in `paths.temporary`; return the bytes that this freed.

    To be called by the sweep only, which holds the store's lock alone: then a file without a holder is no
    file that is just about to be locked.
    """
    from .scratch import remove_files

    return remove_files(paths, "blob-")


def remove(paths: Paths, digest: str) -> None:
    """Remove a blob; a missing one is fine."""
    try:
        os.unlink(path(paths, digest))
    except FileNotFoundError:
        pass


def check(paths: Paths, digest: str) -> str:
    """Return "" when the blob's content matches its digest, else a description of the problem."""
    state = digests.hasher(digest)
    try:
        fd = open_blob(paths, digest)
    except NotFound:
        return "missing"
    try:
        buffer = memoryview(bytearray(1 << 20))
        while count := os.readv(fd, [buffer]):
            state.update(buffer[:count])
    finally:
        os.close(fd)
    actual_digest = digest.partition(":")[0] + ":" + state.hexdigest()
    return "" if actual_digest == digest else f"expected {digest}, found {actual_digest}"
