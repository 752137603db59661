"""Notification when a control group runs out of memory: a descriptor to poll, in both versions."""

from __future__ import annotations

import os

from ...errors import KernelError, Unsupported
from .. import libc
from . import common

_IN_MODIFY = 0x2


def v1_event(directory: str) -> int:
    """Return an eventfd that counts each time the group at `directory` is out of memory, and its removal.

    Kernel: admin-guide/cgroup-v1/memory, "OOM Control": both descriptors go to cgroup.event_control.
    """
    if not common.exists(directory + "/cgroup.event_control"):
        raise Unsupported("this kernel reports no out-of-memory events of control groups")
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    control = -1
    try:
        control = os.open(directory + "/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        common.write(directory + "/cgroup.event_control", f"{fd} {control}")
        return fd
    except OSError as error:
        os.close(fd)
        raise KernelError("open", directory + "/memory.oom_control", error.errno or 5) from None
    except BaseException:
        os.close(fd)
        raise
    finally:
        if control >= 0:
            os.close(control)


def v2_event(directory: str) -> int:
    """Return an inotify descriptor that is readable when memory.events has changed (kernel: admin-guide/cgroup-v2)."""
    path = directory + "/memory.events"
    fd = libc.check("watch", path, "inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        libc.check("watch", path, "inotify_add_watch", fd, os.fsencode(path) + b"\0", _IN_MODIFY)
    except BaseException:
        os.close(fd)
        raise
    return fd
