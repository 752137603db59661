"""Networks as options ask for them in the long form, with the MTU of the way out, and removed in spite of kills."""

from __future__ import annotations

import json
import subprocess

import pytest

from networks import HOST4, HOST6, NEIGHBOUR4, NEIGHBOUR6, World, lookup, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures


def program(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_networks_in_the_long_form(world: World) -> None:
    words = (
        "--network",
        "name=front,alias=db,alias=store,mac-address=02:42:00:00:00:09",
        "--network",
        "name=back,alias=far",
    )
    world.run("--name", "long", *words, "-p", "target=80,published=8095,protocol=tcp")
    settings = world.inspect("long")["Networks"]
    assert settings["front"]["MacAddress"] == "02:42:00:00:00:09"
    world.run("--name", "asks", "--network", "front", "--network", "name=back")
    names = world.underlay.out("exec", "asks", "cat", "/etc/resolv.conf").split()[1]
    for name, network in (("db", "front"), ("store", "front"), ("far", "back")):
        assert world.address("long", network) in world.inside("asks", lambda name=name: lookup(name, names)), name
    world.serve("long", 80)
    assert world.ask("neighbour", HOST4, 8095) == NEIGHBOUR4
    address = world.address("long", "back")
    world.underlay("rm", "-f", "long")
    world.run("--name", "long", "--network", f"name=back,ip={address}")
    assert world.address("long", "back") == address


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--network", "name=front,bogus=1"), b"invalid field key bogus"),
        (("--network", "alias=a"), b"network name/id is not specified"),
        (("--network", "name=front,alias"), b"invalid field in --network: alias"),
        (("--network", "name=front,gw-priority=1"), b"--network gw-priority is not supported"),
        (("--network", "name=none,ip=10.0.0.5"), b"--ip cannot be used with --network none"),
        (("--network", "name=front", "-p", "target=80,host=1"), b"invalid field in -p: host=1"),
        (("--network", "name=front", "-p", "published=80"), b"no target port specified"),
        (("--network", "name=front", "-p", "target=80,mode=odd"), b"invalid publish mode odd"),
    ],
)
def test_wrong_words_in_the_long_form(world: World, words: tuple[str, ...], text: bytes) -> None:
    assert text in world.underlay("run", "--rm", *words, "box", "true", code=125).stderr


def test_a_bridge_has_the_mtu_of_the_way_out(world: World) -> None:
    """Larger packets would be lost where the uplink is a tunnel."""
    world.on_host("ip", "link", "set", "eth0", "mtu", "1400")
    world.on_host("ip", "route", "add", "default", "via", NEIGHBOUR4)
    try:
        for name, words, mtu in (("narrow", (), 1400), ("chosen", ("-o", "com.docker.network.driver.mtu=1350"), 1350)):
            world.underlay("network", "create", *words, name)
            world.run("--name", name, "--network", name)
            inside = json.loads(world.inside(name, lambda: program("ip", "-j", "link", "show", "eth0")))
            outside = json.loads(world.on_host("ip", "-j", "link", "show", world.bridge(name)))
            assert (inside[0]["mtu"], outside[0]["mtu"]) == (mtu, mtu)
    finally:
        world.on_host("ip", "route", "del", "default")
        world.on_host("ip", "link", "set", "eth0", "mtu", "1500")
        for name in ("narrow", "chosen"):
            world.underlay("rm", "-f", name)
            world.underlay("network", "rm", name)


def test_a_removal_that_is_killed_can_be_repeated(world: World) -> None:
    """No bridge is left without a network on record."""
    world.underlay("network", "create", "cut")
    world.underlay("run", "--rm", "--network", "cut", "box", "true")
    bridge = world.bridge("cut")
    script = (
        "import os, sys\n"
        "from underlay import Engine\n"
        "from underlay.network import bridge\n"
        "bridge.take_down = lambda *_: os.kill(os.getpid(), 9)\n"
        "with Engine(*sys.argv[1:]) as engine:\n"
        "    engine.networks.remove('cut')\n"
    )
    underlay = world.underlay
    words = [*underlay.command[:-2], "-c", script, str(underlay.root), str(underlay.state)]
    assert subprocess.run(words, env=underlay.environment, timeout=30).returncode == -9
    assert "cut" in underlay.out("network", "ls", "--format", "{{.Name}}").split() and bridge in world.links()
    underlay("network", "rm", "cut")
    assert bridge not in world.links()


