"""Sockets that are watched by one loop, and what is done when one is ready."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

INPUT, OUTPUT = select.POLLIN, select.POLLOUT


class Poller:
    """Sockets with the work that waits for each of them."""

    __slots__ = ("_poll", "_works")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._works: dict[int, Callable[[int], None]] = {}

    def watch(self, socket: _socket.socket, mask: int, work: Callable[[int], None]) -> None:
        """Call `work` with the events of `mask` when the socket has one of them."""
        self.watch_descriptor(socket.fileno(), mask, work)

    def watch_descriptor(self, fd: int, mask: int, work: Callable[[int], None]) -> None:
        """Do the same for a descriptor, which its owner closes."""
        self._works[fd] = work
        self._poll.register(fd, mask)

    def change(self, socket: _socket.socket, mask: int) -> None:
        """Watch for other events."""
        self._poll.modify(socket.fileno(), mask)

    def close(self, socket: _socket.socket) -> None:
        """Close a socket, watched or not."""
        if self._works.pop(socket.fileno(), None) is not None:
            self._poll.unregister(socket.fileno())
        socket.close()

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """Wait until descriptors are ready or the time is over; return the ready ones with their events."""
        return self._poll.poll(max(0.0, seconds) * 1000)

    def work(self, ready: list[tuple[int, int]]) -> None:
        """Do the work of what is ready. What fails is one client's, which asks again; what belongs to it expires."""
        # A descriptor that is closed in this round may in the same round be another's.
        for fd, mask, work in [(fd, mask, self._works.get(fd)) for fd, mask in ready]:
            if work is not None and self._works.get(fd) is work:
                try:
                    work(mask)
                except Exception:
                    pass
