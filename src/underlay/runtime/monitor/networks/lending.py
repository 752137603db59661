"""Sockets that a monitor lends to another process when something comes on them, and takes back when that process ends.

So a process that answers runs only where there is something to answer, and what comes when it was killed waits for the
next one in the sockets.
"""

from __future__ import annotations

import _socket
import os
import select

from .. import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class LentSockets:
    """Sockets (descriptors) of UDP, and of TCP that listen; `lend` gives them to a process and returns the connection to
    it, None when there is none to be had.

    The process says on the connection when it has begun to do its work ({"noted": true}), and closes it when it ends.
    """

    __slots__ = ("_answers", "_lend", "_poll", "_ready", "channel", "sockets")

    def __init__(
        self, poll: select.poll, sockets: Sequence[int], lend: Callable[[Sequence[int]], _socket.socket | None]
    ) -> None:
        self._poll = poll
        self._lend = lend
        self._answers = True  # whether the process has begun to do its work
        self.sockets = list(sockets)
        self.channel: _socket.socket | None = None
        # One descriptor for all: poll(2) takes no more than a process may have files, and there may be more sockets.
        self._ready = select.epoll()
        for fd in self.sockets:
            self._ready.register(fd, select.EPOLLIN)

    def watch(self, channel: _socket.socket | None = None) -> None:
        """Begin to watch; `channel` is the connection to the process that has the sockets, if one has."""
        self.channel = channel
        self._poll.register(self._watched(), select.POLLIN)

    def _watched(self) -> int:
        return self._ready.fileno() if self.channel is None else self.channel.fileno()

    def handle(self, fd: int) -> bool:
        """Do what an event asks for; returns False when the descriptor is none of these."""
        if fd != self._watched():
            return False
        if self.channel is None:
            self._give()
        elif control.receive(self.channel)[0] is None:
            self._take_back()
        else:
            self._answers = True
        return True

    def _give(self) -> None:
        try:
            channel = self._lend(self.sockets)
        except OSError:
            channel = None
        if channel is None:
            self._refuse()
            return
        self._poll.unregister(self._watched())
        self._answers = False
        self.watch(channel)

    def _take_back(self) -> None:
        assert self.channel is not None
        self._poll.unregister(self.channel.fileno())
        self.channel.close()
        if not self._answers:
            self._refuse()  # it cannot do its work: what comes next is another try
        self.watch()

    def _refuse(self) -> None:
        """Drop what waits: programs that ask by UDP ask again, others are told."""
        for fd in self.sockets:
            socket = _socket.socket(fileno=os.dup(fd))
            try:
                while True:
                    if socket.type == _socket.SOCK_DGRAM:
                        socket.recv(1)
                    else:
                        os.close(socket._accept()[0])  # type: ignore[attr-defined]  # the plain class has only this
            except OSError:
                pass
            socket.close()

    def close(self) -> None:
        """Close the sockets; the process that has them closes its own."""
        self._poll.unregister(self._watched())
        if self.channel is not None:
            self.channel.close()
        self._ready.close()
        for fd in self.sockets:
            os.close(fd)
        self.sockets.clear()