def test_why_a_network_could_not_be_made_is_in_the_state(world: World) -> None:
    world.run("--name", "first", "--network", "front", "-p", "8096:80")
    world.underlay("run", "-d", "--name", "second", "--network", "front", "-p", "8096:80", "box", "true", code=125)
    state = json.loads(world.underlay.out("inspect", "-f", "{{json .State}}", "second"))
    assert (state["Status"], state["ExitCode"]) == ("created", 125)
    assert state["Error"].endswith("Bind for 0.0.0.0:8096 failed: port is already allocated")


# Addresses


def test_reserved_addresses_are_given_to_nobody(world: World) -> None:
    words = ("--subnet", "10.84.0.0/29", "--aux-address", "printer=10.84.0.2", "--aux-address", "nas=10.84.0.4")
    world.underlay(
        "network", "create", *words, "--ipv6", "--aux-address", "six=fd84::1", "--subnet", "fd84::/64", "office"
    )
    first, second = json.loads(world.underlay.out("network", "inspect", "-f", "{{json .IPAM.Config}}", "office"))
    assert first["AuxiliaryAddresses"] == {"printer": "10.84.0.2", "nas": "10.84.0.4"}
    # The gateway is the first that is free.
    assert (second["AuxiliaryAddresses"], second["Gateway"]) == ({"six": "fd84::1"}, "fd84::2")
    for name in ("o1", "o2", "o3"):
        world.run("--name", name, "--network", "office")
    assert [world.address(name, "office") for name in ("o1", "o2", "o3")] == ["10.84.0.3", "10.84.0.5", "10.84.0.6"]
    full = world.underlay("run", "--rm", "--network", "office", "box", "true", code=125).stderr
    assert b"no available IPv4 addresses in 10.84.0.0/29" in full
    taken = world.underlay("run", "--rm", "--network", "office", "--ip", "10.84.0.4", "box", "true", code=125).stderr
    assert b"Address already in use: 10.84.0.4 is reserved in network office" in taken
    world.underlay("rm", "-f", "o1", "o2", "o3")
    world.underlay("network", "rm", "office")


def test_another_way_out_for_containers(world: World) -> None:
    """Docker's bridges take the auxiliary address of this name as the containers' gateway."""
    words = ("--subnet", "10.85.0.0/24", "--aux-address", "DefaultGatewayIPv4=10.85.0.200")
    world.underlay("network", "create", *words, "far")
    world.run("--name", "w1", "--network", "far")
    assert "default via 10.85.0.200 " in world.underlay.out("exec", "w1", "ip", "route")
    assert "10.85.0.1/24" in world.on_host("ip", "address", "show", world.bridge("far"))
    world.underlay("rm", "-f", "w1")
    world.underlay("network", "rm", "far")


