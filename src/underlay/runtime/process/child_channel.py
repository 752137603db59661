"""The setup socket, parent's side: sends instructions to a new process and receives its errors until it is the program."""

from __future__ import annotations

import _socket
import os

from ...errors import StartFailed
from ...lean.jsontext import known
from ..apply import laststep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT = 64 << 10  # bytes of a message of the new process


def open_gate(channel: _socket.socket, word: bytes) -> bool:
    """Let the new process continue; False when it has exited meanwhile: its messages say why."""
    try:
        channel.send(word)
    except (BrokenPipeError, ConnectionResetError):
        return False  # the latter when it has not read the word before
    return True


def message(channel: _socket.socket) -> tuple[bytes, int]:
    """Return the next message of the new process, empty when it has exited, and the descriptor sent with it or -1."""
    while True:
        try:
            data, extra, _, _ = channel.recvmsg(_LIMIT, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            continue  # it has ended without reading all; what it has sent can be read all the same (unix(7))
        return data, int.from_bytes(extra[0][2][:4], "little") if extra else -1


def await_start(
    channel: _socket.socket,
    pid: int = -1,
    announce: Callable[[int, int], None] | None = None,
    at_hooks: Callable[[], None] | None = None,
) -> int:
    """Wait until the new process `pid` has become the program; return its console or -1.

    `at_hooks` is called when all is mounted and the root is not yet changed. Raises StartFailed, and what that raises.
    """
    report = StartReport()
    report.pid = pid
    listen(channel, report, announce, at_hooks)
    if report.failure is not None:
        if report.console >= 0:
            os.close(report.console)
        raise report.failure
    return report.console


class StartReport:
    """The messages of a new process: its console, its pid if a helper has cloned it, why it could not start."""

    __slots__ = ("console", "failure", "listener", "pid")

    def __init__(self) -> None:
        self.console = self.listener = self.pid = -1
        self.failure: StartFailed | None = None


def listen(
    channel: _socket.socket,
    report: StartReport,
    announce: Callable[[int, int], None] | None,
    at_hooks: Callable[[], None] | None = None,
) -> None:
    """Receive the messages of a new process until it has executed the program or exited; `announce` as in `join.start`.

    `at_hooks` as in `await_start`. Raises what the two raise.
    """
    while True:
        data, fd = message(channel)
        if fd >= 0:
            if data == laststep.LISTENER and announce is not None:
                report.listener = fd
            elif data == b"console" and report.console < 0:
                report.console = fd
            else:
                os.close(fd)
        if not data:
            return
        if data == b"hooks" and at_hooks is not None:
            at_hooks()
            open_gate(channel, b"hooked")
        elif len(data) == 8:
            report.pid = laststep.pid_of(data) if report.pid < 0 else report.pid
        elif data[:1] == b"!":
            report.failure = laststep.failure(known(data[1:]))
        if report.listener >= 0 and report.pid > 0 and announce is not None:
            fd, report.listener = report.listener, -1
            announce(report.pid, fd)
