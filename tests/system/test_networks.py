"""Networks of containers: what reaches what, and what must not; on a host that is a network namespace of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines import until
from networks import HOST4, HOST6, NEIGHBOUR4, NEIGHBOUR6, NOTHING, World, lookup, nothing_left, world
from underlay.network import subnets

__all__ = ["nothing_left", "world"]  # fixtures


def test_a_container_has_an_interface_an_address_and_a_way_out(world: World) -> None:
    name = world.run("--name", "one", "--network", "front", "--hostname", "web")
    settings = world.inspect("one")["Networks"]["front"]
    shown = json.loads(world.inside("one", lambda: _program("ip", "-j", "addr", "show", "eth0")))
    assert shown[0]["address"] == settings["MacAddress"] and "UP" in shown[0]["flags"]
    assert {each["local"] for each in shown[0]["addr_info"]} == {settings["IPAddress"]}
    routes = json.loads(world.inside("one", lambda: _program("ip", "-j", "route")))
    assert [each["gateway"] for each in routes if each["dst"] == "default"] == [settings["Gateway"]]
    world.serve("neighbour", 7001)
    assert world.ask("one", NEIGHBOUR4, 7001) == HOST4  # it goes out under the host's address
    hosts = world.underlay.out("exec", "one", "cat", "/etc/hosts")
    assert f"{settings['IPAddress']}\tweb {name[:12]}" in hosts
    assert world.underlay.out("ps", "--format", "{{.Networks}}") == "front"


def _program(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_containers_of_a_network_reach_each_other_and_those_of_others_do_not(world: World) -> None:
    for name, network in (("a1", "front"), ("a2", "front"), ("b1", "back")):
        world.run("--name", name, "--network", network)
    address = world.address("a1", "front")
    for udp in (False, True):
        world.serve("a1", 80, udp=udp)
        assert world.ask("a2", address, 80, udp) == world.address("a2", "front")
        assert world.ask("b1", address, 80, udp) in NOTHING
        assert world.ask("", address, 80, udp) == world.inspect("a1")["Networks"]["front"]["Gateway"]
    # A neighbour that knows the way gets nothing that is not published.
    world.near("ip", "route", "add", f"{address}/32", "via", HOST4)
    assert world.ask("neighbour", address, 80) in NOTHING


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_a_published_port(world: World, udp: bool) -> None:
    protocol = "udp" if udp else "tcp"
    for name, network in (("p1", "front"), ("p2", "front"), ("q1", "back")):
        more = ["-p", f"8080:80/{protocol}"] if name == "p1" else []
        world.run("--name", name, "--network", network, *more)
    world.serve("p1", 80, udp=udp)
    assert world.ask("neighbour", HOST4, 8080, udp) == NEIGHBOUR4  # who asks is seen as it is
    for address in ("127.0.0.1", HOST4):
        assert world.ask("", address, 8080, udp) not in NOTHING
    for name in ("p1", "p2", "q1"):  # itself, its network, another network
        assert world.ask(name, HOST4, 8080, udp) not in NOTHING, name
    assert world.ask("neighbour", HOST4, 80, udp) in NOTHING
    assert world.underlay.out("port", "p1").splitlines() == [
        f"80/{protocol} -> 0.0.0.0:8080",
        f"80/{protocol} -> [::]:8080",
    ]
    world.underlay("stop", "-t", "0", "p1")
    assert world.ask("neighbour", HOST4, 8080, udp) in NOTHING
    assert world.underlay.out("port", "p1") == ""


def test_what_is_published_for_this_host_is_for_this_host(world: World) -> None:
    """Attacks NW-03."""
    world.run("--name", "mine", "--network", "front", "-p", "127.0.0.1:8081:80")
    world.serve("mine", 80)
    world.near("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    world.near("ip", "route", "add", "127.0.0.1/32", "via", HOST4, "table", "55")
    world.near("ip", "rule", "add", "to", "127.0.0.1", "lookup", "55", "pref", "5")
    world.near("ip", "rule", "add", "pref", "10", "lookup", "local")
    world.near("ip", "rule", "del", "pref", "0")
    for _ in range(2):
        assert world.ask("", "127.0.0.1", 8081) not in NOTHING
        assert world.ask("", HOST4, 8081) in NOTHING
        assert world.ask("neighbour", HOST4, 8081) in NOTHING
        assert world.ask("neighbour", "127.0.0.1", 8081) in NOTHING
        # Again when somebody has taken the firewall away.
        world.on_host("nft", "delete", "table", "inet", world.table)
        world.underlay("network", "reload")


def test_an_internal_network_leads_nowhere(world: World) -> None:
    world.underlay("network", "create", "--internal", "closed")
    for name in ("i1", "i2"):
        world.run("--name", name, "--network", "closed")
    world.run("--name", "open", "--network", "front", "-p", "8082:80")
    world.serve("open", 80)
    world.serve("i1", 80)
    world.serve("neighbour", 7002)
    assert world.ask("i2", world.address("i1", "closed"), 80) == world.address("i2", "closed")
    for address, port in ((NEIGHBOUR4, 7002), (HOST4, 8082), (world.address("open", "front"), 80)):
        assert world.ask("i1", address, port) in NOTHING
    assert world.ask("open", world.address("i1", "closed"), 80) in NOTHING
    done = world.underlay("run", "--rm", "--network", "closed", "-p", "80", "box", "true", code=125)
    assert b"the container is only in networks that are internal, macvlan or ipvlan" in done.stderr
    world.underlay("rm", "-f", "i1", "i2")
    world.underlay("network", "rm", "closed")


def test_ipv6(world: World) -> None:
    world.underlay("network", "create", "--ipv6", "--subnet", "fd00:51::/64", "six")
    world.run("--name", "s1", "--network", "six", "-p", "8083:80", "-p", f"[{HOST6}]:8084:80")
    world.run("--name", "s2", "--network", "six")
    world.serve("s1", 80)
    world.serve("neighbour", 7003)
    address = world.address("s1", "six", six=True)
    assert address == "fd00:51::2"
    assert world.ask("s2", address, 80) == world.address("s2", "six", six=True)
    assert world.ask("neighbour", HOST6, 8083) == world.ask("neighbour", HOST6, 8084) == NEIGHBOUR6
    assert world.ask("neighbour", HOST4, 8083) == NEIGHBOUR4
    assert world.ask("neighbour", HOST4, 8084) in NOTHING
    assert world.ask("s1", NEIGHBOUR6, 7003) == HOST6
    world.underlay("rm", "-f", "s1", "s2")
    world.underlay("network", "rm", "six")


def test_ipv6_leads_out_by_another_network_than_ipv4(world: World) -> None:
    world.underlay("network", "create", "--ipv6", "six")
    world.run("--name", "s1", "--network", "front", "--network", "six", "-p", "8083:80")
    world.run("--name", "s2", "--network", "front")
    world.underlay("network", "connect", "six", "s2")
    world.serve("neighbour", 7005)
    for name in ("s1", "s2"):
        assert world.ask(name, NEIGHBOUR6, 7005) == HOST6
        assert world.ask(name, NEIGHBOUR4, 7005) == HOST4
        gateway = world.inspect(name)["Networks"]["front"]["Gateway"]
        assert f"default via {gateway} " in world.underlay.out("exec", name, "ip", "route")
    world.serve("s1", 80)
    assert world.ask("neighbour", HOST6, 8083) == NEIGHBOUR6
    assert world.ask("neighbour", HOST4, 8083) == NEIGHBOUR4
    world.underlay("network", "disconnect", "front", "s1")
    for address in (NEIGHBOUR4, NEIGHBOUR6):
        assert world.ask("s1", address, 7005) in (HOST4, HOST6)
    world.underlay("rm", "-f", "s1", "s2")
    world.underlay("network", "rm", "six")


def test_connect_and_disconnect_while_it_runs(world: World) -> None:
    world.run("--name", "c1", "--network", "front")
    world.run("--name", "c2", "--network", "back")
    world.serve("c2", 80)
    address = world.address("c2", "back")
    assert world.ask("c1", address, 80) in NOTHING
    world.underlay("network", "connect", "--alias", "other", "back", "c1")
    assert world.ask("c1", address, 80) == world.address("c1", "back")
    assert b"in this network already" in world.underlay("network", "connect", "back", "c1", code=1).stderr
    assert b"has active endpoints: c1, c2" in world.underlay("network", "rm", "back", code=1).stderr
    world.underlay("restart", "-t", "0", "c1")
    assert world.ask("c1", address, 80) == world.address("c1", "back")
    world.underlay("network", "disconnect", "back", "c1")
    assert world.ask("c1", address, 80) in NOTHING
    assert b"is not connected" in world.underlay("network", "disconnect", "back", "c1", code=1).stderr
    members = json.loads(world.underlay.out("network", "inspect", "back"))[0]["Containers"]
    assert [each["Name"] for each in members.values()] == ["c2"]


def test_ports_that_are_taken(world: World) -> None:
    world.run("--name", "t1", "--network", "front", "-p", "8085:80", "-p", "8090-8092:90-92")
    again = ("run", "--rm", "--network", "front")
    done = world.underlay(*again, "-p", "8085:80", "box", "true", code=125)
    assert b"Bind for 0.0.0.0:8085 failed: port is already allocated" in done.stderr
    assert b"already allocated" in world.underlay(*again, "-p", "127.0.0.1:8091:1", "box", "true", code=125).stderr
    world.serve("", 8086, "0.0.0.0")
    assert b"address already in use" in world.underlay(*again, "-p", "8086:80", "box", "true", code=125).stderr
    # A range for one port is a choice; no port is any.
    world.run("--name", "t2", "--network", "back", "-p", "8085-8087:80", "-p", "81", "-P", "--expose", "82")
    lines = world.underlay.out("port", "t2").splitlines()
    ports = dict(line.split(" -> ") for line in lines if "[::]" not in line)
    assert len(lines) == 2 * len(ports)
    assert ports["80/tcp"] == "0.0.0.0:8087"
    assert all(int(ports[name].rpartition(":")[2]) >= 1024 for name in ("81/tcp", "82/tcp"))
    world.underlay("rm", "-f", "t1")
    world.underlay(*again, "-p", "8085:80", "box", "true")


def test_a_killed_monitor_keeps_no_port(world: World) -> None:
    world.run("--name", "k1", "--network", "front", "-p", "8088:80")
    pid = world.underlay.pid("k1")
    os.kill(world.underlay.monitor("k1"), signal.SIGKILL)
    assert until(lambda: not Path(f"/proc/{pid}").exists())
    world.run("--name", "k2", "--network", "back", "-p", "8088:80")
    world.serve("k2", 80)
    assert world.ask("neighbour", HOST4, 8088) == NEIGHBOUR4


def test_addresses_are_leased_once_and_can_be_chosen(world: World) -> None:
    world.underlay("network", "create", "--subnet", "10.77.0.0/29", "small")
    for number in range(5):  # of eight: the network, its gateway and the last are nobody's
        world.run("--name", f"m{number}", "--network", "small")
    found = {world.address(f"m{number}", "small") for number in range(5)}
    assert found == {f"10.77.0.{number}" for number in range(2, 7)}
    done = world.underlay("run", "--rm", "--network", "small", "box", "true", code=125)
    assert b"no available IPv4 addresses in 10.77.0.0/29" in done.stderr
    world.underlay("rm", "-f", "m2")
    refused = ("run", "--rm", "--network", "small", "--ip")
    for address, words in (
        ("10.77.0.2", b"already in use"),
        ("10.77.0.1", b"gateway"),
        ("10.78.0.2", b"not a host address of"),
    ):
        assert words in world.underlay(*refused, address, "box", "true", code=125).stderr
    world.run("--name", "m9", "--network", "small", "--ip", "10.77.0.4", "--mac-address", "02:00:00:00:00:09")
    assert world.inspect("m9")["Networks"]["small"]["MacAddress"] == "02:00:00:00:00:09"
    world.underlay("rm", "-f", "m0", "m1", "m3", "m4", "m9")
    world.underlay("network", "rm", "small")


def test_fifty_at_once(world: World) -> None:
    def start(number: int) -> str:
        world.run("--name", f"n{number}", "--network", "front", "-p", f"{9000 + number}:80")
        return world.address(f"n{number}", "front")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(start, range(50)))
    assert len(set(found)) == 50
    for asks, name in ((0, 49), (49, 0), (25, 25)):
        assert world.inside(f"n{asks}", lambda name=name: lookup(f"n{name}.", "127.0.0.11")) == {found[name]}  # type: ignore[misc]
    world.serve("n7", 80)
    assert world.ask("n3", found[7], 80) == found[3]
    assert world.ask("neighbour", HOST4, 9007) == NEIGHBOUR4


def test_a_thousand_ports_are_elements_and_no_rules(world: World) -> None:
    def rules() -> int:
        found = json.loads(world.on_host("nft", "-j", "list", "table", "inet", world.table))["nftables"]
        return sum("rule" in each for each in found)

    before = rules()
    world.run("--name", "wide", "--network", "front", "-p", "20000-20999:10000-10999")
    assert rules() == before
    world.serve("wide", 10999)
    assert world.ask("neighbour", HOST4, 20999) == NEIGHBOUR4
    found = json.loads(world.on_host("nft", "-j", "list", "map", "inet", world.table, "published_any4"))["nftables"]
    assert len(next(each["map"]["elem"] for each in found if "map" in each)) == 1000


def test_the_rules_of_others_are_left_alone_and_ours_are_read_by_nft(world: World, tmp_path: Path) -> None:
    theirs = (
        "table inet theirs {\nchain c {\ntype filter hook forward priority 5; policy accept;\ncounter accept\n}\n}\n"
    )
    (tmp_path / "theirs").write_text(theirs)
    world.on_host("nft", "-f", str(tmp_path / "theirs"))
    before = world.on_host("nft", "-s", "list", "table", "inet", "theirs")
    world.run("--name", "r1", "--network", "front", "-p", "8089:80")
    ours = world.underlay.out("network", "rules")
    assert "tcp . 8089" in ours
    (tmp_path / "ours").write_text(ours + "\n")
    world.on_host("nft", "-c", "-f", str(tmp_path / "ours"))
    world.underlay("network", "reload")
    world.underlay("rm", "-f", "r1")
    assert world.on_host("nft", "-s", "list", "table", "inet", "theirs") == before
    world.on_host("nft", "delete", "table", "inet", "theirs")


def test_the_subnets_of_the_host_are_not_taken(world: World) -> None:
    world.on_host("ip", "route", "add", "172.31.0.0/16", "dev", "eth0")
    made = [world.underlay.out("network", "create", f"free{number}") for number in range(3)]
    pools = [json.loads(world.underlay.out("network", "inspect", name))[0]["IPAM"]["Config"][0] for name in made]
    assert len({each["Subnet"] for each in pools}) == 3
    assert "172.31.0.0/16" not in {each["Subnet"] for each in pools}
    done = world.underlay("network", "create", "--subnet", pools[0]["Subnet"], "twice", code=1)
    assert b"Pool overlaps" in done.stderr
    assert set(world.underlay.out("network", "prune", "-f").split()) >= {"free0", "free1", "free2"}
    for name in ("front", "back"):
        world.underlay("network", "create", name)
    world.on_host("ip", "route", "del", "172.31.0.0/16", "dev", "eth0")


def test_routes_to_half_of_all_leave_subnets_to_choose_from(world: World) -> None:
    """Clients of VPNs add them, to be preferred to the default route. On-link even such a range is in use."""
    halves = ("0.0.0.0/1", "128.0.0.0/1")
    try:
        for half in halves:
            world.on_host("ip", "route", "add", half, "via", NEIGHBOUR4)
        world.underlay("network", "create", "tunnelled")
        world.underlay("run", "--rm", "--network", "tunnelled", "box", "true")
        for half in halves:
            world.on_host("ip", "route", "replace", half, "dev", "eth0")
        assert b"fully subnetted" in world.underlay("network", "create", "another", code=1).stderr
    finally:
        for half in halves:
            world.on_host("ip", "route", "del", half)
    world.underlay("network", "rm", "tunnelled")


def test_sixty_networks(world: World) -> None:
    """More than docker's 31 pools; what is used up names the line that gives more."""
    names = [f"many{number}" for number in range(60)]
    try:
        for name in names:
            world.underlay("network", "create", name)
        spaces = [
            subnets.parse(text)
            for text in world.underlay.out(
                "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", *names
            ).split()
        ]
        assert len(spaces) == 60 and not any(a.overlaps(b) for n, a in enumerate(spaces) for b in spaces[:n])
        settings = world.place / "networks.toml"
        settings.write_text('default-address-pools = [{ base = "10.33.0.0/23", size = 24 }]\n')
        world.underlay.environment["UNDERLAY_NETWORKS"] = str(settings)
        for name in ("more0", "more1"):
            names.append(name)
            world.underlay("network", "create", name)
        said = world.underlay("network", "create", "more2", code=1).stderr.decode()
        assert "fully subnetted" in said and f"name pools in {settings}: default-address-pools = [" in said
    finally:
        world.underlay.environment.pop("UNDERLAY_NETWORKS", None)
        world.underlay("network", "rm", *names, code=None)


