"""Walking directory trees written by others: by descriptors, so that no link leads out and no depth is too deep."""

from __future__ import annotations

import os
import stat

from ...errors import Conflict, KernelError
from .. import kinds
from ..kinds import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Xattrs = tuple[tuple[bytes, bytes], ...]

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a FIFO that took the file's place must not wait for a writer.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_KINDS = {
    stat.S_IFREG: kinds.REGULAR,
    stat.S_IFDIR: kinds.DIRECTORY,
    stat.S_IFLNK: kinds.SYMLINK,
    stat.S_IFCHR: kinds.CHARACTER,
    stat.S_IFBLK: kinds.BLOCK,
    stat.S_IFIFO: kinds.FIFO,
    stat.S_IFSOCK: kinds.SOCKET,
}


def walk(root: int, enter: Callable[[bytes], bool], base: bytes = b"") -> Iterator[tuple[int, bytes, bytes, int]]:
    """Yield (descriptor, path, name, kind) of all that is below the directory `root`: sorted, parents first.

    The descriptor is that of the directory in which `name` is, valid until the next step; `path` begins with `base`.
    The kind is that of a regular file, a directory or a link, or 0 for all others. A directory is entered after its own
    step, if `enter(path)` says so. Raises KernelError naming the path, Conflict when directories move meanwhile.
    """
    fd = _open(root, b".", base)
    try:
        stack = [(_identity(fd), base, listed(fd))]
        while True:
            identity, path, rest = stack[-1]
            prefix = path + b"/" if path else b""
            entered = b""
            while rest:
                name, kind = rest.pop()
                below = prefix + name
                yield fd, below, name, kind
                if kind == kinds.DIRECTORY and enter(below):
                    entered = below
                    break
            if entered:
                following = _open(fd, name, entered)
                os.close(fd)
                fd = following
                stack.append((_identity(fd), entered, listed(fd)))
                continue
            stack.pop()
            if not stack:
                return
            above = _open(fd, b"..", path)
            os.close(fd)
            fd = above
            identity = stack[-1][0]
            if _identity(fd) != identity:
                raise Conflict(f"{shown(path)} was moved while it was read")
    finally:
        os.close(fd)


def _open(parent: int, name: bytes, path: bytes) -> int:
    try:
        return os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    except OSError as error:
        raise failed(path or b"/", error) from None


def _identity(fd: int) -> tuple[int, int]:
    facts = os.fstat(fd)
    return facts.st_dev, facts.st_ino


def listed(fd: int) -> list[tuple[bytes, int]]:
    """Return names and kinds, in reverse order; the kind comes with the name, without a stat(2) for each."""
    children = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                kind = kinds.REGULAR
            elif entry.is_dir(follow_symlinks=False):
                kind = kinds.DIRECTORY
            else:
                kind = kinds.SYMLINK if entry.is_symlink() else 0
            children.append((os.fsencode(entry.name), kind))
    children.sort(reverse=True)
    return children


def failed(path: bytes, error: OSError) -> KernelError:
    """Return the error that says that `path` could not be read."""
    return KernelError("read", os.fsdecode(path), error.errno or 5)


def open_file(parent: int, name: bytes, path: bytes) -> tuple[int, os.stat_result]:
    """Open the regular file `name` in the directory `parent` for reading; return it with what is known about it."""
    try:
        fd = os.open(name, _OPEN_FILE, dir_fd=parent)
    except OSError as error:
        raise failed(path, error) from None
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        os.close(fd)
        raise Conflict(f"{shown(path)} was replaced while it was read")
    return fd, facts


def look(parent: int, name: bytes, path: bytes) -> os.stat_result:
    """Return stat(2) of `name` in the directory `parent`, links not followed."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise failed(path, error) from None


def attributes(parent: int, name: bytes, path: bytes) -> Xattrs:
    """Return the extended attributes of `name` in the directory `parent`, sorted; links are not followed."""
    # There are no such calls relative to a directory; the last component alone is of the directory's making.
    return _pairs(b"/proc/self/fd/%d/%s" % (parent, name), path)


def file_attributes(fd: int, path: bytes) -> Xattrs:
    """Return the extended attributes of an open file, sorted."""
    return _pairs(fd, path)


def attributes_at(path: bytes, follow: bool) -> Xattrs:
    """Return the extended attributes of what is at a path, sorted; a link at its end is followed if `follow`."""
    return _pairs(path, path, follow)


def _pairs(target: int | bytes, path: bytes, follow: bool = False) -> Xattrs:
    follow = follow or isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
        if not names:
            return ()
        return tuple((n, os.getxattr(target, n, follow_symlinks=follow)) for n in sorted(map(os.fsencode, names)))
    except OSError as error:
        if error.errno == 95:  # EOPNOTSUPP: a file system without any
            return ()
        raise failed(path, error) from None


def kind_of(mode: int) -> int:
    """Return the kind (`kinds.REGULAR`…) of a file with this st_mode."""
    return _KINDS[stat.S_IFMT(mode)]


def read_link(parent: int, name: bytes, path: bytes) -> bytes:
    """Return the target of the symbolic link `name` in the directory `parent`."""
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:
        raise failed(path, error) from None
