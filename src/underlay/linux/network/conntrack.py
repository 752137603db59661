"""Flows that the kernel remembers (linux/netfilter/nfnetlink_conntrack.h): those of UDP outlive what they were made for."""

from __future__ import annotations

from ...errors import KernelError
from .netlink import NETFILTER, Netlink, Request, attribute, attributes, nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_SUBSYSTEM = 1
_GET, _DELETE = 1, 2
_ORIGINAL, _ZONE, _ID = 1, 18, 12  # of a flow
_PROTOCOL, _NUMBER, _DESTINATION_PORT = 2, 1, 3
_ADDRESSES, _DESTINATION4, _DESTINATION6 = 1, 2, 4
_ENOENT, _EINVAL, _EPROTONOSUPPORT, _EOPNOTSUPP = 2, 22, 93, 95
UDP = 17


def forget(ports: Collection[tuple[bytes, int]]) -> None:
    """Have the kernel forget all flows of UDP to (address, port); b"" is every address. Raises KernelError.

    A flow keeps the destination that it was given with its first packet, although another has been published since.
    """
    wanted = set(ports)
    for family in (2, 10):
        head = bytes((family, 0, 0, 0))
        with Netlink(NETFILTER) as connection:
            try:
                flows = connection.dump((_SUBSYSTEM << 8) | _GET, head, "list flows")
            except KernelError as error:
                if error.errno in (_EINVAL, _EPROTONOSUPPORT, _EOPNOTSUPP):
                    return  # nothing is tracked, or the kernel has no such interface
                raise
            for _, data in flows:
                flow = attributes(data[4:])
                target = _target(flow.get(_ORIGINAL, b""))
                if target and (target in wanted or (b"", target[1]) in wanted):
                    names = [attribute(kind, flow[kind]) for kind in (_ZONE, _ID) if kind in flow]
                    payload = head + nested(_ORIGINAL, flow[_ORIGINAL]) + b"".join(names)
                    try:
                        connection.call(Request((_SUBSYSTEM << 8) | _DELETE, payload, 0, "forget flow"))
                    except KernelError as error:
                        if error.errno != _ENOENT:
                            raise


def _target(tuple_: bytes) -> tuple[bytes, int] | None:
    """Return the destination of a flow of UDP, None for others."""
    parts = attributes(tuple_)
    protocol, addresses = attributes(parts.get(_PROTOCOL, b"")), attributes(parts.get(_ADDRESSES, b""))
    if protocol.get(_NUMBER) != bytes((UDP,)) or _DESTINATION_PORT not in protocol:
        return None
    address = addresses.get(_DESTINATION4) or addresses.get(_DESTINATION6) or b""
    return address, int.from_bytes(protocol[_DESTINATION_PORT], "big")
