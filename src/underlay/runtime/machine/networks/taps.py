"""Taps: in the network namespace of a container whose machine has the addresses that its interfaces would have had.

Each interface there becomes a port of a bridge, with the tap as the other, and gives its address and routes to the machine:
on the host's side nothing differs from a container without a machine.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import struct

from ....errors import KernelError
from ....linux.network import links, netns
from ....linux.network.netlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import Interface

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_TUN = "/dev/net/tun"
_TAP, _NO_HEADER, _VNET_HEADER = 0x2, 0x1000, 0x4000


def make(namespace_file: str) -> list[tuple[int, Interface]]:
    """Make a tap for each interface of a pinned network namespace; returns their descriptors and what the machine is given.

    A tap is gone when its descriptor is closed; the bridges are, with the namespace. Raises KernelError.
    """
    namespace = os.open(namespace_file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return netns.inside(namespace, _make)
    finally:
        os.close(namespace)


def _make() -> list[tuple[int, Interface]]:
    made: list[tuple[int, Interface]] = []
    try:
        with Netlink() as connection:
            for link in links.every(connection):
                if link.hardware == links.ETHERNET and not link.master and link.kind not in ("bridge", "tun"):
                    made.append(_replace(connection, link, len(made)))
    except BaseException:
        for fd, _ in made:
            os.close(fd)
        raise
    return made


def _replace(connection: Netlink, link: links.Link, number: int) -> tuple[int, Interface]:
    """Put a bridge with a tap in an interface's place; returns the tap and what the interface had."""
    interface: Interface = {
        "name": link.name,
        "mac": ":".join(f"{byte:02x}" for byte in link.address),
        "mtu": link.mtu,
        "addresses": [],
        "routes": [],
    }
    there = [address for address in links.addresses(connection) if address.index == link.index]
    for address in there:
        if not _by_itself(address.address):
            interface["addresses"].append((_text(address.address), address.prefix))
    for route in links.routes(connection):
        if route.index == link.index and route.table == _MAIN and (route.gateway or not route.destination):
            far = _text(route.destination) if route.destination else ""
            interface["routes"].append((far, route.prefix, _text(route.gateway) if route.gateway else ""))
    for address in there:
        connection.call(links.remove_address(link.index, address.address, address.prefix))
    bridge, tap = f"machine{number}", f"tap{number}"
    # The machine has this address now: a bridge keeps to itself what is sent to an address of one of its own ports.
    connection.call(links.change(link.index, address=b"\x02" + os.urandom(5)))
    connection.call(links.create_bridge(bridge, link.mtu))
    over = links.find(connection, bridge)
    assert over is not None
    fd = _tap(tap)
    try:
        port = links.find(connection, tap)
        assert port is not None
        connection.call(links.change(port.index, mtu=link.mtu))
        for index in (link.index, port.index):
            connection.call(links.put_into(index, over.index))
            # The bridge outside sends back what is for everybody: the machine would seem to be out there.
            connection.call(links.stop_learning(index))
        for index in (over.index, port.index, link.index):
            connection.call(links.change(index, up=True))
    except BaseException:
        os.close(fd)
        raise
    return fd, interface


_MAIN = 254  # table of routes


def _by_itself(address: bytes) -> bool:
    """Return whether an interface has an address by itself (fe80::/10)."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def _text(address: bytes) -> str:
    return _socket.inet_ntop(_socket.AF_INET6 if len(address) == 16 else _socket.AF_INET, address)


def _tap(name: str) -> int:
    """Make a tap in this network namespace; returns its descriptor. Raises KernelError."""
    try:
        fd = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", _TUN, error.errno or 2, "a machine's network needs the driver tun") from None
    try:
        request = struct.pack("16sH22x", name.encode(), _TAP | _NO_HEADER | _VNET_HEADER)
        fcntl.ioctl(fd, _TUNSETIFF, request)
    except OSError as error:
        os.close(fd)
        raise KernelError("make tap", name, error.errno or 1) from None
    return fd
