"""Partial downloads: the beginnings of blobs, kept for a day so that the next try resumes.

The bytes are not verified; who continues reads them first and hashes them like the rest.
"""

from __future__ import annotations

import fcntl
import os

from ..files import is_at
from ..oci import digest as digests
from .scratch import remove_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..paths import Paths

KEPT = 24 * 3600.0  # seconds after the last byte
_PREFIX = "partial-"


class Partial:
    """The beginning of one blob in a file; `size` bytes of it are there. One process has it at a time."""

    __slots__ = ("_fd", "_path", "size")

    def __init__(self, fd: int, path: str, size: int) -> None:
        self._fd = fd
        self._path = path
        self.size = size

    def read(self, position: int, most: int) -> bytes:
        """Return bytes from `position` on; none at the end."""
        return os.pread(self._fd, min(most, max(self.size - position, 0)), position)

    def append(self, data: bytes) -> None:
        """Add what came next. Raises OSError; the file is then shorter than `size` and of no more use."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, self.size)
            self.size += count
            view = view[count:]

    def restart(self) -> None:
        """Discard the stored part."""
        os.ftruncate(self._fd, 0)
        self.size = 0

    def close(self, keep: bool) -> None:
        """Give it up; unless to `keep`, the file goes."""
        if self._fd >= 0:
            if not keep or not self.size:
                os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1


def _path(paths: Paths, digest: str) -> str:
    return f"{paths.temporary}/{_PREFIX}{digests.check(digest).replace(':', '-')}"


def there(paths: Paths, digest: str) -> bool:
    """Return whether an earlier attempt has stored part of a blob."""
    return os.path.exists(_path(paths, digest))


def take(paths: Paths, digest: str, limit: int) -> Partial | None:
    """Open the partial file of a blob of `limit` bytes, or a new one; None while another process has it locked.

    Raises InvalidInput for an invalid digest, OSError.
    """
    path = _path(paths, digest)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(fd).st_size
            if not is_at(fd, path):
                raise FileNotFoundError
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            # It was removed between the two calls: another process had finished with it.
            os.close(fd)
            continue
        if size > limit:
            os.ftruncate(fd, 0)
            size = 0
        return Partial(fd, path, size)


def drop(paths: Paths, digest: str) -> None:
    """Remove what an earlier try has left of a blob, unless another process has it."""
    if there(paths, digest):
        partial = take(paths, digest, 0)
        if partial is not None:
            partial.close(keep=False)


def size(paths: Paths) -> int:
    """Return the bytes on disk of all partial files."""
    total = 0
    for name in os.listdir(paths.temporary):
        if name.startswith(_PREFIX):
            try:
                total += os.lstat(f"{paths.temporary}/{name}").st_blocks * 512
            except FileNotFoundError:
                continue  # continued and done with
    return total


def expire(paths: Paths, everything: bool = False) -> int:
    """Remove partial files older than a day, or all that no process has locked; return the bytes freed."""
    return remove_files(paths, _PREFIX, 0.0 if everything else KEPT)
