"""Network namespaces: made, pinned to a file, and entered by a thread for as long as it takes to open a socket there."""

from __future__ import annotations

import os

from ...errors import KernelError
from .. import process
from ..files import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

_OWN = "/proc/thread-self/ns/net"
_EPERM, _ENOENT, _EINVAL = 1, 2, 22


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


def make(path: str, owner: int = -1) -> int:
    """Make a network namespace, pinned to the new file `path`; returns a descriptor.

    It belongs to the user namespace of the descriptor `owner`, or to our own. Raises KernelError, OSError.
    """
    namespace = _make_within(owner) if owner >= 0 else anonymous()
    try:
        pin(namespace, path)
    except BaseException:
        os.close(namespace)
        raise
    return namespace


def anonymous() -> int:
    """Return a descriptor of a new network namespace, which is gone when it is closed. Raises KernelError."""
    own = _open_own()
    try:
        process.unshare(process.CLONE_NEWNET)
        try:
            return _open_own()
        finally:
            _return_to(own)
    finally:
        os.close(own)


def _make_within(owner: int) -> int:
    """A process that enters a user namespace cannot return: a child does it."""
    ready, made = os.pipe2(os.O_CLOEXEC)
    wait, go = os.pipe2(os.O_CLOEXEC)
    pid = process.clone(0)
    if pid == 0:
        try:
            os.close(go)
            process.setns(owner, process.CLONE_NEWUSER, "user namespace")
            process.unshare(process.CLONE_NEWNET)
            os.write(made, b".")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(made)
    os.close(wait)
    try:
        if not os.read(ready, 1):
            raise KernelError("unshare", "network namespace", _EPERM)
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(go)
        os.close(ready)
        os.waitpid(pid, 0)


def pin(namespace: int, path: str) -> None:
    """Keep the namespace of a descriptor, whatever its kind, by the new file `path`. Raises KernelError, OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400))
    try:
        mounts.mount(f"/proc/self/fd/{namespace}", path, None, mounts.MS_BIND)
    except BaseException:
        os.unlink(path)
        raise


def release(path: str) -> None:
    """Unpin a namespace: it goes with its last process. Harmless when it is not there."""
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
