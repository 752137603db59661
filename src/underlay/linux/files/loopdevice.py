"""Loop devices (loop(4)): a file becomes a block device, and a mount of it; both disappear after the last use."""

from __future__ import annotations

import fcntl
import os
import time

from ...errors import Conflict, KernelError, Unsupported
from .. import libc
from . import mounts

_CONTROL = "/dev/loop-control"
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A  # Linux 5.8
_AUTOCLEAR, _DIRECT_IO = 4, 16
_EBUSY, _EINVAL = 16, 22
_PATIENCE = 10.0  # seconds to wait for the device of a run that has just been killed


def why_not() -> str:
    """Return why no file can be mounted through a loop device here; "" when it can, as far as that can be seen."""
    if os.geteuid() != 0:
        return "only root may use loop devices"
    if not os.path.exists(_CONTROL):
        return f"there is no {_CONTROL} (kernel module loop)"
    return ""


def mount(path: str, fstype: str, options: tuple[tuple[str, str | None], ...] = ()) -> int:
    """Return an unattached mount of the file system in the file `path`.

    The device ends with the mount (LO_FLAGS_AUTOCLEAR), and the mount with its last user, whatever kills that. The device
    holds our open file, and with it our flock(2): no two can ever have the same file, and who comes next waits until the
    kernel has let go. Raises Conflict when it does not, KernelError, Unsupported.
    """
    reason = why_not()
    if reason:
        raise Unsupported(f"no loop device is available: {reason}")
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _lock(fd, path)
        device, name = _device(fd, path)
    finally:
        os.close(fd)
    try:
        return mounts.new_filesystem(fstype, options, 0, name)
    except KernelError as error:
        error.hint = error.hint or f"what is wrong with the file system in {path}, `e2fsck -f` may tell"
        raise
    finally:
        os.close(device)


def _lock(fd: int, path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Conflict(f"{path} is still mounted by an earlier run of the container") from None
            time.sleep(0.005)


def _device(fd: int, path: str) -> tuple[int, str]:
    """Return (descriptor, path) of a new loop device of the open file `fd`."""
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        flags = _AUTOCLEAR | _DIRECT_IO  # what is written is in one cache, not in two
        for _ in range(1000):
            name = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            try:
                device = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                raise KernelError("open loop device", name, error.errno or 2) from None
            # struct loop_config: descriptor, block size, struct loop_info64, reserved.
            info = libc.words(8, 0, 0, 0, 0, 0) + libc.words(4, 0, 0, 0, flags)
            info += os.fsencode(path)[-63:].ljust(64, b"\0")
            configuration = (libc.words(4, fd, 4096) + info).ljust(304, b"\0")
            if libc.syscall("ioctl", device, _LOOP_CONFIGURE, configuration) == 0:
                return device, name
            number = libc.errno()
            os.close(device)
            if number == _EINVAL and flags & _DIRECT_IO:
                flags = _AUTOCLEAR
            elif number != _EBUSY:  # another was faster
                raise KernelError("set up loop device of", path, number)
        raise KernelError("set up loop device of", path, _EBUSY)
    finally:
        os.close(control)
