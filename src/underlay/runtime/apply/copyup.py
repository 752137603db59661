"""Filling a new volume with the files that the image has at its mount point."""

from __future__ import annotations

import os
import stat

from ...trees import Cursor

_CHUNK = 1 << 20


def copy_tree(source: int, target: int) -> None:
    """Copy all below directory `source` into the empty directory `target`: owners, modes, times, extended attributes.

    Links are copied as links; names are opened below one descriptor of each tree only, however deep they are. Raises
    OSError.
    """
    here, there = Cursor(os.dup(source)), Cursor(os.dup(target))
    try:
        waiting = [_copy_files(here.fd, there.fd)]
        while True:
            if waiting[-1]:
                name = waiting[-1].pop()
                os.mkdir(name, 0o700, dir_fd=there.fd)
                here.down(name)
                there.down(name)
                waiting.append(_copy_files(here.fd, there.fd))
                continue
            # After what is in it, which changes its times.
            _copy_status(here.fd, there.fd)
            waiting.pop()
            if not waiting:
                return
            here.up()
            there.up()
    finally:
        here.close()
        there.close()


def _copy_files(here: int, there: int) -> list[str]:
    """Copy what is in one directory into another; return the names of the directories in it."""
    directories: list[str] = []
    for name in os.listdir(here):
        status = os.lstat(name, dir_fd=here)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            directories.append(name)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=there, follow_symlinks=False)
        elif stat.S_ISREG(mode):
            _copy_file(here, there, name)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(name, stat.S_IMODE(mode), dir_fd=there)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=there, follow_symlinks=False)
    return directories


def _copy_file(here: int, there: int, name: str) -> None:
    original = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(name, flags, 0o600, dir_fd=there)
        try:
            while os.sendfile(copy, original, None, _CHUNK):
                pass
            _copy_status(original, copy)
        finally:
            os.close(copy)
    finally:
        os.close(original)


def _copy_status(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            pass  # a file system without that kind of attribute
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
