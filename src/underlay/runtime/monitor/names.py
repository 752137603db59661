"""A container's questions for names: given to the name server when one comes, which is started then if none runs.

Monitors hold the sockets for as long as their containers live, so that nothing is lost when a name server ends: the next
one gets them with the next question.
"""

from __future__ import annotations

import _socket
import os
import select
import time

from ... import files
from . import control, detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import NameService

SOCKET = "names"  # of the name server, in its directory
_HASTE = 1.0  # seconds that a name server lives at least


def hand_over(service: NameService, container: str, sockets: Sequence[int]) -> _socket.socket | None:
    """Give the sockets of a container to the name server, which is started unless it runs.

    Returns the connection, which the name server closes when it ends; None when it cannot be started. Raises OSError.
    """
    channel = _connect(service)
    if channel is not None and not control.send(channel, {"container": container}, tuple(sockets)):
        channel.close()  # it has ended just now
        channel = _connect(service)
        if channel is not None and not control.send(channel, {"container": container}, tuple(sockets)):
            channel.close()
            return None
    return channel


def _connect(service: NameService) -> _socket.socket | None:
    directory = service["directory"]
    channel = control.connect(directory, SOCKET)
    if channel is not None:
        return channel
    # Another process may be starting it.
    with files.Lock(f"{directory}/{SOCKET}.lock"):
        channel = control.connect(directory, SOCKET)
        if channel is None:
            listener = control.listen(directory, SOCKET)
            channel = control.connect(directory, SOCKET)
            try:
                detached.start(service["command"], listener.fileno())
            finally:
                listener.close()
        return channel


class Questions:
    """The sockets of a monitor's container, watched until a question comes, and while there is no name server."""

    __slots__ = ("_began", "channel", "container", "poll", "service", "sockets")

    def __init__(self, poll: select.poll, service: NameService, container: str, sockets: Sequence[int]) -> None:
        self.poll = poll
        self.service = service
        self.container = container
        self.sockets = list(sockets)
        self.channel: _socket.socket | None = None
        self._began = 0.0

    def watch(self, channel: _socket.socket | None = None) -> None:
        """Begin to watch; `channel` is the connection to the name server that has the sockets, if one has."""
        self.channel = channel
        for fd in [channel.fileno()] if channel is not None else self.sockets:
            self.poll.register(fd, select.POLLIN)

    def handle(self, fd: int) -> bool:
        """Do what an event asks for; returns False when the descriptor is none of these."""
        if self.channel is not None and fd == self.channel.fileno():
            self._take_back()
        elif self.channel is None and fd in self.sockets:
            self._give()
        else:
            return False
        return True

    def _give(self) -> None:
        try:
            channel = hand_over(self.service, self.container, self.sockets)
        except OSError:
            channel = None
        if channel is None:
            self._refuse()
            return
        for fd in self.sockets:
            self.poll.unregister(fd)
        self._began = time.monotonic()
        self.watch(channel)

    def _take_back(self) -> None:
        assert self.channel is not None
        self.poll.unregister(self.channel.fileno())
        self.channel.close()
        if time.monotonic() - self._began < _HASTE:
            self._refuse()  # it does not live: the next question is another try
        self.watch()

    def _refuse(self) -> None:
        """Drop the questions that wait: whoever asked asks again, seconds later."""
        packets, connections = (_socket.socket(fileno=os.dup(fd)) for fd in self.sockets)
        try:
            while True:
                packets.recv(1)
        except OSError:
            pass
        try:
            while True:
                os.close(connections._accept()[0])  # type: ignore[attr-defined]
        except OSError:
            pass
        packets.close()
        connections.close()

    def close(self) -> None:
        """Close the sockets; the name server forgets them."""
        for fd in self.sockets:
            self._forget(fd)
            os.close(fd)
        self.sockets.clear()
        if self.channel is not None:
            self._forget(self.channel.fileno())
            self.channel.close()
            self.channel = None

    def _forget(self, fd: int) -> None:
        try:
            self.poll.unregister(fd)
        except KeyError:
            pass
