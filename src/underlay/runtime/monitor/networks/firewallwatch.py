"""A monitor's eye on the firewall: when another program has changed it, a process is started that mends what is ours."""

from __future__ import annotations

import fcntl
import os

from .. import detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

_SIZE = 1 << 16  # bytes that are read at a time; what they say does not matter


class FirewallWatch:
    """A socket on which the kernel tells of changes (`linux.network.changes`), and the command that mends."""

    __slots__ = ("_command", "_lock", "_poll", "socket")

    def __init__(self, poll: select.poll, socket: int, command: list[str], lock: str) -> None:
        """`lock` is the file that is locked while a process of any monitor mends."""
        self._poll = poll
        self._command = command
        self._lock = lock
        self.socket = socket
        poll.register(socket, 1)

    def handle(self, fd: int) -> bool:
        """Do what an event asks for; returns False when the descriptor is another."""
        if fd != self.socket:
            return False
        try:
            while os.read(fd, _SIZE):
                pass
        except OSError:
            pass  # nothing is left, or more has come than the kernel kept
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # It has the lock until it closes it, and looks once more then: what came meanwhile is not lost.
                detached.start(self._command, lock)
            finally:
                os.close(lock)
        except OSError:
            pass  # one is at it, or none can be started: the next start of a container mends as well
        return True

    def close(self) -> None:
        """Watch no more."""
        self._poll.unregister(self.socket)
        os.close(self.socket)
