"""An EROFS index mounted once and shared by several processes, each holding a lock; the last one unmounts it.

The kernel drops the lock of a killed holder, so nothing has to be counted; what a killed last holder leaves mounted is
released by the next who leaves or tidies. Imports almost nothing: this is on the way to every container.
"""

from __future__ import annotations

import os

from ...errors import KernelError, NotFound
from ...files import Lock
from . import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

EBUSY = 16


class SharedMount:
    """Where an index is mounted and what of. `point` "" stands for a chain that needs no mount, only its lock."""

    __slots__ = ("change_lock", "files", "index", "point", "use_lock")

    def __init__(self, change_lock: str, use_lock: str, point: str, index: str, files: Sequence[str]) -> None:
        self.change_lock = change_lock  # held by those who mount and unmount
        self.use_lock = use_lock  # held, shared, by those who use the mount
        self.point = point
        self.index = index
        self.files = list(files)  # of the index's device table, in its order

    def hold(self) -> Lock:
        """Return the shared lock, held: take it before `ensure` and keep it while the mount is in use."""
        lock = Lock(self.use_lock, shared=True)
        lock.acquire()
        return lock

    def ensure(self) -> None:
        """Mount the index unless it is mounted. Raises NotFound when there is none, KernelError."""
        if not self.point or is_index_mount(self.point):
            return
        with Lock(self.change_lock):
            if is_index_mount(self.point):
                return
            if not os.path.exists(self.index):
                raise NotFound(f"the layers of chain {os.path.basename(self.point)[:12]} are not prepared")
            # Its owner's only, from the start: below it lie set-id programs of images.
            os.makedirs(os.path.dirname(self.point), 0o700, exist_ok=True)
            os.makedirs(self.point, 0o700, exist_ok=True)
            mount_index(self.index, self.files, self.point)

    def release(self) -> bool:
        """Unmount unless a process holds the lock; return whether nothing is mounted afterwards. Raises KernelError."""
        if not self.point or not os.path.isdir(self.point):
            return True
        with Lock(self.change_lock):
            use = Lock(self.use_lock)
            if not use.acquire(wait=False):
                return False
            try:
                return unmount(self.point)
            finally:
                use.release()


def is_index_mount(point: str) -> bool:
    """Tell whether an index is mounted at `point`: another device than its parent's, read-only, blocks of 512.

    No other file system in use has such blocks; statfs(2)'s magic is out of Python's reach.
    """
    try:
        here = os.stat(point)
        if here.st_dev == os.stat(os.path.dirname(point)).st_dev:
            return False
        facts = os.statvfs(point)
    except FileNotFoundError:
        return False
    return facts.f_bsize == 512 and bool(facts.f_flag & os.ST_RDONLY)


def unmount(point: str) -> bool:
    """Unmount all indexes at `point` and remove it; return False when it is busy. Raises KernelError."""
    try:
        while is_index_mount(point):
            mounts.umount(point, mounts.UMOUNT_NOFOLLOW)
        os.rmdir(point)
    except KernelError as error:
        if error.errno != EBUSY:
            raise
        return False
    except FileNotFoundError:
        pass
    return True


def mount_index(index: str, files: Sequence[str], point: str) -> None:
    """Mount an index with the files of its device table at the directory `point`; raises KernelError.

    Read-only, but not nosuid or nodev: containers' roots stand on the mount, where set-id programs must work, and what
    it holds is out of other users' reach because the directory above is its owner's only.
    """
    opened = []
    try:
        parameters = []
        for path in files:
            if len(path) > 250:
                # fsconfig(2) takes values of at most 255 bytes.
                opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                path = f"/proc/self/fd/{opened[-1]}"
            parameters.append(("device", path))
        source = index
        if len(index) > 250:
            opened.append(os.open(index, os.O_RDONLY | os.O_CLOEXEC))
            source = f"/proc/self/fd/{opened[-1]}"
        new = mounts.new_filesystem("erofs", (("ro", None), *parameters), mounts.MOUNT_ATTR_RDONLY, source)
        opened.append(new)
        target = os.open(point, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        opened.append(target)
        mounts.attach(new, target, point)
    finally:
        for fd in opened:
            os.close(fd)
