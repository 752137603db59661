"""A socket for a step's SSH agent, with the owner asked for, forwarded to the caller's agent."""

from __future__ import annotations

import _socket
import os
import select

from ...linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PIECE = 16 << 10
_CONNECTIONS = 64


def serve(path: str, agent: str, mode: int, uid: int, gid: int) -> int:
    """Make the socket `path` and a process that connects its clients with the socket `agent`; return its pid.

    It ends with its parent. Raises OSError.
    """
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    listener.bind(path)
    os.chmod(path, mode)
    os.chown(path, uid, gid)
    listener.listen(8)
    pid = os.fork()
    if pid == 0:
        _relay(listener, agent)
    listener.close()
    return pid


def _relay(listener: _socket.socket, agent: str) -> NoReturn:
    try:
        process.prctl(process.PR_SET_PDEATHSIG, 9)
        process.close_from(3, (listener.fileno(),))
        pairs: dict[int, tuple[_socket.socket, _socket.socket]] = {}
        poll = select.poll()
        poll.register(listener.fileno(), select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    _join(listener, agent, pairs, poll)
                elif fd in pairs:
                    source, target = pairs[fd]
                    try:
                        data = source.recv(_PIECE)
                        if data:
                            target.sendall(data)
                            continue
                    except OSError:
                        pass
                    for connection in (source, target):
                        poll.unregister(connection.fileno())
                        del pairs[connection.fileno()]
                        connection.close()
    finally:
        os._exit(0)


def _join(
    listener: _socket.socket, agent: str, pairs: dict[int, tuple[_socket.socket, _socket.socket]], poll: select.poll
) -> None:
    fd, _ = listener._accept()  # type: ignore[attr-defined]
    client = _socket.socket(fileno=fd)
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        if len(pairs) >= 2 * _CONNECTIONS:
            raise OSError
        server.connect(agent)
    except OSError:
        client.close()
        server.close()
        return
    for one, other in ((client, server), (server, client)):
        pairs[one.fileno()] = (one, other)
        poll.register(one.fileno(), select.POLLIN)
