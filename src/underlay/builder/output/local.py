"""`--output type=local`: the result as plain files on the host, owned by the caller, links never followed."""

from __future__ import annotations

import os
import stat

from ...errors import Conflict

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 24


def copy_out(source: int, target: int) -> int:
    """Copy all below the directory `source` into the directory `target`; returns how many files that were.

    Directories are merged; other files replace what has their name. Devices and sockets are left out, since a caller
    without privilege could not make them. Raises Conflict where a file would replace a directory, OSError.
    """
    count = 0
    stack = [(os.dup(source), os.dup(target), "")]
    while stack:
        here, there, path = stack.pop()
        try:
            for name in sorted(os.listdir(here)):
                status = os.lstat(name, dir_fd=here)
                file_path = f"{path}/{name}"
                if stat.S_ISDIR(status.st_mode):
                    stack.append(
                        (os.open(name, _DIRECTORY, dir_fd=here), _directory(there, name, status, file_path), file_path)
                    )
                    continue
                _copy_one(here, there, name, status, file_path)
                count += 1
        finally:
            os.close(here)
            os.close(there)
    return count


def _directory(parent: int, name: str, status: os.stat_result, path: str) -> int:
    try:
        os.mkdir(name, stat.S_IMODE(status.st_mode) | 0o700, dir_fd=parent)
    except FileExistsError:
        pass
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError:
        raise Conflict(f"cannot create the directory {path}: a file of this name exists") from None
    os.fchmod(fd, stat.S_IMODE(status.st_mode) | 0o700)
    return fd


def _copy_one(here: int, there: int, name: str, status: os.stat_result, path: str) -> None:
    mode = status.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)):
        return
    try:
        os.unlink(name, dir_fd=there)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        raise Conflict(f"cannot write the file {path}: a directory of this name exists") from None
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
    elif stat.S_ISFIFO(mode):
        os.mkfifo(name, stat.S_IMODE(mode), dir_fd=there)
    else:
        original = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
        copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=there)
        try:
            while os.sendfile(copy, original, None, _CHUNK):
                pass
            # Set-id bits would give the caller's rights to all users who run the file.
            os.fchmod(copy, stat.S_IMODE(mode) & 0o1777)
        finally:
            os.close(original)
            os.close(copy)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=there, follow_symlinks=False)
