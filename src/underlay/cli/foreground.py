"""Staying with a container in the foreground: terminal in raw mode, signals passed on, sizes told, exit code."""

from __future__ import annotations

import os

import _signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Remote(Protocol):
        """What is attended: a container's session or an execution."""

        def wait(self) -> int | None:
            """Return the exit code, None when detached."""

        def signal(self, number: int) -> None:
            """Pass a signal on."""

        def resize(self, rows: int, columns: int) -> None:
            """Tell the terminal's size."""


# Passed on to the container (docker's --sig-proxy); those that stop or resize us, or that we raise, are not.
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT", "SIGWINCH")


def is_terminal(fd: int) -> bool:
    """Return whether `fd` is open and a terminal."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def usable(fd: int) -> int:
    """Return `fd`, or -1 when it is closed (a caller may have started us without it)."""
    try:
        os.fstat(fd)
    except OSError:
        return -1
    return fd


def attend(remote: Remote, terminal: bool, forward: bool) -> int | None:
    """Stay until the end; returns the exit code, None when detached."""
    raw: Any = None
    if terminal and is_terminal(0):
        from ..linux import tty

        raw = tty.make_raw(0)

        def resized(number: int, frame: object) -> None:
            remote.resize(*tty.window_size(0))

        _signal.signal(_signal.SIGWINCH, resized)
        remote.resize(*tty.window_size(0))
    if forward:

        def passed(number: int, frame: object) -> None:
            remote.signal(number)

        for name in _FORWARDED:
            number = getattr(_signal, name)
            if not (raw is not None and name == "SIGWINCH"):
                _signal.signal(number, passed)
    try:
        return remote.wait()
    finally:
        if raw is not None:
            from ..linux import tty

            tty.restore(0, raw)
