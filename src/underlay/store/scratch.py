"""Temporary directories for unfinished work: locked while their maker lives, removed by others once it is dead."""

from __future__ import annotations

import fcntl
import os
from time import time

from ..errors import UnderlayError
from ..files import is_at
from ..linux.userns import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ..paths import Paths

_KINDS = ("build-", "gone-", "import-", "index-", "layer-", "machine-", "scan-", "tree-")


def ensure(directory: str) -> str:
    """Make `directory` and those above it when missing, for its owner only; return it."""
    try:
        os.makedirs(directory, 0o700)
    except FileExistsError:
        pass
    return directory


class Scratch:
    """A directory below `paths.temporary`, from `__enter__` to `__exit__`.

    While in use it is locked with flock(2), so that `remove_leftovers` skips it; the kernel releases the
    lock when the process dies, and the next `Scratch` removes the directory. The name has the kind and the process id,
    for people.
    """

    __slots__ = ("_kind", "_paths", "fd", "path")

    def __init__(self, paths: Paths, kind: str) -> None:
        assert kind + "-" in _KINDS
        self._paths = paths
        self._kind = kind
        self.fd = -1
        self.path = ""

    def __enter__(self) -> Scratch:
        ensure(self._paths.temporary)
        try:
            remove_leftovers(self._paths)
        except (OSError, UnderlayError):
            pass  # leftovers do no harm; an explicit sweep reports them
        while True:
            path = f"{self._paths.temporary}/{self._kind}-{os.getpid()}-{os.urandom(6).hex()}"
            os.mkdir(path, 0o700)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            # A cleaner may have seen the directory before it was locked; then it is gone, and a new one is
            # needed.
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.exists(path):
                self.fd = fd
                self.path = path
                return self
            os.close(fd)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            remove_tree(self.path)
        except KeyboardInterrupt:
            remove_tree(self.path)  # the second signal of an impatient user
            raise
        finally:
            os.close(self.fd)


def remove_leftovers(paths: Paths) -> list[str]:
    """Remove what dead processes left in `paths.temporary` and return the names; safe beside live ones.

    Only directories made by `Scratch` are looked at. Raises OSError when one cannot be removed.
    """
    removed: list[str] = []
    try:
        names = os.listdir(paths.temporary)
    except FileNotFoundError:
        return removed
    for name in sorted(names):
        if not name.startswith(_KINDS):
            continue
        path = f"{paths.temporary}/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            remove_tree(path)
            removed.append(name)
        finally:
            os.close(fd)
    return removed


def remove_files(paths: Paths, prefix: str, older: float = 0.0) -> int:
    """Remove the files in `paths.temporary` whose names begin with `prefix`, that no process has locked and that were last
    written more than `older` seconds ago; return the bytes that this freed.
    """
    freed = 0
    try:
        names = os.listdir(paths.temporary)
    except FileNotFoundError:
        return 0
    for name in names:
        if not name.startswith(prefix):
            continue
        path = f"{paths.temporary}/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            facts = os.fstat(fd)
            if is_at(fd, path) and (not older or facts.st_mtime < time() - older):
                os.unlink(path)
                freed += facts.st_size
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            os.close(fd)
    return freed
