"""A container's questions for names: given to the name server when one comes, which is started then if none runs.

Monitors lend it the sockets (`lending`).
"""

from __future__ import annotations

import _socket

from .... import files
from .. import control, detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..records import NameService

SOCKET = "names"  # of the name server, in its directory


def hand_over(service: NameService, container: str, sockets: Sequence[int]) -> _socket.socket | None:
    """Give the sockets of a container to the name server, which is started unless it runs.

    Returns the connection, which the name server closes when it ends; None when it cannot be started. Raises OSError.
    """
    channel = _connect(service)
    if channel is not None and not control.send(channel, {"container": container}, tuple(sockets)):
        channel.close()  # it has ended just now
        channel = _connect(service)
        if channel is not None and not control.send(channel, {"container": container}, tuple(sockets)):
            channel.close()
            return None
    return channel


def _connect(service: NameService) -> _socket.socket | None:
    directory = service["directory"]
    channel = control.connect(directory, SOCKET)
    if channel is not None:
        return channel
    # Another process may be starting it.
    with files.Lock(f"{directory}/{SOCKET}.lock"):
        channel = control.connect(directory, SOCKET)
        if channel is None:
            listener = control.listen(directory, SOCKET)
            channel = control.connect(directory, SOCKET)
            try:
                detached.start(service["command"], listener.fileno())
            finally:
                listener.close()
        return channel
