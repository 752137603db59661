"""DNS by TCP: messages with their lengths before them (RFC 1035, section 4.2.2)."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

MESSAGE = 65535  # bytes of the largest message
IDLE = 10.0  # seconds that a connection may be idle


class Stream:
    """A connection, of a client or to a server."""

    __slots__ = ("data", "deadline", "out", "socket")

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.data = b""
        self.out = b""
        self.deadline = time.monotonic() + IDLE

    def receive(self) -> None:
        """Read what has come; raises OSError at the end of the connection."""
        try:
            piece = self.socket.recv(MESSAGE + 2 - len(self.data))
        except BlockingIOError:
            return
        if not piece:
            raise ConnectionResetError
        self.data += piece

    def next(self) -> bytes | None:
        """Return the next message, or None while bytes of it are still to come."""
        size = int.from_bytes(self.data[:2], "big") + 2
        if len(self.data) < max(2, size):
            return None
        message, self.data = self.data[2:size], self.data[size:]
        return message

    def send(self, message: bytes) -> None:
        """Send a message, as much of it as goes; the rest with `flush`. Raises OSError."""
        self.out += len(message).to_bytes(2, "big") + message
        self.flush()

    def flush(self) -> None:
        """Send what is left. Raises OSError."""
        try:
            while self.out:
                self.out = self.out[self.socket.send(self.out) :]
        except BlockingIOError:
            pass
