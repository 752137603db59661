"""Output as messages, one a line, sent to a service: the container waits for it a while, or a buffer takes what waits."""

from __future__ import annotations

import _socket
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..logs import Log
    from ..records import LogFile

    class Service(Protocol):
        """A service that takes messages."""

        def connect(self) -> _socket.socket:
            """Return a connection; raises OSError."""

        def message(self, line: bytes, stream: int, partial: bool) -> bytes:
            """Return the message that says a line of a stream."""


_PARTIAL = 16 << 10  # docker cuts longer lines into pieces of this size
_PATIENCE = 2.0  # seconds that a blocking message may take before it is given up
_RETRY = 1  # messages that are lost without another try to connect, doubled up to the number below
_RARELY = 512


class Sending:
    """A log as `logs.Log` is one, for a service; `copy` is what `logs` reads, None for none."""

    __slots__ = (
        "_copy",
        "_pending",
        "_poll",
        "_queue",
        "_queued",
        "_room",
        "_service",
        "_skip",
        "_skipping",
        "_socket",
        "problem",
    )

    def __init__(self, service: Service, settings: LogFile, copy: Log | None, poll: select.poll) -> None:
        self._service = service
        self._copy = copy
        self._poll = poll
        self._room = settings.get("buffer", 0)  # bytes that may wait; 0 for the mode blocking
        self._queue: list[bytes] = []
        self._queued = 0
        self._pending: dict[int, bytes] = {}
        self._socket: _socket.socket | None = None
        self._skip = 0
        self._skipping = _RETRY
        self.problem = ""

    def write(self, stream: int, data: bytes) -> None:
        """Send what the container wrote to `stream` (1 or 2), as far as it is whole lines."""
        if self._copy is not None:
            self._copy.write(stream, data)
        *lines, rest = (self._pending.pop(stream, b"") + data).split(b"\n")
        for line in lines:
            self._send_line(stream, line, False)
        while len(rest) >= _PARTIAL:
            self._send(self._service.message(rest[:_PARTIAL], stream, True))
            rest = rest[_PARTIAL:]
        if rest:
            self._pending[stream] = rest

    def _send_line(self, stream: int, line: bytes, last: bool) -> None:
        while len(line) > _PARTIAL:
            self._send(self._service.message(line[:_PARTIAL], stream, True))
            line = line[_PARTIAL:]
        if line:  # as docker, which sends no empty lines
            self._send(self._service.message(line, stream, last))

    def _send(self, message: bytes) -> None:
        if not self._room:
            self._deliver(message)
            return
        if self._queued + len(message) > self._room:
            self.problem = "output lost: the log's buffer was full"
            return
        self._queue.append(message)
        self._queued += len(message)
        self._drain()

    def handle(self, fd: int) -> bool:
        """Send on what waits when the service can take more; returns whether the descriptor is ours."""
        if self._socket is None or fd != self._socket.fileno():
            return False
        self._drain()
        if not self._queue and self._socket is not None:
            self._poll.unregister(fd)
        return True

    def _drain(self) -> None:
        while self._queue and self._deliver(self._queue[0]):
            self._queued -= len(self._queue.pop(0))

    def _deliver(self, message: bytes) -> bool:
        """Send one message; returns False when it has to wait. What cannot be sent at all is lost."""
        for _ in range(2):  # the service may have been started anew
            channel = self._connected()
            if channel is None:
                return True
            try:
                sent = channel.send(message)
                while sent < len(message):  # a stream
                    channel.settimeout(_PATIENCE)
                    sent += channel.send(message[sent:])
                if self._room:
                    channel.setblocking(False)
                self._skipping = _RETRY
                return True
            except BlockingIOError:
                self._poll.register(channel.fileno(), select.POLLOUT)
                return False
            except TimeoutError:
                self.problem = "output lost to the log: the service does not take it"
                self._disconnect()
                self._rest()
                return True
            except OSError as error:
                self.problem = f"output lost to the log: {error.strerror or error}"
                self._disconnect()
        return True

    def _connected(self) -> _socket.socket | None:
        if self._socket is None:
            if self._skip:
                self._skip -= 1
                return None
            try:
                self._socket = self._service.connect()
            except OSError as error:
                self.problem = f"cannot reach the log's service: {error.strerror or error}"
                self._rest()
                return None
            self._socket.settimeout(_PATIENCE)
            if self._room:
                self._socket.setblocking(False)
        return self._socket

    def _rest(self) -> None:
        """Lose some messages before the service is tried again: more each time."""
        self._skip, self._skipping = self._skipping, min(_RARELY, self._skipping * 2)

    def _disconnect(self) -> None:
        if self._socket is not None:
            try:
                self._poll.unregister(self._socket.fileno())
            except KeyError:
                pass
            self._socket.close()
            self._socket = None

    def unfinished(self) -> dict[str, str]:
        """Return the unfinished lines by stream, in hexadecimal digits, for a later interpreter to go on with."""
        self._flush()
        return {str(stream): data.hex() for stream, data in self._pending.items()}

    def resume(self, unfinished: dict[str, str], problem: str) -> None:
        """Continue where the previous process image stopped."""
        self._pending = {int(stream): bytes.fromhex(data) for stream, data in unfinished.items()}
        self.problem = self.problem or problem

    def _flush(self) -> None:
        """Send what waits, for as long as a message may take."""
        if self._socket is not None and self._queue:
            self._socket.settimeout(_PATIENCE)
            while self._queue and self._socket is not None:
                self._deliver(self._queue.pop(0))
        self._queue.clear()
        self._queued = 0

    def close(self) -> None:
        """Send unfinished lines and close."""
        for stream, rest in sorted(self._pending.items()):
            self._send_line(stream, rest, False)
        self._pending.clear()
        self._flush()
        self._disconnect()
        if self._copy is not None:
            self._copy.close()


def local(path: str) -> _socket.socket:
    """Return a connection to a service of this host: by datagrams, or a stream where it has one. Raises OSError."""
    for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
        made = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
        try:
            made.connect(path)
            return made
        except OSError as error:
            made.close()
            if error.errno != 91:  # EPROTOTYPE: it has the other kind
                raise
    raise OSError(91, os.strerror(91))
