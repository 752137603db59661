"""Filling a new volume with the files that the image has at its mount point."""

from __future__ import annotations

import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20


def copy_tree(source: int, target: int) -> None:
    """Copy all below directory `source` into the empty directory `target`: owners, modes, times, extended attributes.

    Links are copied as links; names are opened below the two descriptors only. Raises OSError.
    """
    _copy_status(source, target)
    stack = [(os.dup(source), os.dup(target))]
    while stack:
        here, there = stack.pop()
        for name in os.listdir(here):
            status = os.lstat(name, dir_fd=here)
            mode = status.st_mode
            if stat.S_ISDIR(mode):
                os.mkdir(name, 0o700, dir_fd=there)
                below = os.open(name, _DIRECTORY, dir_fd=here)
                copy = os.open(name, _DIRECTORY, dir_fd=there)
                _copy_status(below, copy)
                stack.append((below, copy))
            elif stat.S_ISLNK(mode):
                os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
                os.chown(name, status.st_uid, status.st_gid, dir_fd=there, follow_symlinks=False)
            elif stat.S_ISREG(mode):
                original = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                copy = os.open(name, flags, 0o600, dir_fd=there)
                while os.sendfile(copy, original, None, _CHUNK):
                    pass
                _copy_status(original, copy)
                os.close(original)
                os.close(copy)
            elif stat.S_ISFIFO(mode):
                os.mkfifo(name, stat.S_IMODE(mode), dir_fd=there)
                os.chown(name, status.st_uid, status.st_gid, dir_fd=there, follow_symlinks=False)
        os.close(here)
        os.close(there)


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