@pytest.mark.parametrize(
    "words", [("--ipv4=false", "--ipv6"), ("-o", "com.docker.network.enable_ipv4=false", "--ipv6")]
)
def test_a_network_of_ipv6_alone(world: World, words: tuple[str, ...]) -> None:
    world.underlay("network", "create", *words, "six")
    found = json.loads(world.underlay.out("network", "inspect", "six"))[0]
    assert (found["EnableIPv4"], found["EnableIPv6"], len(found["IPAM"]["Config"])) == (False, True, 1)
    for name, more in (("s1", ("-p", "8101:80")), ("s2", ())):
        world.run("--name", name, "--network", "six", "--add-host", "outer:host-gateway", *more)
    assert world.address("s1", "six") == ""
    server = world.underlay.out("exec", "s2", "cat", "/etc/resolv.conf").split()[1]
    address = world.address("s1", "six", six=True)
    assert world.inside("s2", lambda: lookup("s1", server, kind="AAAA")) == {address}
    world.serve("s1", 80)
    assert world.ask("s2", address, 80) == world.address("s2", "six", six=True)
    assert world.ask("neighbour", HOST6, 8101) == NEIGHBOUR6
    assert f"{found['IPAM']['Config'][0]['Gateway']}\touter" in world.underlay.out("exec", "s1", "cat", "/etc/hosts")
    assert "inet " not in world.underlay.out("exec", "s1", "ip", "address", "show", "eth0")
    world.unserve()
    world.underlay("rm", "-f", "s1", "s2")
    world.underlay("network", "rm", "six")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--ipv4=false",), b"IPv4 or IPv6 must be enabled"),
        (("--ipv4=false", "--ipv6", "--subnet", "10.84.0.0/24"), b"an IPv4 subnet cannot be given with --ipv4=false"),
        (("--subnet", "10.84.0.0/24", "--aux-address", "a=10.85.0.1"), b"no matching subnet for aux-address 10.85.0.1"),
        (("--subnet", "10.84.0.0/24", "--aux-address", "a=10.84.0.0"), b"is not a host address of subnet"),
        (("--subnet", "10.84.0.0/24", "--aux-address", "a=x"), b"invalid aux-address: 'x' is not an IP address"),
        (("--aux-address", "10.84.0.1"), b'invalid argument "10.84.0.1" for "--aux-address" flag'),
        (
            ("--subnet", "10.84.0.0/24", "--gateway", "10.84.0.9", "--aux-address", "a=10.84.0.9"),
            b"aux-address a=10.84.0.9 is the gateway of 10.84.0.0/24",
        ),
        (("--ipam-driver", "other"), b"IPAM driver 'other' is not supported"),
        (("--ipam-opt", "a=b"), b"the IPAM driver default has no options"),
        (("--scope", "swarm"), b"scope 'swarm' is not supported"),
        (("-o", "com.docker.network.enable_ipv6=maybe"), b"invalid value 'maybe'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_addresses_of_a_network(world: World, words: tuple[str, ...], text: bytes) -> None:
    said = world.underlay("network", "create", *words, "useless", code=1).stderr
    assert text in said and b"Traceback" not in said


def test_what_docker_has_by_default_may_be_said(world: World) -> None:
    world.underlay("network", "create", "--ipam-driver", "default", "--scope", "local", "--ipv4", "said")
    shown = json.loads(world.underlay("network", "inspect", "said").stdout)[0]
    assert (shown["Scope"], shown["IPAM"]["Driver"], shown["EnableIPv4"]) == ("local", "default", True)
    world.underlay("network", "rm", "said")


# What is shown


def test_endpoints_as_docker_shows_them(world: World) -> None:
    words = ("--subnet", "10.86.0.0/24", "--ipv6", "--subnet", "fd86::/64", "--aux-address", "router=10.86.0.9")
    world.underlay("network", "create", *words, "shown")
    long = "name=shown,ip=10.86.0.50,ip6=fd86::50,alias=db"
    container = world.run("--name", "e1", "--hostname", "store", "--network", long, "--network", "front")
    world.run("--name", "e2", "--network", "front")
    world.underlay("network", "connect", "--ip", "10.86.0.60", "shown", "e2")
    settings = world.inspect("e1")
    shown, front = settings["Networks"]["shown"], settings["Networks"]["front"]
    assert shown == {
        "IPAMConfig": {"IPv4Address": "10.86.0.50", "IPv6Address": "fd86::50"},
        "Links": None,
        "Aliases": ["db"],
        "MacAddress": shown["MacAddress"],
        "DriverOpts": None,
        "NetworkID": world.underlay.out("network", "inspect", "-f", "{{.Id}}", "shown"),
        "EndpointID": shown["EndpointID"],
        "Gateway": "10.86.0.1",
        "IPAddress": "10.86.0.50",
        "IPPrefixLen": 24,
        "IPv6Gateway": "fd86::1",
        "GlobalIPv6Address": "fd86::50",
        "GlobalIPv6PrefixLen": 64,
        "DNSNames": ["e1", "db", container[:12], "store"],
    }
    assert (front["IPAMConfig"], front["Aliases"], front["DNSNames"][0]) == (None, None, "e1")
    assert settings["EndpointID"] == shown["EndpointID"] != front["EndpointID"]
    assert settings["GlobalIPv6Address"] == "fd86::50"
    assert world.inspect("e2")["Networks"]["shown"]["IPAMConfig"] == {"IPv4Address": "10.86.0.60"}
    found = json.loads(world.underlay.out("network", "inspect", "-v", "shown"))[0]
    assert found["Containers"][container] == {
        "Name": "e1",
        "EndpointID": shown["EndpointID"],
        "MacAddress": shown["MacAddress"],
        "IPv4Address": "10.86.0.50/24",
        "IPv6Address": "fd86::50/64",
    }
    assert found["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"router": "10.86.0.9"}
    # What was asked for stays when it has ended, and goes with the endpoint.
    world.underlay("kill", "e1")
    ended = world.inspect("e1")["Networks"]["shown"]
    assert (ended["IPAMConfig"], ended["EndpointID"], ended["IPAddress"]) == (shown["IPAMConfig"], "", "")
    world.underlay("start", "e1")
    assert world.inspect("e1")["Networks"]["shown"] == shown
    world.underlay("network", "disconnect", "shown", "e2")
    world.underlay("network", "connect", "shown", "e2")
    assert world.inspect("e2")["Networks"]["shown"]["IPAMConfig"] is None
    world.run("--name", "d1")
    assert world.inspect("d1")["Networks"]["bridge"]["DNSNames"] is None
    world.underlay("rm", "-f", "e1", "e2", "d1")
    world.underlay("network", "rm", "shown")


def test_networks_listed_by_what_they_are(world: World) -> None:
    for name, label in (("listed", "tier=a"), ("idle", "tier=b")):
        world.underlay("network", "create", "--label", label, name)
    world.underlay("create", "--name", "l1", "--network", "listed", "box", "true")
    network_id = world.underlay.out("network", "inspect", "-f", "{{.Id}}", "listed")

    def names(*filters: str) -> set[str]:
        words = [word for each in filters for word in ("-f", each)]
        return set(world.underlay.out("network", "ls", *words, "--format", "{{.Name}}").split())

    assert names("type=builtin") == {"bridge", "host", "none"}
    assert {"listed", "idle", "front"} <= names("type=custom") and "bridge" not in names("type=custom")
    assert names("type=custom", "type=builtin") == names()
    assert names("scope=local") == names() and names("scope=swarm") == set()
    assert names("label=tier") == {"listed", "idle"} and names("label=tier=a") == {"listed"}
    assert "idle" in names("dangling=true") and not names("dangling=true") & {"listed", "bridge", "host"}
    assert {"listed", "bridge", "host"} <= names("dangling=false") and "idle" not in names("dangling=false")
    assert names(f"id={network_id[10:20]}") == {"listed"} == names("name=liste")
    assert names("driver=null") == {"none"}
    assert world.underlay.out("network", "ls", "-q", "--no-trunc", "-f", "name=listed") == network_id
    row = json.loads(world.underlay.out("network", "ls", "-f", "name=listed", "--format", "json"))
    assert (row["Labels"], row["Scope"], row["IPv4"], row["IPv6"]) == ("tier=a", "local", "true", "false")
    assert b"invalid filter 'type=odd'" in world.underlay("network", "ls", "-f", "type=odd", code=1).stderr
    assert b"invalid filter 'bogus'" in world.underlay("network", "ls", "-f", "bogus=1", code=1).stderr
    # What goes by its labels: none of those that are ruled out, and one of the others.
    pruned = world.underlay.out("network", "prune", "-f", "--filter", "label=tier", "--filter", "label!=tier=b")
    assert pruned == ""
    assert b"idle" in world.underlay("network", "prune", "-f", "--filter", "label=tier", "--filter", "until=0s").stdout
    world.underlay("rm", "l1")
    world.underlay("network", "rm", "listed")


@pytest.mark.parametrize("flag", ["--driver-opt=a=b", "--gw-priority=1", "--link-local-ip=169.254.1.1", "--link=x"])
def test_what_endpoints_cannot_have(world: World, flag: str) -> None:
    world.underlay("create", "--name", "c1", "--network", "front", "box", "true")
    said = world.underlay("network", "connect", flag, "back", "c1", code=1).stderr.decode()
    assert f"{flag.partition('=')[0]} is not supported" in said
    world.underlay("rm", "c1")
