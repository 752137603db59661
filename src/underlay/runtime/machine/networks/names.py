"""Questions for names in a machine: they go to the name server that the container would ask on the host.

Programs ask at the address where docker's containers do. In the machine the agent listens there; the stand-in, which is in
the container's network namespace on the host, asks for it. Questions over TCP are not passed on.
"""

from __future__ import annotations

import _socket
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..link import Link, Message

SERVER = ("127.0.0.11", 53)
_LARGEST = 4096  # bytes of a question or an answer over UDP, with room for extensions (RFC 6891)
_MOST = 64  # questions that wait for their answers
_PATIENCE = 10.0  # seconds that an answer may take


class Asking:
    """The agent's end: takes questions of programs, and gives them the answers."""

    def __init__(self, poll: select.poll, link: Link) -> None:
        self._link = link
        self._socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        self._socket.bind(SERVER)
        self._socket.setblocking(False)
        self._askers: dict[int, tuple[str, int]] = {}
        self._next = 0
        poll.register(self._socket.fileno(), select.POLLIN)

    def handle(self, fd: int) -> bool:
        """Pass a question on; returns False when the descriptor is not the socket's."""
        if fd != self._socket.fileno():
            return False
        try:
            question, asker = self._socket.recvfrom(_LARGEST)
        except OSError:
            return True
        while len(self._askers) >= _MOST:
            del self._askers[next(iter(self._askers))]  # the oldest: it has asked again, or has given up
        self._next += 1
        self._askers[self._next] = asker
        self._link.tell(0, {"question": self._next, "data": question.hex()})
        return True

    def answer(self, message: Message) -> None:
        """Give an answer to the program that has asked."""
        asker = self._askers.pop(message["answer"], None)
        if asker is not None:
            try:
                self._socket.sendto(bytes.fromhex(message["data"]), asker)
            except OSError:
                pass  # it has gone


class Answering:
    """The stand-in's end: it asks the name server on the host. What comes from the machine is not trusted."""

    def __init__(self, poll: select.poll, link: Link) -> None:
        self._poll = poll
        self._link = link
        self._waiting: dict[int, tuple[_socket.socket, int, float]] = {}  # descriptor → socket, number, deadline

    def ask(self, message: Message) -> None:
        """Ask what a message of the agent holds; one question too many is dropped, as a network would."""
        number, data = message.get("question"), message.get("data")
        self._forget_old()
        if not isinstance(number, int) or not isinstance(data, str) or len(self._waiting) >= _MOST:
            return
        try:
            question = bytes.fromhex(data)[:_LARGEST]
        except ValueError:
            return
        asked = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            asked.setblocking(False)
            asked.connect(SERVER)
            asked.send(question)
        except OSError:
            asked.close()
            return
        self._waiting[asked.fileno()] = (asked, number, time.monotonic() + _PATIENCE)
        self._poll.register(asked.fileno(), select.POLLIN)

    def handle(self, fd: int) -> bool:
        """Pass an answer on; returns False when the descriptor is not one of the sockets'."""
        if fd not in self._waiting:
            return False
        asked, number, _ = self._waiting[fd]
        try:
            data = asked.recv(_LARGEST)
        except BlockingIOError:
            return True
        except OSError:
            data = b""  # nobody answers there
        self._forget(fd)
        if data:
            self._link.tell(0, {"answer": number, "data": data.hex()})
        return True

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._waiting.pop(fd)[0].close()

    def _forget_old(self) -> None:
        now = time.monotonic()
        for fd in [fd for fd, (_, _, deadline) in self._waiting.items() if deadline < now]:
            self._forget(fd)
