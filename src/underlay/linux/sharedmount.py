"""A mount that several processes share: each holds a shared lock, the last one to leave unmounts. Imports almost nothing.

The kernel drops the lock of a killed holder, so nothing has to be counted; what a killed last holder leaves mounted is
released by the next who leaves or tidies.
"""

from __future__ import annotations

import os

from ..files import Lock


def release(change_lock: str, use_lock: str, mount_point: str) -> bool:
    """Unmount `mount_point` and remove its directory when nobody holds `use_lock`; return whether it is gone.

    `change_lock` is held meanwhile, as by those who mount. Raises KernelError.
    """
    with Lock(change_lock):
        use = Lock(use_lock)
        if not use.acquire(wait=False):
            return False
        try:
            if os.path.ismount(mount_point):
                from . import mounts

                mounts.umount(mount_point, mounts.UMOUNT_NOFOLLOW)
            os.rmdir(mount_point)
        except FileNotFoundError:
            pass
        finally:
            use.release()
    return True
