"""Mounting: mount(2), umount2(2), pivot_root(2), the descriptor-based mount interface, mountinfo."""

from __future__ import annotations

import os
import sys

from ...errors import KernelError
from .. import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2). Raises KernelError with the target."""
    if libc.syscall("mount", _text(source), _text(target), _text(fstype), flags, _text(data)) < 0:
        raise KernelError(f"mount {fstype or 'bind'}", target, libc.errno())


def umount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises KernelError with the target."""
    libc.check("umount", target, "umount2", _text(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). Raises KernelError."""
    libc.check("pivot_root", new_root, "pivot_root", _text(new_root), _text(put_old))


# The descriptor-based interface (Linux 5.2; mount_setattr 5.12): nothing is named by a path that could be swapped.
OPEN_TREE_CLONE = 1
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
MOUNT_ATTR_IDMAP = 0x100000
ENOSYS = 38

_ATTR_TO_MS = (
    (MOUNT_ATTR_RDONLY, MS_RDONLY),
    (MOUNT_ATTR_NOSUID, MS_NOSUID),
    (MOUNT_ATTR_NODEV, MS_NODEV),
    (MOUNT_ATTR_NOEXEC, MS_NOEXEC),
    (MOUNT_ATTR_NOATIME, MS_NOATIME),
    (MOUNT_ATTR_STRICTATIME, MS_STRICTATIME),
    (MOUNT_ATTR_NODIRATIME, MS_NODIRATIME),
    (MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW),
)


def _error_log(fd: int) -> str:
    """Return the kernel's own words about a failed fsconfig(2), which it queues on the descriptor."""
    try:
        return os.read(fd, 1024).decode(errors="replace").strip()[2:]
    except OSError:
        return ""


def new_filesystem(
    fstype: str, parameters: tuple[tuple[str, str | None], ...], attributes: int = 0, source: str = ""
) -> int:
    """Return a descriptor of a new, unattached mount of `fstype` (fsopen, fsconfig, fsmount).

    `parameters` are (key, value) pairs, or (key, None) for flags; `attributes` MOUNT_ATTR_* bits. Raises KernelError
    with the kernel's explanation as hint.
    """
    fd = libc.check("fsopen", fstype, "fsopen", fstype.encode(), FSOPEN_CLOEXEC)
    try:
        if source:
            libc.check("fsconfig", fstype, "fsconfig", fd, FSCONFIG_SET_STRING, b"source", os.fsencode(source), 0)
        for key, value in parameters:
            if value is None:
                answer = libc.syscall("fsconfig", fd, FSCONFIG_SET_FLAG, key.encode(), None, 0)
            else:
                answer = libc.syscall("fsconfig", fd, FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
            if answer < 0:
                number = libc.errno()
                raise KernelError(f"mount {fstype} option {key}", value or "", number, _error_log(fd))
        if libc.syscall("fsconfig", fd, FSCONFIG_CMD_CREATE, None, None, 0) < 0:
            number = libc.errno()
            raise KernelError("mount", fstype, number, _error_log(fd))
        return libc.check("fsmount", fstype, "fsmount", fd, FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(fd)


def clone_tree(fd: int, path: str, recursive: bool) -> int:
    """Return a descriptor of an unattached copy of the mount at `path` below `fd` ("" is `fd` itself): a bind."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    return libc.check("open_tree", path, "open_tree", fd, os.fsencode(path), flags)


def attach(mount_fd: int, target_fd: int, name: str = "") -> None:
    """Attach an unattached mount over what `target_fd` refers to; `name` is for the error only."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    libc.check("mount", name, "move_mount", mount_fd, b"", target_fd, b"", flags)


def set_attributes(fd: int, set_bits: int, clear: int = 0, recursive: bool = False, propagation: int = 0) -> None:
    """Change attributes (MOUNT_ATTR_*) and propagation (MS_PRIVATE…) of the mount `fd` (mount_setattr, Linux 5.12).

    Raises KernelError; ENOSYS on older kernels, where `remount` on an attached mount does it.
    """
    if set_bits & MOUNT_ATTR__ATIME or clear & MOUNT_ATTR__ATIME:
        clear |= MOUNT_ATTR__ATIME
    attributes = libc.words(8, set_bits, clear, propagation, 0)  # struct mount_attr
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    answer = libc.syscall("mount_setattr", fd, b"", flags, attributes, len(attributes))
    if answer < 0:
        raise KernelError("mount_setattr", "", libc.errno())


def map_ids(fd: int, space: int, recursive: bool, name: str) -> None:
    """Show the unattached mount `fd` with the ids of user namespace `space` (mount_setattr(2), Linux 5.12).

    Raises KernelError naming `name`: EINVAL where the file system cannot be shown so.
    """
    attributes = libc.words(8, MOUNT_ATTR_IDMAP, 0, 0, space)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    if libc.syscall("mount_setattr", fd, b"", flags, attributes, len(attributes)) < 0:
        number = libc.errno()
        hint = "its file system, or this kernel, has no idmapped mounts" if number in (22, 38) else ""
        raise KernelError("map ids of mount", name, number, hint)


def option_string(options: Iterable[tuple[str, str | None]]) -> str:
    """Return options as mount(2) takes them, in one string."""
    return ",".join(key if value is None else f"{key}={value}" for key, value in options)


def flags_of(attributes: int) -> int:
    """Return mount(2)'s MS_* flags for MOUNT_ATTR_* bits."""
    flags = 0
    for attribute, flag in _ATTR_TO_MS:
        if attributes & attribute:
            flags |= flag
    return flags


def remount_bind(fd: int, attributes: int) -> None:
    """Set attributes of the attached mount at `fd` the old way, for kernels before 5.12."""
    mount(None, f"/proc/self/fd/{fd}", None, MS_REMOUNT | MS_BIND | flags_of(attributes))


PROC_SUPER_MAGIC = 0x9FA0


def magic(fd: int) -> int:
    """Return the magic number of the file system that `fd` lies on (statfs(2), f_type). Raises KernelError."""
    facts = libc.load().create_string_buffer(256)  # struct statfs, of which the first word is wanted
    libc.check("statfs", "", "fstatfs", fd, facts)
    return int.from_bytes(facts.raw[:8], sys.byteorder)


def propagate(path: str, flags: int) -> None:
    """Change the propagation of the mount at `path` (MS_PRIVATE, MS_SLAVE, …, with MS_REC for all below)."""
    mount(None, path, None, flags)


def all_points() -> list[tuple[str, str]]:
    """Return (mount point, file system type) of all mounts of this namespace, in the order in which they were made."""
    points = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            points.append((_unescape(left.split(" ", 5)[4]), right.split(" ", 1)[0]))
    return points


def mounted_below(directory: str) -> list[str]:
    """Return the mount points at and below `directory`, deepest last, from /proc/self/mountinfo."""
    points = []
    prefix = directory.rstrip("/") + "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            point = line.split(" ", 5)[4]
            if "\\" in point:
                point = _unescape(point)
            if point == directory or point.startswith(prefix):
                points.append(point)
    return points


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo (proc(5))."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
