"""Network interfaces, addresses and routes, by messages of rtnetlink(7).

What changes something is a `Request`, so that several can be sent at once. Addresses are bytes as on the wire.
"""

from __future__ import annotations

import sys

from ...errors import KernelError
from .netlink import CREATE, EXCLUSIVE, REPLACE, Request, attribute, attributes, nested, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .netlink import Netlink

INET, INET6 = 2, 10  # address families
NAME_LIMIT = 15  # characters of an interface's name (IFNAMSIZ without its NUL)

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18  # linux/rtnetlink.h
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _GETROUTE = 24, 26
_UP = 0x1
_ADDRESS, _NAME, _MTU, _LINK, _MASTER, _LINKINFO, _ALIAS, _NETNS = 1, 3, 4, 5, 10, 18, 20, 28  # linux/if_link.h
_KIND, _DATA = 1, 2
_SLAVE_KIND, _SLAVE_DATA, _PORT_MODE, _PORT_LEARNING, _PORT_ISOLATED = 4, 5, 4, 8, 33
_VETH_PEER = 1
_MACVLAN_MODE = 1
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODE, _IPVLAN_FLAGS = 1, 2
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
_VLAN_ID = 1
ETHERNET, LOOPBACK = 1, 772  # kinds of hardware (linux/if_arp.h)
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8  # linux/if_addr.h
_NO_DUPLICATE_DETECTION = 0x02
_RTA_DESTINATION, _RTA_INTERFACE, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 1, 4, 5, 6, 15
_MAIN, _STATIC_BY_US, _UNIVERSE, _LINK_SCOPE, _UNICAST = 254, 4, 0, 253, 1
_ENODEV, _ENOENT = 19, 2


