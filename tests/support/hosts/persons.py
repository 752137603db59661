"""A person at a terminal: a command that is typed at and looked at."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from engines import Installation


class Person:
    """A command under a terminal: what is typed and what is seen."""

    def __init__(self, ul: Installation, *words: str, rows: int = 40, columns: int = 123) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(ul.command[0], [*ul.command, *words], ul.environment)

    def wait_for(self, text: bytes, seconds: float = 30.0) -> bytes:
        """Read until `text` appears after what was seen before; returns all that came."""
        start = len(self.seen)
        deadline = time.monotonic() + seconds
        while text not in self.seen[start:] and time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    break
                if not data:
                    break
                self.seen += data
        assert text in self.seen[start:], self.seen
        return self.seen[start:]

    def type(self, data: bytes) -> None:
        """Type."""
        os.write(self.fd, data)

    def end(self) -> int:
        """Wait for the command's end; returns its exit code."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"did not end; seen: {self.seen[-500:]!r}")