@pytest.mark.parametrize("network", ["bridge", "front"])
def test_the_gateway_as_a_host_to_be_added(world: World, network: str) -> None:
    words = ("--network", network, "--add-host", "outer:host-gateway", "--add-host", "other=host-gateway")
    world.run("--name", "runs", *words)
    world.underlay("create", "--name", "starts", *words, "box", "sleep", "600")
    world.underlay("start", "starts")
    for name in ("runs", "starts"):
        gateway = world.inspect(name)["Networks"][network]["Gateway"]
        hosts = world.underlay.out("exec", name, "cat", "/etc/hosts").splitlines()
        assert hosts[-2:] == [f"{gateway}\touter", f"{gateway}\tother"]
    world.underlay("network", "disconnect", network, "runs")
    assert "outer" not in world.underlay.out("exec", "runs", "cat", "/etc/hosts")
    world.underlay("network", "connect", "back", "runs")
    gateway = world.inspect("runs")["Networks"]["back"]["Gateway"]
    assert f"{gateway}\touter" in world.underlay.out("exec", "runs", "cat", "/etc/hosts")


def test_the_gateway_as_a_host_where_there_is_none(world: World) -> None:
    words = ("--add-host", "outer:host-gateway", "box", "cat", "/etc/hosts")
    refused = world.underlay("run", "--rm", "--network", "none", *words, code=125).stderr
    assert b"host-gateway needs a network with a gateway" in refused
    assert "127.0.0.1\touter" in world.underlay.out("run", "--rm", "--network", "host", *words)


