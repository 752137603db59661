"""A volume that is a mount of its own: mounted while processes hold its lock, unmounted with the last of them.

As with `sharedmount` the kernel drops the lock of a killed holder, and what that leaves mounted is released by the next who
leaves or cleans up.
"""

from __future__ import annotations

import os

from ...errors import KernelError, UnderlayError
from ...files import Lock
from . import mounts

_EBUSY, _EINVAL = 16, 22
# Flags that a bind takes in a second call only (mount(2), "Creating a bind mount").
_LATER = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC | mounts.MS_NOATIME
LOOP = "loop"  # as `fstype`: `source` is a file with an ext4 file system


class VolumeMount:
    """Where a volume is mounted (`point`), and the arguments of mount(2): `source`, `fstype`, `flags`, `data`."""

    __slots__ = ("change_lock", "data", "flags", "fstype", "point", "source", "use_lock")

    def __init__(
        self, change_lock: str, use_lock: str, point: str, source: str, fstype: str, flags: int, data: str
    ) -> None:
        self.change_lock = change_lock  # held by those who mount and unmount
        self.use_lock = use_lock  # held, shared, by those who use the mount
        self.point = point
        self.source = source
        self.fstype = fstype
        self.flags = flags
        self.data = data

    def hold(self) -> Lock:
        """Return the shared lock, held: take it before `ensure` and keep it while the mount is in use."""
        lock = Lock(self.use_lock, shared=True)
        lock.acquire()
        return lock

    def ensure(self) -> None:
        """Mount the volume unless it is mounted. Raises UnderlayError in docker's words."""
        with Lock(self.change_lock):
            if is_mounted(self.point):
                return
            try:
                self._mount()
            except (UnderlayError, OSError) as error:
                what = f"{self.source}:{self.point}"
                if self.data:
                    what += f", data: {self.data}"
                reason = os.strerror(error.errno) if isinstance(error, KernelError) else str(error)
                hint = error.hint if isinstance(error, UnderlayError) else ""
                raise UnderlayError(
                    f"failed to mount local volume: mount {what}: {reason.lower()}",
                    hint or "`underlay volume inspect` shows its options",
                ) from None

    def _mount(self) -> None:
        if self.fstype == LOOP:
            from . import loopdevice

            self._attach(loopdevice.mount(self.source, "ext4"))
            return
        if not self.flags & mounts.MS_BIND:
            mounts.mount(self.source, self.point, self.fstype, self.flags, self.data or None)
            return
        mounts.mount(self.source, self.point, None, self.flags & (mounts.MS_BIND | mounts.MS_REC))
        if self.flags & _LATER:
            try:
                mounts.mount(None, self.point, None, mounts.MS_REMOUNT | mounts.MS_BIND | self.flags & _LATER)
            except BaseException:
                mounts.umount(self.point, mounts.UMOUNT_NOFOLLOW | mounts.MNT_DETACH)
                raise

    def _attach(self, made: int) -> None:
        target = os.open(self.point, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            mounts.attach(made, target, self.point)
        finally:
            os.close(target)
            os.close(made)

    def release(self) -> bool:
        """Unmount unless a process holds the lock; return whether nothing is mounted afterwards. Raises KernelError."""
        with Lock(self.change_lock):
            use = Lock(self.use_lock)
            if not use.acquire(wait=False):
                return False
            try:
                while is_mounted(self.point):
                    mounts.umount(self.point, mounts.UMOUNT_NOFOLLOW)
            except KernelError as error:
                if error.errno not in (_EBUSY, _EINVAL):
                    raise
                return error.errno == _EINVAL  # another namespace's view of it has just gone
            finally:
                use.release()
        return True


def is_mounted(point: str) -> bool:
    """Return whether something is mounted at `point` (a bind may show the same file system as the directory above)."""
    real = os.path.realpath(os.path.dirname(point)) + "/" + os.path.basename(point)
    return any(path == real for path, _ in mounts.all_points())
