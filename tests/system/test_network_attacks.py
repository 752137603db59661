"""What containers send must not change how their host is connected: router advertisements (class CVE-2020-13401)."""

from __future__ import annotations

import json
import socket
import struct
import time
from pathlib import Path

import pytest

from engines import until
from networks import World, nothing_left, world
from underlay.linux.network import netns

__all__ = ["nothing_left", "world"]  # fixtures

ALL_NODES = bytes.fromhex("333300000001")  # the address of a frame to ff02::1
PREFIX = "2001:db8:bad::"


def router_advertisement(mac: bytes) -> bytes:
    """Return a frame with a router advertisement (RFC 4861, section 4.2): a default router, a prefix for addresses."""
    source, target = (socket.inet_pton(socket.AF_INET6, text) for text in ("fe80::bad", "ff02::1"))
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, PREFIX)
    body = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + prefix + b"\1\1" + mac
    message = b"\x86\0\0\0" + body
    covered = source + target + struct.pack("!II", len(message), 58) + message
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    message = b"\x86\0" + struct.pack("!H", ~total & 0xFFFF) + body
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + source + target
    return ALL_NODES + mac + b"\x86\xdd" + header + message


def advertise(interface: str) -> None:
    """Send a router advertisement by an interface of this thread's network namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        mac = sender.getsockname()[4]
        sender.send(router_advertisement(mac))


def learnt(world: World, interface: str) -> list[str]:
    """Return the addresses and routes on an interface of the host that came by an advertisement."""
    addresses = json.loads(world.on_host("ip", "-6", "-j", "addr", "show", "dev", interface))
    routes = json.loads(world.on_host("ip", "-6", "-j", "route", "show", "dev", interface))
    texts = [entry["local"] for item in addresses for entry in item.get("addr_info", [])]
    texts += [route["dst"] for route in routes]
    return [text for text in texts if text.startswith(PREFIX) or text == "default"]


def bridge_of(world: World, network: str) -> str:
    """Return the interface of a network."""
    options = json.loads(world.underlay.out("network", "inspect", "-f", "{{json .Options}}", network))
    name: str = options["com.docker.network.bridge.name"]
    return name


def setting(world: World, interface: str, name: str, value: str = "") -> str:
    """Return a setting of IPv6 of an interface of the host, changed to `value` first if that is given."""
    path = Path(f"/proc/sys/net/ipv6/conf/{interface}/{name}")
    if value:
        netns.inside(world.host, lambda: path.write_text(value))
    return netns.inside(world.host, path.read_text).strip()


@pytest.fixture(params=[(), ("--ipv6",)], ids=["IPv4", "IPv6"])
def network(world: World, request: pytest.FixtureRequest) -> str:
    world.underlay("network", "create", *request.param, "loud")
    request.addfinalizer(lambda: world.underlay("network", "rm", "loud"))
    request.addfinalizer(lambda: world.underlay("rm", "-f", "sender", code=None))
    return "loud"


def test_a_container_gives_the_host_no_address_and_no_route(world: World, network: str) -> None:
    world.run("--name", "sender", "--network", network)
    interface = bridge_of(world, network)
    assert setting(world, interface, "accept_ra") == "0"
    for _ in range(3):
        world.inside("sender", lambda: advertise("eth0"))
        time.sleep(0.2)  # the host would have the address at once
        assert learnt(world, interface) == []
    ports = [link for link in world.links() if link.startswith("ve")]
    assert ports
    assert all(setting(world, port, "disable_ipv6") == "1" for port in ports)


def test_the_advertisement_of_this_test_is_believed_where_it_may_be(world: World) -> None:
    """The uplink of the host still listens, also when it passes on packets of IPv6 for containers."""
    setting(world, "all", "forwarding", "0")
    netns.inside(world.neighbour, lambda: advertise("eth0"))
    try:
        assert until(lambda: learnt(world, "eth0") != [])
        world.underlay("network", "create", "--ipv6", "six")
        world.underlay("run", "--rm", "--network", "six", "box", "true")
        assert setting(world, "eth0", "accept_ra") == "2"
        world.underlay("network", "rm", "six")
    finally:
        setting(world, "eth0", "accept_ra", "0")
        world.on_host("ip", "-6", "route", "flush", "proto", "ra")
        world.on_host("ip", "-6", "addr", "flush", "dev", "eth0", "dynamic")
        setting(world, "eth0", "accept_ra", "1")
        setting(world, "all", "forwarding", "0")


def test_what_a_bridge_had_learnt_goes_with_its_next_use(world: World, network: str) -> None:
    """Bridges that an earlier version made believe advertisements."""
    world.run("--name", "sender", "--network", network)
    interface = bridge_of(world, network)
    setting(world, "all", "forwarding", "0")
    setting(world, interface, "disable_ipv6", "0")
    setting(world, interface, "accept_ra", "2")
    world.inside("sender", lambda: advertise("eth0"))
    assert until(lambda: learnt(world, interface) != [])
    world.underlay("run", "--rm", "--network", network, "box", "true")
    assert learnt(world, interface) == []
    world.inside("sender", lambda: advertise("eth0"))
    time.sleep(0.2)
    assert learnt(world, interface) == []
    gateway = world.inspect("sender")["Networks"][network]["IPv6Gateway"]
    if gateway:
        assert gateway in world.on_host("ip", "-6", "addr", "show", "dev", interface)


def test_only_uplinks_listen_once_there_is_ipv6(world: World) -> None:
    """Bridges of other programs, and what is in them, stay as they are."""
    world.on_host("ip", "link", "add", "virbr7", "type", "bridge")
    world.on_host("ip", "link", "set", "virbr7", "up")
    try:
        world.underlay("network", "create", "--ipv6", "six")
        world.underlay("run", "--rm", "--network", "six", "box", "true")
        for name in ("virbr7", "default"):
            assert setting(world, name, "accept_ra") == "1", name
        world.underlay("network", "rm", "six")
    finally:
        world.on_host("ip", "link", "del", "virbr7")


def test_a_link_too_narrow_for_ipv6(world: World) -> None:
    world.underlay("network", "create", "-o", "com.docker.network.driver.mtu=1000", "narrow")
    shown = world.underlay.out("run", "--rm", "--network", "narrow", "box", "ip", "addr", "show", "eth0")
    assert "mtu 1000" in shown and "inet " in shown and "inet6" not in shown
    world.underlay("network", "rm", "narrow")
