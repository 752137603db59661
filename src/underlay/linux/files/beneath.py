"""Opening paths that others chose, below a root descriptor: links cannot lead out (openat2(2), Linux 5.6)."""

from __future__ import annotations

import os
import stat

from ...errors import KernelError
from .. import libc

AT_FDCWD = -100
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
EAGAIN = 11


def open_in_root(root: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` as a process with root directory `root` (a descriptor) would; returns a descriptor.

    Absolute links and `..` stay inside, magic links are refused. `resolve` adds RESOLVE_* bits. Raises KernelError.
    """
    how = libc.words(  # struct open_how
        8,
        flags | os.O_CLOEXEC,
        mode if flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY) else 0,
        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
    )
    return _openat2(root, path, how)


def open_beneath(root: int, path: str, flags: int, resolve: int = 0) -> int:
    """Open `path` below the directory `root` (a descriptor); links and `..` that lead out of it are refused (EXDEV).

    `resolve` adds RESOLVE_* bits. Raises KernelError.
    """
    how = libc.words(8, flags | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve)
    return _openat2(root, path, how)


def open_own(path: str, flags: int) -> int:
    """Open `path` as usual for this process, except that magic links (/proc/PID/exe, fd, root…) are refused."""
    how = libc.words(8, flags | os.O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS)
    return _openat2(AT_FDCWD, path, how)


def _openat2(root: int, path: str, how: bytes) -> int:
    for _ in range(128):
        fd = libc.syscall("openat2", root, os.fsencode(path), how, len(how))
        if fd >= 0:
            return fd
        # The kernel asks to try again when a rename raced with `..` (openat2(2), EAGAIN).
        if libc.errno() != EAGAIN:
            break
    raise KernelError("open", path, libc.errno())


def make_directories(root: int, path: str, mode: int = 0o755) -> int:
    """Return an O_PATH descriptor of directory `path` inside `root`, making what is missing.

    Links are followed inside the root, as the image's author meant them. Raises KernelError (ENOTDIR for a file).
    """
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return open_in_root(root, path, flags)
    except KernelError as error:
        if error.errno != 2:
            raise
    current = ""
    fd = open_in_root(root, "/", flags)
    for part in path.split("/"):
        if part in ("", "."):
            continue
        current += "/" + part
        try:
            following = open_in_root(root, current, flags)
        except KernelError as error:
            if error.errno != 2:
                os.close(fd)
                raise
            try:
                os.mkdir(part, mode, dir_fd=fd)
            except FileExistsError:
                # A link that leads nowhere: what it names cannot be made without leaving its meaning to the image.
                os.close(fd)
                raise KernelError("make directory", path, 40) from None
            except OSError as failure:
                os.close(fd)
                raise KernelError("make directory", path, failure.errno or 5) from None
            following = open_in_root(root, current, flags | os.O_NOFOLLOW)
        os.close(fd)
        fd = following
    return fd


def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """Return an O_PATH descriptor of the non-directory `path` inside `root`, making an empty file if it is missing."""
    try:
        return open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno != 2:
            raise
    parent = path.rstrip("/").rpartition("/")[0]
    directory = make_directories(root, parent or "/")
    try:
        os.close(open_in_root(root, path, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK, mode))
    finally:
        os.close(directory)
    return open_in_root(root, path, os.O_PATH)


def read_regular(root: int, path: str, limit: int) -> bytes | None:
    """Return at most `limit` bytes of the regular file `path` inside `root`; None when there is no such file.

    Never blocks: FIFOs, devices and directories count as absent (attacks RT-21). Devices are not even opened, which may
    do something already (watchdogs, tapes), and this process is not yet held by the container's list of devices.
    """
    try:
        look = open_in_root(root, path, os.O_PATH)
        try:
            if not stat.S_ISREG(os.fstat(look).st_mode):
                return None
        finally:
            os.close(look)
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = b""
        while len(data) < limit:
            piece = os.read(fd, limit - len(data))
            if not piece:
                break
            data += piece
        return data
    finally:
        os.close(fd)
