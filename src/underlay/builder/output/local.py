"""`--output type=local`: the result as plain files on the host, owned by the caller, links never followed."""

from __future__ import annotations

import os
import stat

from ...errors import Conflict
from ...trees import Cursor

_CHUNK = 1 << 24


def copy_out(source: int, target: int) -> int:
    """Copy all below the directory `source` into the directory `target`; returns how many files that were.

    Directories are merged; other files replace what has their name. Devices and sockets are left out, since a caller
    without privilege could not make them. Raises Conflict where a file would replace a directory, OSError.
    """
    here, there = Cursor(os.dup(source)), Cursor(os.dup(target))
    try:
        path: list[str] = []
        count, names = _copy_files(here.fd, there.fd, path)
        waiting = [names]
        while True:
            if waiting[-1]:
                name = waiting[-1].pop()
                mode = stat.S_IMODE(os.lstat(name, dir_fd=here.fd).st_mode) | 0o700
                path.append(name)
                here.down(name)
                _enter(there, name, mode, path)
                copied, names = _copy_files(here.fd, there.fd, path)
                count += copied
                waiting.append(names)
                continue
            waiting.pop()
            if not waiting:
                return count
            path.pop()
            here.up()
            there.up()
    finally:
        here.close()
        there.close()


def _copy_files(here: int, there: int, path: list[str]) -> tuple[int, list[str]]:
    """Copy the files of one directory; return how many, and the names of the directories in it, last first."""
    count = 0
    directories: list[str] = []
    for name in sorted(os.listdir(here)):
        status = os.lstat(name, dir_fd=here)
        if stat.S_ISDIR(status.st_mode):
            directories.append(name)
            continue
        _copy_one(here, there, name, status, "/" + "/".join((*path, name)))
        count += 1
    return count, directories[::-1]


def _enter(there: Cursor, name: str, mode: int, path: list[str]) -> None:
    """Go into the directory `name`, which is made unless it is there."""
    try:
        os.mkdir(name, mode, dir_fd=there.fd)
    except FileExistsError:
        pass
    try:
        there.down(name)
    except OSError:
        raise Conflict(f"cannot create the directory /{'/'.join(path)}: a file of this name exists") from None
    os.fchmod(there.fd, mode)


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
