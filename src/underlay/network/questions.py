"""Where a container asks for names: sockets at 127.0.0.11 port 53 in its network namespace, as docker has it.

They are bound to other ports, so that the container may have a DNS server of its own on all addresses; nf_tables rules in
its namespace exchange the ports of each packet. No connection is tracked for that.
"""

from __future__ import annotations

import _socket
import os

from ..errors import KernelError, Unsupported
from ..linux.network import netns, nft
from ..linux.network.nft import Chain, Piece, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ADDRESS = "127.0.0.11"  # images name it in their configuration: nginx's `resolver`, for one
PORT = 53
_TABLE = "underlay-names"
_PRIORITY = -300  # before connections are tracked (NF_IP_PRI_RAW, netfilter_ipv4.h)
_BACKLOG = 64
_RECEIVED = 1 << 20  # bytes of questions that wait for the name server, which may be starting
_SO_RCVBUFFORCE = 33
_ABSENT = (1, 93, 95)  # EPERM, EPROTONOSUPPORT, EOPNOTSUPP: no privilege, or a kernel without nf_tables


def listen(namespace: int) -> tuple[int, int]:
    """Return the sockets (descriptors; UDP, TCP) for the questions of a network namespace, a descriptor as well.

    Raises KernelError, OSError, Unsupported where this kernel cannot rewrite ports.
    """
    try:
        return netns.inside(namespace, _listen)
    except KernelError as error:
        if error.errno not in _ABSENT:
            raise
        raise Unsupported(f"the kernel cannot rewrite ports (nf_tables): {error.message}") from None


def _listen() -> tuple[int, int]:
    made: list[_socket.socket] = []
    try:
        for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
            socket = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
            made.append(socket)
            socket.bind((ADDRESS, 0))
        packets, connections = made
        try:
            packets.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVED)
        except PermissionError:
            pass
        connections.listen(_BACKLOG)
        ports = {"udp": packets.getsockname()[1], "tcp": connections.getsockname()[1]}
        nft.transact(nft.make(_table(ports), anew=nft.exists(_TABLE)))
        return packets.detach(), connections.detach()
    except BaseException:
        for socket in made:
            socket.close()
        raise


def _table(ports: dict[str, int]) -> Table:
    """Return the nftables table that sends questions to these ports and gives answers the address that was asked."""
    rules: list[list[Piece]] = []
    data = _socket.inet_aton(ADDRESS)
    for transport, port in ports.items():
        is_transport = nft.protocol(transport, nft.PROTOCOLS[transport])
        for side, which, old, new in (("daddr", "dport", PORT, port), ("saddr", "sport", port, PORT)):
            at_address = nft.within(4, side, data, 32, ADDRESS)
            rules.append([at_address, is_transport, nft.port(which, old), nft.set_port(transport, which, new)])
    # Other packets are looked at once.
    entry = [nft.out_by("lo"), nft.verdict(nft.JUMP, "names")]
    return Table(_TABLE, [], [Chain("names", rules), Chain("output", [entry], "filter", nft.OUTPUT, _PRIORITY)])


def close(sockets: Iterable[int]) -> None:
    """Close sockets that were given to others."""
    for fd in sockets:
        os.close(fd)
