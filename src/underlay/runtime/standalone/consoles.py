"""Passing a terminal to the listener of a console socket."""

from __future__ import annotations

import _socket

from ...errors import UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def to_socket(path: str) -> Callable[[int], None]:
    """Return a function that sends a terminal's descriptor to the stream socket at `path`, named as runc names it."""

    def send(console: int) -> None:
        channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            channel.connect(path)
            packed = console.to_bytes(4, "little")
            channel.sendmsg([b"/dev/ptmx"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)])
        except OSError as error:
            raise UnderlayError(
                f"cannot hand the terminal to --console-socket {path}: {error.strerror or error}"
            ) from None
        finally:
            channel.close()

    return send
