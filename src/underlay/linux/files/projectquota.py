"""Project quotas (quotactl(2), PRJQUOTA): what a directory and all that is made in it may take of ext4 or xfs."""

from __future__ import annotations

import fcntl
import os
import sys

from ...errors import KernelError
from .. import libc

_PROJECT = 2  # PRJQUOTA
_GETQUOTA, _SETQUOTA, _XGETQSTAT = 0x800007, 0x800008, 0x5805
_ENFORCED = 1 << 5  # XFS_QUOTA_PDQ_ENFD, of all file systems
_GETXATTR, _SETXATTR = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT
_UNIT = 1024  # bytes of a block in struct if_dqblk
_ENOSYS = 38


def _quotactl(command: int, fd: int, project: int, data: object) -> int:
    """Return 0 or an error number; before Linux 5.14 the file system is named by its device."""
    word = command << 8 | _PROJECT
    if libc.syscall("quotactl_fd", fd, word, project, data) >= 0:
        return 0
    if libc.errno() != _ENOSYS:
        return libc.errno()
    device = _device(os.fstat(fd).st_dev)
    if not device:
        return _ENOSYS
    return 0 if libc.syscall("quotactl", word, os.fsencode(device), project, data) >= 0 else libc.errno()


def _device(number: int) -> str:
    """Return the path of the block device of a mounted file system (proc(5), mountinfo); "" when it has none."""
    wanted = f"{os.major(number)}:{os.minor(number)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            source = right.split(" ")[1]
            if left.split(" ", 3)[2] == wanted and source.startswith("/"):
                return source
    return ""


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def why_not(path: str) -> str:
    """Return why directories on the file system of `path` cannot have a quota; "" when they can, and it is enforced."""
    if os.geteuid() != 0:
        return "only root may set quotas"
    fd = _open(path)
    try:
        state = libc.load().create_string_buffer(256)  # struct fs_quota_stat: version, padding, flags
        if _quotactl(_XGETQSTAT, fd, 0, state) != 0:
            return "its file system has no project quotas (ext4 or xfs, mounted with prjquota)"
        flags = int.from_bytes(state.raw[2:4], sys.byteorder)
        return "" if flags & _ENFORCED else "its file system does not enforce project quotas (mount option prjquota)"
    finally:
        os.close(fd)


def usage(path: str, project: int) -> tuple[int, int]:
    """Return the (bytes, files) of a project on the file system of `path`. Raises KernelError."""
    fd = _open(path)
    try:
        numbers = libc.load().create_string_buffer(72)  # struct if_dqblk
        error = _quotactl(_GETQUOTA, fd, project, numbers)
    finally:
        os.close(fd)
    if error == 2:
        return 0, 0  # a project that nothing has ever belonged to (xfs)
    if error:
        raise KernelError("get quota of project", str(project), error)
    fields = [int.from_bytes(numbers.raw[at : at + 8], sys.byteorder) for at in (16, 40)]
    return fields[0], fields[1]


def set_limit(path: str, project: int, size: int) -> None:
    """Let a project take at most `size` bytes of the file system of `path`; 0 lifts the limit. Raises KernelError."""
    fd = _open(path)
    try:
        limit = -(-size // _UNIT)
        # struct if_dqblk: hard and soft limit of space, space; the same of files; times; which of them count (1: space).
        error = _quotactl(_SETQUOTA, fd, project, libc.words(8, limit, limit, 0, 0, 0, 0, 0, 0) + libc.words(4, 1, 0))
    finally:
        os.close(fd)
    if error:
        raise KernelError("set quota of project", str(project), error)


def assign(path: str, project: int) -> None:
    """Let the directory `path`, and what is made in it from now on, belong to a project. Raises KernelError."""
    fd = _open(path)
    try:
        # struct fsxattr: flags, extent size, extents, project, …
        known = bytearray(fcntl.ioctl(fd, _GETXATTR, bytes(28)))
        flags = int.from_bytes(known[:4], sys.byteorder)
        if flags & _INHERIT and int.from_bytes(known[12:16], sys.byteorder) == project:
            return
        known[:4] = (flags | _INHERIT).to_bytes(4, sys.byteorder)
        known[12:16] = project.to_bytes(4, sys.byteorder)
        fcntl.ioctl(fd, _SETXATTR, bytes(known))
    except OSError as error:
        raise KernelError(f"assign project id {project} to", path, error.errno or 5) from None
    finally:
        os.close(fd)
