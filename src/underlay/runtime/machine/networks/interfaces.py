"""Network interfaces in the machine: they get the addresses and routes that the container has in its networks."""

from __future__ import annotations

import _socket

from ....errors import UnderlayError
from ....linux.network import links
from ....linux.network.netlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..records import Interface


def configure(interfaces: Sequence[Interface]) -> None:
    """Give the interfaces, found by their MACs, names, addresses and routes. Raises KernelError, UnderlayError."""
    with Netlink() as connection:
        there = {link.address: link for link in links.every(connection)}
        loopback = next(link for link in there.values() if link.hardware == links.LOOPBACK)
        connection.call(links.change(loopback.index, up=True))
        for interface in interfaces:
            link = there.get(bytes.fromhex(interface["mac"].replace(":", "")))
            if link is None:
                raise UnderlayError(f"the machine has no interface with the address {interface['mac']}")
            connection.call(links.change(link.index, name=interface["name"], mtu=interface["mtu"]))
            connection.call(links.change(link.index, up=True))
            for address, prefix in interface["addresses"]:
                connection.call(links.add_address(link.index, _bytes(address), prefix))
        for interface in interfaces:
            link = there[bytes.fromhex(interface["mac"].replace(":", ""))]
            for destination, prefix, gateway in interface["routes"]:
                target = _bytes(destination) if destination else b""
                connection.call(links.add_route(link.index, _bytes(gateway) if gateway else b"", target, prefix))


def _bytes(address: str) -> bytes:
    return _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
