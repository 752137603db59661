"""Ports of this host, held by sockets that are bound and nothing else: no program can take them, and none gets packets.

What comes for a published port is redirected before it could reach such a socket.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import resource

from ...errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}
_EADDRINUSE, _EAFNOSUPPORT = 98, 97
_MARGIN = 200  # descriptors that a process may need besides


def bind(protocol: str, address: str, number: int) -> int:
    """Return the descriptor of a socket that holds a port at an address ("" is 0.0.0.0); -1 for a protocol without that.

    Raises Conflict when a program has the port, or the host does not have the address.
    """
    kind = _KINDS.get(protocol)
    if kind is None:
        return -1
    six = ":" in address
    try:
        made = _socket.socket(_socket.AF_INET6 if six else _socket.AF_INET, kind | _socket.SOCK_CLOEXEC)
    except OSError as error:
        if error.errno == _EAFNOSUPPORT:
            return -1
        raise
    try:
        if six:
            made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        made.bind((address or "0.0.0.0", number))
    except OSError as error:
        made.close()
        shown = f"[{address}]" if six else address or "0.0.0.0"
        raise Conflict(
            f"listen {protocol} {shown}:{number}: bind: {os.strerror(error.errno or _EADDRINUSE).lower()}"
        ) from None
    return made.detach()


def hold(wanted: Iterable[tuple[str, str, int]]) -> list[int]:
    """Bind ports (protocol, address, number), all or none; returns descriptors, above those that a process opens usually.

    They count for no limit of what this process opens or starts later. Raises Conflict.
    """
    wanted = list(wanted)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    crowded = len(wanted) > soft - _MARGIN
    if crowded:
        needed = soft + len(wanted) + _MARGIN
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard)))
        except ValueError:
            raise Conflict(
                f"cannot bind {len(wanted)} ports: a process may have {hard} open files",
                f"raise the limit: ulimit -n {needed}",
            ) from None
    held: list[int] = []
    try:
        for port in wanted:
            fd = bind(*port)
            if fd >= 0 and crowded:
                # The limit is one of numbers: those below it stay free.
                low, fd = fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, soft)
                os.close(low)
            if fd >= 0:
                held.append(fd)
    except BaseException:
        for fd in held:
            os.close(fd)
        raise
    finally:
        if crowded:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return held
