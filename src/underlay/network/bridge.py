"""Bridges and the interfaces of containers: links, addresses, routes and the few sysctls that they need."""

from __future__ import annotations

import os

from ..errors import Conflict, KernelError, Unsupported
from ..linux.network import links, netns
from ..linux.network.netlink import Netlink
from . import subnets
from .model import BRIDGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ..linux.network.links import Link, Route
    from ..linux.network.netlink import Request
    from .firewall import Firewall
    from .model import Endpoint, Network

_EPERM, _EEXIST = 1, 17
_WIDEST = 8  # bits of prefix: no private range is wider (RFC 1918; RFC 4193 and 4291 for IPv6)
_OUTWARD = ("", "bond", "team", "vlan")  # kinds of interfaces by which a host is on its network: "" is hardware
_GUESTS = ("veth", "tun")  # kinds of interfaces by which containers and virtual machines are in bridges
_LINK_LOCAL = b"\xfe\x80"  # begins addresses of IPv6 that an interface has by itself


class Raised:
    """What was missing of a network that was brought up: the whole firewall `table`, its `bridge`, or the host's
    `forwarding`, though the bridge was there: another program had switched it off."""

    __slots__ = ("bridge", "forwarding", "table")

    def __init__(self) -> None:
        self.table = False
        self.bridge = False
        self.forwarding = False


def bring_up(network: Network, firewall: Firewall) -> Raised:
    """Create a network's bridge if it is missing or incomplete, and its elements of the firewall.

    Returns what was missing. Raises KernelError, Unsupported.
    """
    raised = Raised()
    # First the firewall: it looks whether this host forwarded packets before we had it do so.
    raised.table = firewall.admit(network)
    with Netlink() as connection:
        there = links.find(connection, network.interface)
        if there is None:
            there = _make(connection, network)
            raised.bridge = True
        elif there.kind != "bridge":
            raise Conflict(f"the interface {network.interface} of network {network.name} exists and is not a bridge")
        raised.forwarding = not _forwards(network) and not raised.bridge
        _complete(connection, network, there)
    return raised


def mend(network: Network) -> bool:
    """Give a network's bridge what it lacks, if we made it and it is there.

    Returns whether the host had stopped forwarding. Raises KernelError.
    """
    with Netlink() as connection:
        there = links.find(connection, network.interface)
        if there is None or not _ours(network, there):
            return False
        stopped = not _forwards(network)
        _complete(connection, network, there)
    return stopped


def _forwards(network: Network) -> bool:
    """Return whether the kernel passes on packets of a network."""
    return _get("ipv4/ip_forward") == "1" and (network.pool(128) is None or _get("ipv6/conf/all/forwarding") == "1")


def _make(connection: Netlink, network: Network) -> Link:
    try:
        mtu = network.mtu or _uplink_mtu(connection)
        connection.call(links.create_bridge(network.interface, mtu, _address(network)))
    except KernelError as error:
        if error.errno != _EEXIST:  # another was faster
            raise
    made = links.find(connection, network.interface)
    if made is None:
        raise Conflict(f"the interface {network.interface} of network {network.name} was removed by another program")
    return made


def _uplink_mtu(connection: Netlink) -> int:
    """Return the least MTU of the interfaces with a default route, 0 without one.

    Larger packets would be lost on the way where the messages about them are filtered (RFC 8899, section 1.1).
    """
    leading = {route.index for route in links.routes(connection) if not route.prefix and route.gateway}
    return min((link.mtu for link in links.every(connection) if link.index in leading and link.mtu), default=0)


def _address(network: Network) -> bytes:
    """Return the MAC of a bridge that we make: by it we know the bridge again, from its first moment on."""
    return b"\x02\x42" + bytes.fromhex(network.id[:8])


def _ours(network: Network, there: Link) -> bool:
    """Return whether underlay created the interface with the name of a network's bridge. Older ones: by name alone."""
    named = network.interface == f"ul-{network.id[:12]}"
    return there.kind == "bridge" and (named or there.address == _address(network))


def _complete(connection: Netlink, network: Network, there: Link) -> None:
    """Complete a bridge: its creator may have been killed halfway, or another program may have changed it.

    Other processes may do the same concurrently. The addresses come last, so that a bridge with them is complete.
    """
    ours = _ours(network, there)
    if ours:
        _ignore_announcements(network, there)
    missing = _missing(connection, network, there, ours)
    if ours and there.up and not missing and _forwards(network):
        return
    if ours and network.pool(128) is not None:
        # Its addresses are ours to give: a search for others that have them would delay the first answers by seconds.
        _set(f"ipv6/conf/{network.interface}/accept_dad", "0")
    # So that 127.0.0.1 of this host reaches published ports; what comes from elsewhere is dropped (firewall, "raw").
    _set(f"ipv4/conf/{network.interface}/route_localnet", "1")
    if ours:
        _set(f"ipv4/conf/{network.interface}/accept_redirects", "0")
    _forward(connection, network)
    if not there.up:
        connection.call(links.change(there.index, up=True))
    for address, prefix in missing:
        try:
            connection.call(links.add_address(there.index, address, prefix))
        except KernelError as error:
            if error.errno != _EEXIST:
                raise