class Link:
    """One interface: `index`, `name`, `kind` ("veth", … or ""), `up`, `mtu`, `address` (MAC), `master` (index), `alias`
    (what somebody wrote on it), `hardware` (`ETHERNET`, …)."""

    __slots__ = ("address", "alias", "hardware", "index", "kind", "master", "mtu", "name", "up")

    def __init__(self, payload: bytes) -> None:
        fields = attributes(payload[16:])
        self.index = int.from_bytes(payload[4:8], sys.byteorder)
        self.hardware = int.from_bytes(payload[2:4], sys.byteorder)
        self.up = bool(payload[8] & _UP if sys.byteorder == "little" else payload[11] & _UP)
        self.name = fields.get(_NAME, b"").rstrip(b"\0").decode("utf-8", "surrogateescape")
        self.kind = attributes(fields.get(_LINKINFO, b"")).get(_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
        self.mtu = int.from_bytes(fields.get(_MTU, b""), sys.byteorder)
        self.address = fields.get(_ADDRESS, b"")
        self.master = int.from_bytes(fields.get(_MASTER, b""), sys.byteorder)
        self.alias = fields.get(_ALIAS, b"").rstrip(b"\0").decode("utf-8", "replace")


class Address:
    """One address of an interface: `index`, `family`, `address` (bytes), `prefix` (bits)."""

    __slots__ = ("address", "family", "index", "prefix")

    def __init__(self, payload: bytes) -> None:
        fields = attributes(payload[8:])
        self.family = payload[0]
        self.prefix = payload[1]
        self.index = int.from_bytes(payload[4:8], sys.byteorder)
        self.address = fields.get(_IFA_LOCAL) or fields.get(_IFA_ADDRESS, b"")


class Route:
    """One route of the main table: `family`, `destination` (bytes, empty for the default), `prefix`, `gateway`, `index`."""

    __slots__ = ("destination", "family", "gateway", "index", "prefix", "table", "type")

    def __init__(self, payload: bytes) -> None:
        fields = attributes(payload[12:])
        self.family = payload[0]
        self.prefix = payload[1]
        self.type = payload[7]
        self.table = int.from_bytes(fields.get(_RTA_TABLE, payload[4:5]), sys.byteorder)
        self.destination = fields.get(_RTA_DESTINATION, b"")
        self.gateway = fields.get(_RTA_GATEWAY, b"")
        self.index = int.from_bytes(fields.get(_RTA_INTERFACE, b""), sys.byteorder)


def _head(index: int = 0, up: bool | None = None) -> bytes:
    """Return `struct ifinfomsg`; `up` None leaves the flag as it is."""
    flags = 0 if up is None else (_UP if up else 0)
    return number(0, 2) + number(0, 2) + number(index) + number(flags) + number(0 if up is None else _UP)


def _features(
    name: str = "",
    mtu: int = 0,
    address: bytes = b"",
    master: int = 0,
    namespace: int = -1,
) -> bytes:
    parts = []
    if name:
        parts.append(text(_NAME, name))
    if mtu:
        parts.append(attribute(_MTU, number(mtu)))
    if address:
        parts.append(attribute(_ADDRESS, address))
    if master:
        parts.append(attribute(_MASTER, number(master)))
    if namespace >= 0:
        parts.append(attribute(_NETNS, number(namespace)))
    return b"".join(parts)


def create_bridge(name: str, mtu: int = 0, address: bytes = b"") -> Request:
    """Make a bridge, down."""
    info = nested(_LINKINFO, text(_KIND, "bridge"))
    return Request(
        _NEWLINK,
        _head() + _features(name, mtu, address) + info,
        CREATE | EXCLUSIVE,
        f"make bridge {name}",
    )


def create_veth(
    name: str, master: int, peer: str, namespace: int, mtu: int = 0, address: bytes = b"", peer_address: bytes = b""
) -> Request:
    """Make a pair of interfaces: `name`, up, a port of the bridge `master`; `peer` in the namespace of a descriptor."""
    far = _head() + _features(peer, mtu, peer_address, namespace=namespace)
    info = nested(_LINKINFO, text(_KIND, "veth"), nested(_DATA, attribute(_VETH_PEER, far)))
    return Request(
        _NEWLINK,
        _head(up=True) + _features(name, mtu, address, master) + info,
        CREATE | EXCLUSIVE,
        f"make interface {name}",
    )


def create_macvlan(name: str, parent: int, mode: str, namespace: int, mtu: int = 0, address: bytes = b"") -> Request:
    """Make an interface with an address of its own on the interface `parent`, in the namespace of a descriptor."""
    data = nested(_DATA, attribute(_MACVLAN_MODE, number(MACVLAN_MODES[mode])))
    info = nested(_LINKINFO, text(_KIND, "macvlan"), data)
    return Request(
        _NEWLINK,
        _head() + _features(name, mtu, address, namespace=namespace) + attribute(_LINK, number(parent)) + info,
        CREATE | EXCLUSIVE,
        f"make interface {name}",
    )


def create_ipvlan(name: str, parent: int, mode: str, flag: str, namespace: int, mtu: int = 0) -> Request:
    """Make an interface with the MAC of the interface `parent`, in the namespace of a descriptor.

    All that are made of one parent have the mode and the flag of the last (Documentation/networking/ipvlan.rst).
    """
    values = (_IPVLAN_MODE, IPVLAN_MODES[mode]), (_IPVLAN_FLAGS, IPVLAN_FLAGS[flag])
    data = nested(_DATA, *(attribute(kind, number(value, 2)) for kind, value in values))
    info = nested(_LINKINFO, text(_KIND, "ipvlan"), data)
    return Request(
        _NEWLINK,
        _head() + _features(name, mtu, namespace=namespace) + attribute(_LINK, number(parent)) + info,
        CREATE | EXCLUSIVE,
        f"make interface {name}",
    )


def create_vlan(name: str, parent: int, vlan: int) -> Request:
    """Make an interface for the frames of a VLAN (802.1q) of the interface `parent`, down."""
    info = nested(_LINKINFO, text(_KIND, "vlan"), nested(_DATA, attribute(_VLAN_ID, number(vlan, 2))))
    return Request(
        _NEWLINK,
        _head() + text(_NAME, name) + attribute(_LINK, number(parent)) + info,
        CREATE | EXCLUSIVE,
        f"make interface {name}",
    )


def create_dummy(name: str) -> Request:
    """Make an interface that leads nowhere, down."""
    info = nested(_LINKINFO, text(_KIND, "dummy"))
    return Request(_NEWLINK, _head() + text(_NAME, name) + info, CREATE | EXCLUSIVE, f"make interface {name}")


def write_alias(index: int, alias: str) -> Request:
    """Write a text on an interface, which `ip link` shows."""
    return Request(_NEWLINK, _head(index) + attribute(_ALIAS, alias.encode()), 0, f"change interface {index}")


def change(index: int, up: bool | None = None, name: str = "", mtu: int = 0, address: bytes = b"") -> Request:
    """Change what is given of an interface."""
    return Request(_NEWLINK, _head(index, up) + _features(name, mtu, address), 0, f"change interface {index}")


def put_into(index: int, bridge: int) -> Request:
    """Make an interface a port of a bridge (its index)."""
    return Request(_NEWLINK, _head(index) + _features(master=bridge), 0, f"change interface {index}")


def change_port(index: int, isolated: bool = False) -> Request:
    """Have a bridge send back through a port what came in by it, when it is for there ("hairpin").

    Between `isolated` ports the bridge passes nothing on (bridge(8), "isolated"; Linux 4.18).
    """
    settings = [attribute(_PORT_MODE, b"\1")]
    if isolated:
        settings.append(attribute(_PORT_ISOLATED, b"\1"))
    info = nested(_LINKINFO, text(_SLAVE_KIND, "bridge"), nested(_SLAVE_DATA, *settings))
    return Request(_NEWLINK, _head(index) + info, 0, f"change port {index}")


def stop_learning(index: int) -> Request:
    """Have a bridge learn nothing from what comes in through a port: what is for there is sent through all others, too."""
    data = nested(_SLAVE_DATA, attribute(_PORT_LEARNING, b"\0"))
    info = nested(_LINKINFO, text(_SLAVE_KIND, "bridge"), data)
    return Request(_NEWLINK, _head(index) + info, 0, f"change port {index}")


def delete(index: int, name: str = "") -> Request:
    """Remove an interface."""
    return Request(_DELLINK, _head(index), 0, f"remove interface {name or index}")


def add_address(index: int, address: bytes, prefix: int) -> Request:
    """Give an interface an address; no search for another that has it (IPv6): it is ours to give."""
    family = INET if len(address) == 4 else INET6
    head = bytes((family, prefix, 0, 0)) + number(index)
    parts = [attribute(_IFA_LOCAL, address), attribute(_IFA_ADDRESS, address)]
    if family == INET:
        if prefix < 31:
            broadcast = int.from_bytes(address, "big") | (1 << (32 - prefix)) - 1
            parts.append(attribute(_IFA_BROADCAST, broadcast.to_bytes(4, "big")))
    else:
        parts.append(attribute(_IFA_FLAGS, number(_NO_DUPLICATE_DETECTION)))
    return Request(_NEWADDR, head + b"".join(parts), CREATE | EXCLUSIVE, "add address")


def remove_address(index: int, address: bytes, prefix: int) -> Request:
    """Take an address from an interface."""
    head = bytes((INET if len(address) == 4 else INET6, prefix, 0, 0)) + number(index)
    return Request(_DELADDR, head + attribute(_IFA_LOCAL, address), 0, "remove address")


def add_route(
    index: int,
    gateway: bytes = b"",
    destination: bytes = b"",
    prefix: int = 0,
    family: int = 0,
    priority: int = 0,
    replace: bool = False,
) -> Request:
    """Add a route through an interface, to `destination` or everywhere, or `replace` the one that leads there.

    `family` is wanted where neither address tells it.
    """
    family = family or (INET if len(gateway or destination) == 4 else INET6)
    scope = _UNIVERSE if gateway or family == INET6 else _LINK_SCOPE
    head = bytes((family, prefix, 0, 0, _MAIN, _STATIC_BY_US, scope, _UNICAST)) + number(0)
    parts = [attribute(_RTA_INTERFACE, number(index))]
    if destination:
        parts.append(attribute(_RTA_DESTINATION, destination))
    if gateway:
        parts.append(attribute(_RTA_GATEWAY, gateway))
    if priority:
        parts.append(attribute(_RTA_PRIORITY, number(priority)))
    return Request(_NEWROUTE, head + b"".join(parts), CREATE | (REPLACE if replace else EXCLUSIVE), "add route")


def find(netlink: Netlink, name: str) -> Link | None:
    """Return the interface of a name; None without one."""
    try:
        return Link(netlink.ask(_GETLINK, _head() + text(_NAME, name), f"find interface {name}")[1])
    except KernelError as error:
        if error.errno in (_ENODEV, _ENOENT):
            return None
        raise


def every(netlink: Netlink) -> list[Link]:
    """Return all interfaces."""
    return [Link(data) for kind, data in netlink.dump(_GETLINK, _head(), "list interfaces") if kind == _NEWLINK]


def addresses(netlink: Netlink, family: int = 0) -> list[Address]:
    """Return the addresses of all interfaces, of one family or of both."""
    head = bytes((family, *bytes(7)))
    return [Address(data) for kind, data in netlink.dump(_GETADDR, head, "list addresses") if kind == _NEWADDR]


def routes(netlink: Netlink) -> list[Route]:
    """Return the routes of all tables but those to the host's own addresses and broadcasts."""
    listed = [Route(data) for kind, data in netlink.dump(_GETROUTE, bytes(12), "list routes") if kind == _NEWROUTE]
    return [route for route in listed if route.type == _UNICAST]
