"""A container in the foreground: raw terminal, forwarded signals, window sizes, exit code."""

from __future__ import annotations

import _signal
import os

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
_FORWARDED = (
    "SIGINT",
    "SIGTERM",
    "SIGHUP",
    "SIGQUIT",
    "SIGUSR1",
    "SIGUSR2",
    "SIGALRM",
    "SIGCONT",
    "SIGWINCH",
)


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


class Foreground:
    """The caller's terminal and signals while it stays with a container; use it as a context manager.

    Both are taken before the container starts, since it may answer before we are ready: its `terminal` needs ours in raw
    mode, and signals that will be passed on (`forward`) wait until there is somebody to pass them to.
    """

    __slots__ = ("_forward", "_raw")

    def __init__(self, terminal: bool, forward: bool) -> None:
        self._forward = forward
        self._raw: Any = None
        if forward:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, {getattr(_signal, name) for name in _FORWARDED})
        if terminal and is_terminal(0):
            from ..linux import tty

            self._raw = tty.make_raw(0)

    def attend(self, remote: Remote, redraw: bool = False) -> int | None:
        """Stay until the end; returns the exit code, None when detached. `redraw` has a program draw its screen anew."""
        if self._raw is not None:
            from ..linux import tty

            def resized(number: int, frame: object) -> None:
                remote.resize(*tty.window_size(0))

            _signal.signal(_signal.SIGWINCH, resized)
            if redraw:
                # Only a change of size lets a program draw what is there already, as docker does it.
                rows, columns = tty.window_size(0)
                remote.resize(rows + 1, columns + 1)
            remote.resize(*tty.window_size(0))
        if self._forward:

            def passed(number: int, frame: object) -> None:
                remote.signal(number)

            for name in _FORWARDED:
                _signal.signal(getattr(_signal, name), passed)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        return remote.wait()

    def __enter__(self) -> Foreground:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> None:
        if self._raw is not None:
            from ..linux import tty

            tty.restore(0, self._raw)
