"""Published ports that a process relays: their sockets are lent to it with the first packet or connection (`portrelay`)."""

from __future__ import annotations

from .. import control, detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

    from ..records import PortRelay

_BACKLOG = 128


def lend(command: list[str], relays: Sequence[PortRelay], descriptors: Sequence[int]) -> _socket.socket:
    """Start such a process for relays and their sockets; returns the connection to it. Raises OSError."""
    ours, theirs = control.pair()
    try:
        detached.start(command, theirs.fileno())
    finally:
        theirs.close()
    for relay, fd in zip(relays, descriptors, strict=True):
        control.send(ours, {"relay": relay}, (fd,))
    control.send(ours, {"complete": True})
    return ours


def listen(descriptors: Sequence[int], relays: Sequence[PortRelay]) -> None:
    """Have the bound sockets of relays take connections and packets, without waiting. Raises OSError."""
    import _socket
    import os

    for fd, relay in zip(descriptors, relays, strict=True):
        socket = _socket.socket(fileno=os.dup(fd))
        try:
            socket.setblocking(False)
            if relay["protocol"] == "tcp":
                socket.listen(_BACKLOG)
        finally:
            socket.close()
