"""Secrets in a container: files of a tmpfs that only its mount namespace has, each bound where it is asked for.

The file system has no other place than these binds: it is gone with the container's last process, however that ends.
"""

from __future__ import annotations

import os
import stat

from ...errors import KernelError, StartFailed
from ...linux.files import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..plan.context import Context

_ATTRIBUTES = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
_EINVAL, _EROFS = 22, 30


def secrets(context: Context, wanted: Sequence[Sequence[str | int]]) -> None:
    """Put each of `context.secrets` at its target: `wanted` are (target, mode, uid, gid) in the same order.

    Raises StartFailed, KernelError.
    """
    from .mounts import target_of

    files = _tmpfs(sum(map(len, context.secrets)))
    binds = []
    # Only a mount that is somewhere can be bound (before Linux 6.15): for a moment it lies over the root, where our
    # descriptor of the root goes below it, and nothing has to be made for it.
    mounts.attach(files, context.root, "the root")
    try:
        for number, (value, (path, mode, uid, gid)) in enumerate(zip(context.secrets, wanted, strict=True)):
            _write(files, str(number), value, int(mode), int(uid), int(gid), str(path))
            binds.append((mounts.clone_tree(files, str(number), False), str(path)))
    finally:
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(files)
        mounts.umount(".", mounts.MNT_DETACH)
        os.fchdir(here)
        os.close(here)
    os.close(files)
    context.secrets.clear()
    for bind, path in binds:
        mounts.set_attributes(bind, _ATTRIBUTES, propagation=mounts.MS_PRIVATE)
        try:
            target = target_of(context, path, False, False)
        except KernelError as error:
            if error.errno == _EROFS:
                raise StartFailed(f"secret at {path}: the file system there is read-only", 125) from None
            raise
        if stat.S_ISDIR(os.fstat(target).st_mode):
            raise StartFailed(f"secret at {path}: there is a directory", 125)
        mounts.attach(bind, target, path)
        os.close(target)
        os.close(bind)


def _tmpfs(size: int) -> int:
    """Return an unattached tmpfs for files of so many bytes; it is never swapped out where the kernel can say so."""
    options: tuple[tuple[str, str | None], ...] = (("mode", "700"), ("size", str(size + (1 << 20))))
    attributes = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
    try:
        return mounts.new_filesystem("tmpfs", (*options, ("noswap", None)), attributes, "secrets")
    except KernelError:
        # Before Linux 6.4, and in user namespaces.
        return mounts.new_filesystem("tmpfs", options, attributes, "secrets")


def _write(files: int, name: str, value: bytes, mode: int, uid: int, gid: int, path: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=files)
    try:
        rest = value
        while rest:
            rest = rest[os.write(fd, rest) :]
        try:
            os.fchown(fd, uid, gid)
        except OSError as error:
            if error.errno != _EINVAL:
                raise
            raise StartFailed(
                f"secret at {path}: {uid}:{gid} is not mapped in the container's user namespace", 125
            ) from None
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
