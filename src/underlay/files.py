"""Writing files so that a crash leaves the old or the new one, locks between processes, removing trees."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def sync_directory(path: str) -> None:
    """Make the names in directory `path` durable (fsync(2) on the directory)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Replacement:
    """A file that is written, as the descriptor that the block gets, and takes the place of `path` in one step when the
    block ends well; else nothing has been.

    A path that is `named_by_user` may be that of a device or a pipe: that is written to, and nothing takes its place.
    """

    __slots__ = ("_durable", "_fd", "_mode", "_named_by_user", "_path", "_temporary")

    def __init__(self, path: str, mode: int = 0o600, durable: bool = True, named_by_user: bool = False) -> None:
        self._path = path
        self._named_by_user = named_by_user
        self._mode = mode
        self._durable = durable

    def __enter__(self) -> int:
        if self._named_by_user and _is_special(self._path):
            self._temporary = ""
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            return self._fd
        self._temporary = f"{self._path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._temporary, flags, self._mode)
        return self._fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                if error is None and self._durable and self._temporary:
                    os.fsync(self._fd)
            finally:
                os.close(self._fd)
            if error is None and self._temporary:
                os.rename(self._temporary, self._path)
        except BaseException:
            self._remove()
            raise
        if error is not None:
            self._remove()
        elif self._durable and self._temporary:
            sync_directory(os.path.dirname(self._path) or ".")

    def _remove(self) -> None:
        if not self._temporary:
            return
        try:
            os.unlink(self._temporary)
        except FileNotFoundError:
            pass


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def write_output(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a file that the user has named: in one step, or into the device or pipe that it is."""
    with Replacement(path, mode, named_by_user=True) as fd:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def write_atomic(
    path: str, data: bytes, mode: int = 0o600, durable: bool = True, owner: tuple[int, int] | None = None
) -> None:
    """Replace `path` by `data` in one step: temporary name, fsync, rename, fsync of the directory.

    With `durable` false a power cut may lose it (for state that a reboot voids anyway), a crash may not. The `owner` (user
    and group) is set before the file has its name, by descriptor: the directory may be another user's.
    """
    with Replacement(path, mode, durable) as fd:
        if owner is not None:
            os.fchown(fd, *owner)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def read_bytes(path: str, limit: int = 64 << 20) -> bytes:
    """Return the content of `path`, at most `limit` bytes; raises OSError (EFBIG) when it is longer."""
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


class Lock:
    """An flock(2) on a file, held from `__enter__` to `__exit__`; the kernel drops it when the process dies.

    `shared` takes it beside other shared holders. Without `create` the file must exist: for observers, which would
    otherwise make the file again while its owner removes it. `acquire(wait=False)` returns whether it was had. The file
    is never removed while the lock is free to be taken by others, so all agree on one inode.
    """

    __slots__ = ("create", "fd", "path", "shared")

    def __init__(self, path: str, shared: bool = False, create: bool = True) -> None:
        self.path = path
        self.shared = shared
        self.create = create
        self.fd = -1

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; without `wait` return False when another holds it. Raises OSError."""
        create = os.O_CREAT if self.create else 0
        fd = os.open(self.path, os.O_RDWR | create | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        flags = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        try:
            fcntl.flock(fd, flags if wait else flags | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        return True

    def release(self) -> None:
        """Give the lock back, unless another process has been given the descriptor; harmless when it is not held."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def end(self) -> None:
        """Give the lock back for every process that has a copy of the descriptor; harmless when it is not held."""
        if self.fd >= 0:
            unlock(self.fd)
            self.fd = -1

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_at(fd: int, path: str) -> bool:
    """Return whether an open file or directory is still the one at `path`: who waits for a lock may hold one that another
    process has removed, while a new one has the name."""
    try:
        there, held = os.lstat(path), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def unlock(fd: int) -> None:
    """Give a lock back and close its descriptor; for the one process to which the lock belongs.

    Closing alone keeps the lock as long as another process has a copy of the descriptor (flock(2)): one that was forked for
    something else, until it executes its program, or the one that has handed the lock over and has not closed its own yet.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove `path` and all below it without following links and without crossing into mounts.

    Raises OSError when something cannot be removed; a missing `path` is fine. Works by descriptors, one at a
    time, so a name swapped for a link meanwhile leads nowhere and no depth is too deep. Directories that even
    their owner may not search (a container may leave them) are opened up first.
    """
    parent, name = os.path.split(path.rstrip("/"))
    try:
        fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not _unlink(fd, name):
            _empty(fd, name)
            os.rmdir(name, dir_fd=fd)
    finally:
        os.close(fd)


_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _unlink(parent: int, name: str) -> bool:
    """Remove a name and return True, or return False when it is a directory."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return False
    except PermissionError as error:
        # POSIX's answer for directories, and Linux's for what is immutable: opening it will tell.
        if error.errno != errno.EPERM:
            raise
        return False
    return True


def _open_searchable(parent: int, name: str) -> int:
    """Open a directory, after giving its owner back the right to read and change it."""
    try:
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    except PermissionError:
        # Through a handle, since chmod by name would follow a link that took the directory's place.
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        finally:
            os.close(handle)
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    try:
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _empty(parent: int, name: str) -> None:
    """Remove all that is in the directory `name` below `parent`, depth first, without recursion."""
    fd = _open_searchable(parent, name)
    try:
        info = os.fstat(fd)
        device = info.st_dev
        stack = [(info.st_ino, name, os.listdir(fd))]
        while True:
            _, here, names = stack[-1]
            if names:
                child = names.pop()
                if _unlink(fd, child):
                    continue
                below = _open_searchable(fd, child)
                os.close(fd)
                fd = below
                info = os.fstat(fd)
                if info.st_dev != device:
                    raise OSError(errno.EBUSY, "a file system is mounted here", child)
                stack.append((info.st_ino, child, os.listdir(fd)))
                continue
            stack.pop()
            if not stack:
                return
            above = os.open("..", _OPEN_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = above
            info = os.fstat(fd)
            if (info.st_dev, info.st_ino) != (device, stack[-1][0]):
                raise OSError(errno.EBUSY, "the directory was moved while being removed", here)
            os.rmdir(here, dir_fd=fd)
    finally:
        os.close(fd)