def _ignore_announcements(network: Network, there: Link) -> None:
    """Have the host learn no address, route or router from what containers send on a bridge that we made.

    Any container may send router advertisements (RFC 4861, section 4.2), and an interface believes them unless told
    otherwise: they would give the host addresses and a default route through the container (class CVE-2020-13401).
    """
    settings = f"ipv6/conf/{network.interface}"
    if not os.path.isdir(f"/proc/sys/net/{settings}"):
        return  # no IPv6 in this kernel, or on links of so few bytes
    believed = _get(f"{settings}/accept_ra") != "0"
    six = network.pool(128) is not None
    # Of an earlier version: what it has learnt would stay for as long as a container said. Ours is added again.
    off = not six or (believed and there.up)
    if off and _get(f"{settings}/disable_ipv6") != "1":
        _set(f"{settings}/disable_ipv6", "1")
    if believed:
        _set(f"{settings}/accept_redirects", "0")
        _set(f"{settings}/accept_ra", "0")
    if six and _get(f"{settings}/disable_ipv6") != "0":
        _set(f"{settings}/disable_ipv6", "0")


def _missing(connection: Netlink, network: Network, there: Link, ours: bool) -> list[tuple[bytes, int]]:
    """Return the addresses (with their prefixes) that a bridge is to have and has not.

    Where a bridge that others made has addresses of a kind, those are right: the gateway may be another host's.
    """
    missing = []
    for pool in network.pools:
        if not pool.gateway:
            continue
        space = pool.space
        wanted = (space.wire(subnets.number_of(pool.gateway)), space.prefix)
        family = links.INET if space.bits == 32 else links.INET6
        has = [
            (address.address, address.prefix)
            for address in links.addresses(connection, family)
            if address.index == there.index and not address.address.startswith(_LINK_LOCAL)
        ]
        if wanted not in has and (ours or not has):
            missing.append(wanted)
    return missing


def _forward(connection: Netlink, network: Network) -> None:
    """Have the kernel pass on packets."""
    _set("ipv4/ip_forward", "1")
    if network.pool(128) is not None:
        # Forwarding stops the host from taking routes from announcements, unless it is told otherwise.
        for name in _uplinks(connection):
            if _get(f"ipv6/conf/{name}/accept_ra") == "1":
                _set(f"ipv6/conf/{name}/accept_ra", "2")
        _set("ipv6/conf/all/forwarding", "1")


def _uplinks(connection: Netlink) -> list[str]:
    """Return the interfaces by which this host may learn its way to everywhere else.

    They are hardware, what is made of it, and what has a default route of IPv6; no port of a bridge, and a bridge only if
    there is more in it than containers and virtual machines.
    """
    there = links.every(connection)
    leading = {route.index for route in links.routes(connection) if len(route.gateway) == 16 and not route.prefix}
    wired = {link.master for link in there if link.master and link.kind not in _GUESTS}
    return [
        link.name
        for link in there
        if not link.master
        and (link.index in leading or link.kind in _OUTWARD)
        and (link.kind != "bridge" or link.index in wired)
    ]


def take_down(network: Network, firewall: Firewall) -> None:
    """Remove the bridge of a network, if we made it, and its elements of the firewall. Raises KernelError."""
    firewall.dismiss(network)
    with Netlink() as connection:
        there = links.find(connection, network.interface)
        if there is not None and _ours(network, there):
            connection.call(links.delete(there.index, network.interface))


def attach(network: Network, endpoint: Endpoint, namespace: int, name: str, leading: Collection[int]) -> None:
    """Give a network namespace (a descriptor) the interface `name` in a network; for kinds of address in `leading` (32,
    128) its way to everywhere else.

    Raises KernelError; nothing is left then.
    """
    mac = bytes.fromhex(endpoint.mac.replace(":", ""))
    outside = f"ve{os.urandom(6).hex()}"
    with Netlink() as connection:
        parent = links.find(connection, network.interface)
        if parent is None:
            raise Unsupported(f"network {network.name}: no such interface: {network.interface}")
        if network.driver == BRIDGE:
            mtu = network.mtu or parent.mtu
            connection.call(links.create_veth(outside, parent.index, name, namespace, mtu, peer_address=mac))
            port = links.find(connection, outside)
            assert port is not None
            connection.call(links.change_port(port.index, isolated=not network.connected))
            if os.path.isdir(f"/proc/sys/net/ipv6/conf/{outside}"):
                _set(f"ipv6/conf/{outside}/disable_ipv6", "1")  # it is a port: the host has no address on it
        else:
            from . import parents

            connection.call(parents.create_child(network, parent, outside, namespace, mac))
    try:
        if network.driver != BRIDGE:
            # Before Linux 6.14 the kernel does not make what is called like an interface of the host, as eth0 mostly is.
            _rename(namespace, outside, name)
        netns.inside(namespace, lambda: _configure(network, endpoint, name, leading))
    except BaseException:
        for made in (name, outside):
            detach(namespace, made)
        raise