def test_the_gateway_as_a_host_for_builds(world: World, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN cat /etc/hosts > /seen\n")
    words = ("build", "--add-host", "outer:host-gateway")
    for network in ("bridge", "front"):
        world.underlay(*words, "--network", network, "-t", f"seen-{network}", str(tmp_path))
        pools = json.loads(world.underlay.out("network", "inspect", network))[0]["IPAM"]["Config"]
        seen = world.underlay.out("run", "--rm", "--network", "none", f"seen-{network}", "cat", "/seen")
        assert f"{pools[0]['Gateway']}\touter" in seen
    refused = world.underlay(*words, "--network", "none", str(tmp_path), code=1).stderr
    assert b"host-gateway needs a network with a gateway" in refused


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--network", "nowhere"), b"network nowhere not found"),
        (("--network", "front", "--network", "front"), b"given twice"),
        (("--network", "none", "--network", "front"), b"cannot be combined with other networks"),
        (("--network", "bridge", "--ip", "172.17.0.9"), b"user defined networks only"),
        (("--network", "bridge", "--network-alias", "x"), b"user-defined"),
        (("--network", "front", "-p", "x"), b"invalid containerPort: x"),
        (("--network", "front", "-p", "1.2.3.4:80"), b"invalid hostPort"),
        (("--network", "front", "-p", "80-90:1-5"), b"invalid ranges"),
        (("--network", "front", "-p", "80/icmp"), b"invalid proto: icmp"),
        (("--network", "front", "--mac-address", "x"), b"not a valid mac address"),
        (("--network", "front", "--link", "x"), b"No such container: x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_words(world: World, words: tuple[str, ...], text: bytes) -> None:
    assert text in world.underlay("run", "--rm", *words, "box", "true", code=125).stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-d", "macvlan", "-o", "parent=eth0", "-o", "macvlan_mode=x"), b"invalid macvlan_mode 'x'"),
        (("--subnet", "10.83.0.0/32"), b"no room for a gateway and a container"),
        (("--subnet", "10.83.0.0/31", "--gateway", "10.83.0.2"), b"lies in none of the subnets"),
        (("--subnet", "224.0.0.0/4"), b"is for multicast"),
        (("--subnet", "127.0.0.0/8"), b"is loopback"),
        (("--subnet", "10.83.0.0/24", "--gateway", "10.84.0.1"), b"lies in none of the subnets"),
        (("--ipv6", "-o", "mtu=1279"), b"IPv6 needs at least 1280"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_networks_that_could_not_be_used_are_refused(world: World, words: tuple[str, ...], text: bytes) -> None:
    said = world.underlay("network", "create", *words, "useless", code=1).stderr
    assert text in said and b"Traceback" not in said


def test_a_subnet_of_two_addresses(world: World) -> None:
    world.underlay("network", "create", "--subnet", "10.83.0.0/31", "two")
    world.run("--name", "only", "--network", "two")
    world.serve("only", 80)
    assert world.ask("", world.address("only", "two"), 80) == "10.83.0.1"
    world.underlay("rm", "-f", "only")
    world.underlay("network", "rm", "two")


def test_the_default_network(world: World) -> None:
    world.run("--name", "d1", "-p", "8099:80")
    assert world.underlay.out("inspect", "-f", "{{.HostConfig.NetworkMode}}", "d1") == "bridge"
    world.serve("d1", 80)
    assert world.ask("neighbour", HOST4, 8099) == NEIGHBOUR4
    options = json.loads(world.underlay.out("network", "inspect", "bridge"))[0]["Options"]
    assert options["com.docker.network.bridge.name"] in world.links()
    names = world.underlay.out("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    assert {"bridge bridge", "host host", "none null"} <= set(names)
    assert b"cannot be removed" in world.underlay("network", "rm", "bridge", code=1).stderr


def test_two_networks_have_no_bridge_in_common(world: World) -> None:
    option = "com.docker.network.bridge.name=br0"
    world.underlay("network", "create", "-o", option, "first")
    refused = world.underlay("network", "create", "-o", option, "second", code=1).stderr
    assert b"network second conflicts with network first: networks have same bridge name br0" in refused
    assert (
        b"network with name first already exists"
        in world.underlay("network", "create", "-o", option, "first", code=1).stderr
    )
    world.underlay("network", "rm", "first")
    world.underlay("network", "create", "-o", option, "second")
    world.underlay("network", "rm", "second")
