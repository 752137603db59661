"""`underlay system dial-stdio`."""

from __future__ import annotations

import os
import socket
import threading

from .serve import default_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options
    from ...privateserver import SharedServer

SUMMARY = "Connect standard input and output with the API: the far end of DOCKER_HOST=ssh://HOST"
SYNOPSIS = "system dial-stdio"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = ()
_PIECE = 1 << 16


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy both ways until the server has closed the connection; where no server listens, one is started."""
    shared: SharedServer | None = None
    answered = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(default_socket())
        except OSError:
            from ...privateserver import SharedServer

            shared = SharedServer(engine)
            shared.connect(connection)
        threading.Thread(target=_send, args=(connection,), daemon=True).start()
        try:
            while data := connection.recv(_PIECE):
                answered = True
                view = memoryview(data)
                while view:
                    view = view[os.write(1, view) :]
        except ConnectionResetError:
            pass  # the server has ended: told below if it never was
    if shared is not None and not answered and (failure := shared.failure()) is not None:
        raise failure
    return 0


def _send(connection: socket.socket) -> None:
    try:
        while data := os.read(0, _PIECE):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the server has closed the connection, and that is what counts
