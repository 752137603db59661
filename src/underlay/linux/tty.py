"""Terminals: pseudo-terminal pairs, raw mode, window sizes (tty_ioctl(4), termios(3))."""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIOCGWINSZ = 0x5413
TIOCSWINSZ = 0x5414
TIOCSCTTY = 0x540E
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441


def window_size(fd: int) -> tuple[int, int]:
    """Return (rows, columns) of the terminal `fd`; (0, 0) when it is none."""
    try:
        answer = fcntl.ioctl(fd, TIOCGWINSZ, bytes(8))
    except OSError:
        return 0, 0
    return int.from_bytes(answer[0:2], "little"), int.from_bytes(answer[2:4], "little")


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Tell the terminal `fd` its size; its foreground processes get SIGWINCH."""
    data = (rows & 0xFFFF).to_bytes(2, "little") + (columns & 0xFFFF).to_bytes(2, "little") + bytes(4)
    fcntl.ioctl(fd, TIOCSWINSZ, data)


def open_pair(ptmx: int) -> int:
    """Return the terminal end of the opened multiplexer `ptmx`, by TIOCGPTPEER (Linux 4.13): no path is looked up."""
    fcntl.ioctl(ptmx, TIOCSPTLCK, bytes(4))
    return fcntl.ioctl(ptmx, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def take_control(fd: int) -> None:
    """Make `fd` the controlling terminal of this session."""
    fcntl.ioctl(fd, TIOCSCTTY, 0)


def make_raw(fd: int) -> list[Any]:
    """Put the terminal `fd` into raw mode; returns what `restore` needs."""
    import termios

    before = termios.tcgetattr(fd)
    after: list[Any] = [item[:] if isinstance(item, list) else item for item in before]
    after[0] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    after[1] &= ~termios.OPOST
    after[2] = (after[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    after[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    after[6][termios.VMIN], after[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, after)
    return before


def restore(fd: int, attributes: list[Any]) -> None:
    """Give the terminal `fd` back the attributes that `make_raw` returned."""
    import termios

    termios.tcsetattr(fd, termios.TCSADRAIN, attributes)
