"""Helper processes that are interpreters of their own from the start, for callers that may have threads.

A fork of a process with threads has the locks that other threads held at that moment, and no thread to release them. So the
helper is started by posix_spawn(3), which runs none of our code between fork and execve, as an isolated interpreter that
inherits one socket only, its descriptor 3, over which all else comes.
"""

from __future__ import annotations

import _socket
import fcntl
import os

from ...errors import KernelError
from ..monitor import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

CHANNEL = 3  # the helper's descriptor of the socket
_MANY = 3  # descriptors in one message


def start(python: str, import_path: list[str], code: str) -> tuple[int, _socket.socket]:
    """Start an interpreter that runs `code` and return its pid and the socket to it. Raises KernelError."""
    ours, theirs = control.pair()
    command = [python, "-I", "-S", "-c", f"import sys; sys.path[:0] = {import_path!r}; {code}"]
    # Not 3 itself: a duplicate of a descriptor is inherited only if it has another number (before glibc 2.29).
    apart = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, CHANNEL + 1)
    theirs.close()
    try:
        pid = os.posix_spawn(
            python, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, apart, CHANNEL)], setsigmask=()
        )
    except OSError as error:
        ours.close()
        raise KernelError("start", python, error.errno or 2, "is the interpreter still there?") from None
    finally:
        os.close(apart)
    return pid, ours


def reap(pid: int) -> None:
    """Wait for a helper that ends by itself; the caller's program may have taken its exit code before."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def send(channel: _socket.socket, record: Mapping[str, object], descriptors: Sequence[int] = ()) -> bool:
    """Send a helper its request; descriptors may be -1, for none. Returns False when the helper has ended."""
    parcel = control.parcel(record, "underlay-helper")
    sent = control.send(channel, {"given": [fd >= 0 for fd in descriptors]}, (parcel,))
    os.close(parcel)
    there = [fd for fd in descriptors if fd >= 0]
    for start in range(0, len(there), _MANY):
        sent = sent and control.send(channel, {}, tuple(there[start : start + _MANY]))
    return sent


def receive() -> tuple[_socket.socket, Any, list[int]]:
    """In the helper: return the socket, the request, and the descriptors. Exits when the parent closes the socket first."""
    channel = opened()
    return channel, *request(channel)


def opened() -> _socket.socket:
    """In the helper: return the socket to the parent. What the parent lacks of standard streams is /dev/null."""
    os.set_inheritable(CHANNEL, False)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # the parent has none: the lowest free number is taken
    return _socket.socket(fileno=CHANNEL)


def request(channel: _socket.socket) -> tuple[Any, list[int]]:
    """In the helper: return the next request and its descriptors. Exits when the parent closes the socket first."""
    message, fds = control.receive(channel)
    if message is None or not fds:
        os._exit(0)
    record = control.unpack(fds[0])
    there: list[int] = []
    while len(there) < sum(message["given"]):
        more, fds = control.receive(channel)
        if more is None:
            os._exit(0)
        there += fds
    waiting = iter(there)
    return record, [next(waiting) if given else -1 for given in message["given"]]
