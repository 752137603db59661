"""Running in the foreground: forwards signals, connects the terminal, returns the exit code."""

from __future__ import annotations

import _signal
import os
import select

from ...linux import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_OURS = frozenset(
    (_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGURG, _signal.SIGPIPE, _signal.SIGWINCH, 32, 33)
)
_CHUNK = 32 << 10


class Foreground:
    """Take over signals (and, with `take_terminal`, the caller's terminal) until `wait` returns."""

    def __init__(self) -> None:
        self._console = -1
        self._before: list[Any] | None = None
        self._wake, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        for number in range(1, _signal.NSIG):
            if number not in _NOT_OURS or number == _signal.SIGWINCH:
                try:
                    _signal.signal(number, _nothing)
                except (OSError, ValueError):
                    pass

    def take_terminal(self, console: int) -> None:
        """Pass the process's terminal through to ours, as large as ours; called before the process runs."""
        self._console = os.dup(console)
        os.set_blocking(self._console, False)
        self._resize()

    def _resize(self) -> None:
        rows, columns = tty.window_size(0)
        if rows and columns and self._console >= 0:
            tty.set_window_size(self._console, rows, columns)

    def wait(self, pid: int, pidfd: int) -> int:
        """Wait for child `pid` and return its exit code, 128 + N when signal N has ended it."""
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        waiting.register(pidfd, select.POLLIN)
        if self._console >= 0:
            waiting.register(self._console, select.POLLIN)
            waiting.register(0, select.POLLIN)
            if os.isatty(0):
                self._before = tty.make_raw(0)
        try:
            ended = False
            while not ended:
                for fd, _ in waiting.poll():
                    if fd == pidfd:
                        ended = True
                    elif fd == self._wake:
                        self._pass_signals(pidfd)
                    elif fd == self._console:
                        if not self._pass_output():
                            waiting.unregister(fd)
                    elif not self._pass_input():
                        waiting.unregister(0)
            while self._console >= 0 and self._pass_output():
                pass
        finally:
            if self._before is not None:
                tty.restore(0, self._before)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _pass_signals(self, pidfd: int) -> None:
        for number in os.read(self._wake, 256):
            if number == _signal.SIGWINCH:
                self._resize()
                continue
            try:
                _signal.pidfd_send_signal(pidfd, number)
            except ProcessLookupError:
                pass

    def _pass_output(self) -> bool:
        """Pass on what the terminal has; False at its end, or when there is nothing now."""
        try:
            data = os.read(self._console, _CHUNK)
        except (BlockingIOError, OSError):
            return False
        _write(1, data)
        return bool(data)

    def _pass_input(self) -> bool:
        data = os.read(0, _CHUNK)
        if not data:
            # The end of input is a character for a terminal (termios(3), VEOF).
            data = b"\x04"
            _write(self._console, data)
            return False
        _write(self._console, data)
        return True


def _nothing(number: int, frame: object) -> None:
    """Let the signal reach the wakeup descriptor; nothing else."""


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