def _rename(namespace: int, old: str, new: str) -> None:
    """Give an interface of a network namespace, which is down, another name."""
    with netns.inside(namespace, Netlink) as connection:
        made = links.find(connection, old)
        assert made is not None
        connection.call(links.change(made.index, name=new))


def _configure(network: Network, endpoint: Endpoint, name: str, leading: Collection[int]) -> None:
    """Set up the interface `name` of the network namespace that this thread is in."""
    if os.path.isdir(f"/proc/sys/net/ipv6/conf/{name}"):
        # Its neighbours' announcements are nothing to it; and what a port sends back would look like a duplicate.
        _set(f"ipv6/conf/{name}/accept_ra", "0")
        _set(f"ipv6/conf/{name}/accept_dad", "0")
        if not endpoint.address6:
            _set(f"ipv6/conf/{name}/disable_ipv6", "1")
    with Netlink() as connection:
        made = links.find(connection, name)
        assert made is not None
        requests: list[Request] = [links.change(made.index, up=True)]
        for bits, text in ((32, endpoint.address4), (128, endpoint.address6)):
            pool = network.pool(bits)
            if not text or pool is None:
                continue
            space = pool.space
            requests.append(links.add_address(made.index, space.wire(subnets.number_of(text)), space.prefix))
            if bits in leading:
                requests.append(_way_out(network, made, bits))
        connection.call(*requests)


def lead_out(network: Network, namespace: int, name: str, bits: int) -> None:
    """Have a network namespace reach everywhere else by its interface `name` in a network, with addresses of one kind (32,
    128), whatever its way was before."""
    with netns.inside(namespace, Netlink) as connection:
        made = links.find(connection, name)
        if made is not None and network.pool(bits) is not None:
            connection.call(_way_out(network, made, bits, replace=True))


def _way_out(network: Network, made: Link, bits: int, replace: bool = False) -> Request:
    """Return what adds the default route by an interface in a network that leads out by addresses of a kind."""
    pool = network.pool(bits)
    assert pool is not None
    if network.routes_by_interface:
        return links.add_route(made.index, family=links.INET if bits == 32 else links.INET6, replace=replace)
    return links.add_route(made.index, pool.space.wire(subnets.number_of(pool.router)), replace=replace)


def detach(namespace: int, name: str) -> None:
    """Remove an interface of a network namespace; harmless without one."""
    with netns.inside(namespace, Netlink) as connection:
        made = links.find(connection, name)
        if made is not None:
            connection.call(links.delete(made.index, name))


def has(namespace: int, name: str) -> bool:
    """Return whether a network namespace has an interface of a name. Raises KernelError."""
    with netns.inside(namespace, Netlink) as connection:
        return links.find(connection, name) is not None


def loopback_up(namespace: int) -> None:
    """Bring up `lo` of a network namespace. Raises Unsupported without the right to change interfaces, KernelError."""
    with netns.inside(namespace, Netlink) as connection:
        try:
            connection.call(links.change(1, up=True))
        except KernelError as error:
            if error.errno != _EPERM:
                raise
            raise Unsupported(
                "networks need CAP_NET_ADMIN, which this root user lacks", "use --network none or --network host"
            ) from None


def stands(network: Network) -> bool:
    """Return whether a network's interface exists. Raises KernelError."""
    with Netlink() as connection:
        return links.find(connection, network.interface) is not None


def taken() -> list[subnets.Subnet]:
    """Return the ranges that this host's routes and addresses use; routes to everywhere else are left out."""
    with Netlink() as connection:
        ranges = [
            (route.destination, route.prefix)
            for route in links.routes(connection)
            if route.destination and not _leads_out(route)
        ]
        ranges += [(address.address, address.prefix) for address in links.addresses(connection) if address.address]
    result = []
    for address, prefix in ranges:
        bits = len(address) * 8
        start = int.from_bytes(address, "big") >> (bits - prefix) << (bits - prefix)
        result.append(subnets.Subnet(start, prefix, bits))
    return result


def _leads_out(route: Route) -> bool:
    """Return whether a route is a default route, or half of one: VPN clients add 0.0.0.0/1 and 128.0.0.0/1."""
    return not route.prefix or (bool(route.gateway) and route.prefix < _WIDEST)


def _set(name: str, value: str) -> None:
    path = f"/proc/sys/net/{name}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("set", path, error.errno or 5) from None
    try:
        if os.read(fd, 64).strip() != value.encode():
            os.pwrite(fd, value.encode(), 0)
    except OSError as error:
        raise KernelError("set", path, error.errno or 5) from None
    finally:
        os.close(fd)


def _get(name: str) -> str:
    try:
        with open(f"/proc/sys/net/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
