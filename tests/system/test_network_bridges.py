"""Options of bridges: containers kept apart, where ports are published, and how the host leads to containers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from networks import HOST4, HOST6, NEIGHBOUR4, NEIGHBOUR6, NOTHING, World, lookup, nothing_left, world
from underlay.linux.network import netns

__all__ = ["nothing_left", "world"]  # fixtures

BRIDGE = "com.docker.network.bridge."
SUBNETS = ("--subnet", "10.90.0.0/24", "--ipv6", "--subnet", "fd90::/64")


@contextmanager
def network(world: World, name: str, *words: str, **options: str) -> Iterator[None]:
    """A network with options of bridges, removed afterwards with all containers."""
    given = [word for key, value in options.items() for word in ("-o", f"{BRIDGE}{key}={value}")]
    world.underlay("network", "create", *words, *given, name)
    try:
        yield
    finally:
        world.unserve()
        ids = world.underlay.out("ps", "-aq").split()
        if ids:
            world.underlay("rm", "-f", *ids)
        world.underlay("network", "rm", name)


@contextmanager
def routes(world: World) -> Iterator[None]:
    """The neighbour knows the way to the subnets of containers."""
    for subnet, host in (("10.90.0.0/24", HOST4), ("fd90::/64", HOST6)):
        world.near("ip", "route", "add", subnet, "via", host)
    try:
        yield
    finally:
        for subnet in ("10.90.0.0/24", "fd90::/64"):
            world.near("ip", "route", "del", subnet)


@contextmanager
def bridge_packets_pass_the_firewall(world: World, wanted: bool) -> Iterator[None]:
    """Set what Docker sets: that packets between ports of a bridge pass the hooks of IP."""
    settings = [Path(f"/proc/sys/net/bridge/bridge-nf-call-ip{six}tables") for six in ("", "6")]

    def change(values: list[str]) -> list[str]:
        before = [setting.read_text() for setting in settings]
        for setting, value in zip(settings, values, strict=True):
            setting.write_text(value)
        return before

    if not settings[0].exists():
        if wanted:
            pytest.skip("this kernel has no br_netfilter")
        yield
        return
    before = netns.inside(world.host, lambda: change(["1" if wanted else "0"] * 2))
    try:
        yield
    finally:
        netns.inside(world.host, lambda: change(before))


@pytest.mark.parametrize("filtered", [False, True], ids=["bridged", "br_netfilter"])
def test_containers_kept_apart(world: World, filtered: bool) -> None:
    with bridge_packets_pass_the_firewall(world, filtered), network(world, "apart", *SUBNETS, enable_icc="false"):
        world.run("--name", "a1", "--network", "apart", "-p", "8110:80")
        world.run("--name", "a2", "--network", "apart", "--cap-add", "NET_ADMIN")
        world.serve("a1", 80)
        world.serve("neighbour", 7110 + filtered)
        addresses = [world.address("a1", "apart", six=six) for six in (False, True)]
        for address in addresses:
            assert world.ask("a2", address, 80) in NOTHING
        # Neither by a detour through the host.
        world.underlay("exec", "a2", "ip", "route", "add", f"{addresses[0]}/32", "via", "10.90.0.1")
        assert world.ask("a2", addresses[0], 80) in NOTHING
        # By the published port they do, as everybody; and everything else is as ever. Where the firewall sees packets
        # between ports of a bridge it translates them there, and they are kept apart like all others.
        if not filtered:
            assert world.ask("a2", HOST4, 8110) == "10.90.0.1"
            assert world.ask("a2", HOST6, 8110) == "fd90::1"
            assert world.ask("a1", HOST4, 8110) == "10.90.0.1"
        assert world.ask("neighbour", HOST4, 8110) == NEIGHBOUR4
        assert world.ask("neighbour", HOST6, 8110) == NEIGHBOUR6
        assert world.ask("", addresses[0], 80) == "10.90.0.1"
        assert world.ask("a2", NEIGHBOUR4, 7110 + filtered) == HOST4
        server = world.underlay.out("exec", "a2", "cat", "/etc/resolv.conf").split()[1]
        assert addresses[0] in world.inside("a2", lambda: lookup("a1", server))
        world.underlay("network", "reload")
        assert world.ask("a2", addresses[0], 80) in NOTHING and world.ask("a2", addresses[1], 80) in NOTHING


def test_where_ports_are_published_by_default(world: World) -> None:
    with network(world, "bound", *SUBNETS, host_binding_ipv4="127.0.0.1", host_binding_ipv6=HOST6):
        world.run("--name", "b1", "--network", "bound", "-p", "8111:80", "-p", "0.0.0.0:8112:80")
        shown = world.underlay.out("port", "b1").splitlines()
        assert shown == ["80/tcp -> 0.0.0.0:8112", "80/tcp -> 127.0.0.1:8111", f"80/tcp -> [{HOST6}]:8111"]
        world.serve("b1", 80)
        assert world.ask("", "127.0.0.1", 8111) == "10.90.0.1"
        assert world.ask("neighbour", HOST6, 8111) == NEIGHBOUR6
        assert world.ask("neighbour", HOST4, 8111) in NOTHING
        assert world.ask("neighbour", HOST4, 8112) == NEIGHBOUR4
        world.underlay("restart", "-t", "0", "b1")
        assert world.underlay.out("port", "b1").splitlines() == shown


def test_routed_containers_have_their_own_address(world: World) -> None:
    """Published ports are open there, nothing else is; the host's address is nobody's."""
    options = {"gateway_mode_ipv4": "routed", "gateway_mode_ipv6": "routed"}
    with network(world, "direct", *SUBNETS, **options), routes(world):
        world.run("--name", "r1", "--network", "direct", "-p", "8113:80", "-p", "81/udp", "-p", "80")
        world.run("--name", "r2", "--network", "direct", "-p", "80")  # ports of the host are no matter
        four, six = (world.address("r1", "direct", six=number == 6) for number in (4, 6))
        for port, udp in ((80, False), (82, False), (81, True)):
            world.serve("r1", port, udp=udp)
        world.serve("neighbour", 7113)
        for _ in range(2):
            assert world.ask("neighbour", four, 80) == NEIGHBOUR4
            assert world.ask("neighbour", six, 80) == NEIGHBOUR6
            assert world.ask("neighbour", four, 81, udp=True) == NEIGHBOUR4
            assert world.ask("neighbour", four, 82) in NOTHING and world.ask("neighbour", six, 82) in NOTHING
            assert world.ask("neighbour", HOST4, 8113) in NOTHING
            assert world.ask("r1", NEIGHBOUR4, 7113) == four  # no masquerading
            world.near("busybox", "ping", "-c", "1", "-W", "2", four)
            world.near("busybox", "ping", "-6", "-c", "1", "-W", "2", six)
            world.underlay("network", "reload")
        # An address of the host restricts nothing there, which is said.
        said = world.underlay("run", "--rm", "--network", "direct", "-p", "127.0.0.1:80:80", "box", "true").stderr
        assert b"port 80/tcp is open to everybody" in said and b"127.0.0.1 has no effect there" in said
        # From another network as from outside.
        world.run("--name", "f1", "--network", "front")
        assert world.ask("f1", four, 80) not in NOTHING and world.ask("f1", four, 82) in NOTHING
        found = world.inspect("r1")["Ports"]["80/tcp"]
        assert found == [{"HostIp": "0.0.0.0", "HostPort": ""}, {"HostIp": "::", "HostPort": ""}]
        assert world.underlay.out("ps", "--format", "{{.Ports}}", "-f", "name=r1") == "80/tcp, 81/udp"
        # What a container had open is closed when it is gone.
        world.unserve()
        world.underlay("kill", "r1")
        rules = world.underlay.out("network", "rules")
        assert f"{four} . tcp" not in rules and f"{six} . tcp" not in rules


def test_one_kind_routed_and_the_other_translated(world: World) -> None:
    with network(world, "mixed", *SUBNETS, gateway_mode_ipv6="routed"), routes(world):
        world.run("--name", "m1", "--network", "mixed", "-p", "8114:80")
        six = world.address("m1", "mixed", six=True)
        world.serve("m1", 80)
        assert world.ask("neighbour", HOST4, 8114) == NEIGHBOUR4
        assert world.ask("neighbour", six, 80) == NEIGHBOUR6
        assert world.ask("neighbour", HOST6, 8114) in NOTHING
        assert world.ask("neighbour", world.address("m1", "mixed"), 80) in NOTHING
        found = world.inspect("m1")["Ports"]
        assert found == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8114"}, {"HostIp": "::", "HostPort": ""}]}


def test_a_routed_network_joined_and_left_while_running(world: World) -> None:
    with network(world, "direct", *SUBNETS, gateway_mode_ipv4="routed"), routes(world):
        world.run("--name", "j1", "--network", "front", "-p", "8115:80")
        world.serve("j1", 80)
        world.underlay("network", "connect", "direct", "j1")
        four = world.address("j1", "direct")
        assert world.ask("", four, 80) == "10.90.0.1"
        assert f"{four} . tcp . 80" in world.underlay.out("network", "rules")
        assert world.ask("neighbour", HOST4, 8115) == NEIGHBOUR4
        world.underlay("network", "disconnect", "direct", "j1")
        assert f"{four} . tcp . 80" not in world.underlay.out("network", "rules")
        assert world.ask("neighbour", HOST4, 8115) == NEIGHBOUR4


def test_unprotected_containers_are_reached_from_outside(world: World) -> None:
    with network(world, "bare", *SUBNETS, gateway_mode_ipv4="nat-unprotected"), routes(world):
        world.run("--name", "u1", "--network", "bare", "-p", "8116:81")
        world.run("--name", "f1", "--network", "front")
        for port in (80, 81):
            world.serve("u1", port)
        world.serve("neighbour", 7116)
        four, six = (world.address("u1", "bare", six=number == 6) for number in (4, 6))
        assert world.ask("neighbour", four, 80) == NEIGHBOUR4
        assert world.ask("neighbour", six, 80) in NOTHING
        assert world.ask("neighbour", HOST4, 8116) == NEIGHBOUR4
        assert world.ask("f1", four, 80) in NOTHING
        assert world.ask("u1", NEIGHBOUR4, 7116) == HOST4


def test_isolated_from_the_host(world: World) -> None:
    """An internal network without an address of the host: containers have each other and nobody else."""
    options = {"gateway_mode_ipv4": "isolated", "gateway_mode_ipv6": "isolated"}
    with network(world, "shut", "--internal", *SUBNETS, **options):
        for name in ("s1", "s2"):
            world.run("--name", name, "--network", "shut")
        for six in (False, True):
            world.serve("s1", 80) if not six else None
            assert world.ask("s2", world.address("s1", "shut", six=six), 80) == world.address("s2", "shut", six=six)
        server = world.underlay.out("exec", "s2", "cat", "/etc/resolv.conf").split()[1]
        assert world.inside("s2", lambda: lookup("s1", server)) == {world.address("s1", "shut")}
        bridge = json.loads(world.on_host("ip", "-j", "address", "show", world.bridge("shut")))[0]
        assert [each["local"] for each in bridge["addr_info"] if each["scope"] == "global"] == []
        assert world.ask("", world.address("s1", "shut"), 80) in NOTHING
        assert world.inspect("s1")["Networks"]["shut"]["Gateway"] == ""
        config = json.loads(world.underlay.out("network", "inspect", "-f", "{{json .IPAM.Config}}", "shut"))
        assert config == [{"Subnet": "10.90.0.0/24"}, {"Subnet": "fd90::/64"}]


def test_names_of_interfaces_in_containers(world: World) -> None:
    option = "com.docker.network.container_iface_prefix=net"
    with network(world, "named", "-o", option, "-o", "isolate=true"):
        world.run("--name", "n1", "--network", "front", "--network", "named")
        assert " net1@" in world.underlay.out("exec", "n1", "ip", "link")
        world.underlay("network", "disconnect", "front", "n1")
        assert "dev net1" in world.underlay.out("exec", "n1", "ip", "route").splitlines()[0]
        world.underlay("network", "connect", "front", "n1")
        world.underlay("network", "disconnect", "named", "n1")
        assert " net1@" not in world.underlay.out("exec", "n1", "ip", "link")
        found = json.loads(world.underlay.out("network", "inspect", "-f", "{{json .Options}}", "named"))
        assert found["com.docker.network.container_iface_prefix"] == "net" and found["isolate"] == "true"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-o", BRIDGE + "enable_icc=perhaps"), b"invalid value 'perhaps'"),
        (("-o", BRIDGE + "host_binding_ipv4=x"), b"invalid value 'x'"),
        (("-o", BRIDGE + "host_binding_ipv6=::1"), b"the network has no IPv6"),
        (("--ipv6", "-o", BRIDGE + "host_binding_ipv6=127.0.0.1"), b"invalid value '127.0.0.1'"),
        (("-o", BRIDGE + "gateway_mode_ipv4=odd"), b"one of nat, nat-unprotected, routed, isolated"),
        (("-o", BRIDGE + "gateway_mode_ipv6=routed"), b"the network has no IPv6"),
        (("-o", BRIDGE + "gateway_mode_ipv4=isolated"), b"can only be used for an internal network"),
        (
            (
                "--internal",
                "--subnet",
                "10.90.0.0/24",
                "--gateway",
                "10.90.0.1",
                "-o",
                BRIDGE + "gateway_mode_ipv4=isolated",
            ),
            b"gateway 10.90.0.1: a network whose gateway mode is isolated has none",
        ),
        (("-o", "com.docker.network.container_iface_prefix=a/b"), b"invalid value 'a/b'"),
        (("-o", "com.docker.network.container_iface_prefix=longerthaneleven"), b"1 to 11 letters"),
        (("-o", "isolate=false"), b"networks are always isolated from each other"),
        (("-o", BRIDGE + "bogus=1"), b"unknown option 'com.docker.network.bridge.bogus' for driver bridge"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_options_of_bridges(world: World, words: tuple[str, ...], text: bytes) -> None:
    said = world.underlay("network", "create", *words, "useless", code=1).stderr
    assert text in said and b"Traceback" not in said
