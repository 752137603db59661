"""`underlay system dial-stdio`."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack

from .serve import default_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Connect standard input and output with the API: the far end of DOCKER_HOST=ssh://HOST"
SYNOPSIS = "system dial-stdio"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = ()
_PIECE = 1 << 16


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy both ways until the server has closed the connection; without a server, one is started for as long as that."""
    with ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            connection.connect(default_socket())
        except OSError:
            from ...privateserver import private_server

            connection.connect(stack.enter_context(private_server(engine)))
        threading.Thread(target=_send, args=(connection,), daemon=True).start()
        while data := connection.recv(_PIECE):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
    return 0


def _send(connection: socket.socket) -> None:
    try:
        while data := os.read(0, _PIECE):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the server has closed the connection, and that is what counts
