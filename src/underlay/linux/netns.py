"""Network namespaces: made, pinned to a file, and entered by a thread for as long as it takes to open a socket there."""

from __future__ import annotations

import os

from ..errors import KernelError
from . import mounts, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

_OWN = "/proc/thread-self/ns/net"
_ENOENT, _EINVAL = 2, 22


def inside(namespace: int, work: Callable[[], Result]) -> Result:
    """Return what `work` returns, done by this thread in the network namespace of a descriptor.

    Other threads stay where they are. Raises what `work` raises, and KernelError.
    """
    own = _open_own()
    try:
        process.setns(namespace, process.CLONE_NEWNET, "network namespace")
        try:
            return work()
        finally:
            _return_to(own)
    finally:
        os.close(own)


def make(path: str) -> int:
    """Make a network namespace, pinned to the new file `path`; returns a descriptor. Raises KernelError, OSError."""
    own = _open_own()
    try:
        process.unshare(process.CLONE_NEWNET)
        try:
            namespace = _open_own()
        finally:
            _return_to(own)
    finally:
        os.close(own)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400))
        try:
            mounts.mount(f"/proc/self/fd/{namespace}", path, None, mounts.MS_BIND)
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        os.close(namespace)
        raise
    return namespace


def release(path: str) -> None:
    """Unpin a network namespace: it goes with its last process. Harmless when it is not there."""
    try:
        mounts.umount(path, mounts.MNT_DETACH)
    except KernelError as error:
        if error.errno not in (_ENOENT, _EINVAL):  # not there; not mounted
            raise
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _open_own() -> int:
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def _return_to(own: int) -> None:
    try:
        process.setns(own, process.CLONE_NEWNET, "network namespace")
    except KernelError:
        # All that this thread did from now on would be done in another network.
        os.abort()
