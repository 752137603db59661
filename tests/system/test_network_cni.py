"""Networks by configuration files of CNI, with the real plugins of Debian's containernetworking-plugins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import until
from networks import HOST4, NEIGHBOUR4, NOTHING, World, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures

PLUGINS = next((place for place in ("/opt/cni/bin", "/usr/lib/cni") if os.path.exists(f"{place}/bridge")), "")
pytestmark = pytest.mark.skipif(not PLUGINS, reason="no plugins of CNI (containernetworking-plugins)")


def bridge(place: Path, name: str, subnet: str, **more: object) -> dict[str, object]:
    """A bridge with addresses of a subnet, of IPv4 and IPv6."""
    ranges = [[{"subnet": f"{subnet}.0/24"}], [{"subnet": "fd95::/64"}]]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    ipam = {"type": "host-local", "dataDir": str(place / "leases"), "ranges": ranges, "routes": routes}
    settings = {"isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": {**ipam, **more}}
    return {"type": "bridge", "bridge": f"cni-{name}", **settings}


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Path]:
    """The directory of the configurations: two networks, a third whose plugin is missing, and files that are none."""
    directory = tmp_path / "net.d"
    directory.mkdir()
    dns = {"nameservers": ["192.0.2.53"], "search": ["corp.example"]}
    lists: dict[str, dict[str, object]] = {
        "10-office.conflist": {
            "cniVersion": "1.0.0",
            "name": "office",
            "plugins": [
                bridge(tmp_path, "office", "10.95.0") | {"dns": dns},
                {"type": "portmap", "capabilities": {"portMappings": True}},
                {"type": "tuning", "capabilities": {"mac": True}},
            ],
        },
        "20-lab.conf": {"cniVersion": "0.4.0", "name": "lab", **bridge(tmp_path, "lab", "10.96.0")},
        "30-broken.conflist": {"cniVersion": "1.0.0", "name": "broken", "plugins": [{"type": "no-such-plugin"}]},
        "40-failing.conflist": {
            "cniVersion": "1.0.0",
            "name": "failing",
            "plugins": [bridge(tmp_path, "office", "10.97.0"), {"type": "bandwidth", "ingressRate": -1}],
        },
    }
    for name, document in lists.items():
        (directory / name).write_text(json.dumps(document))
    (directory / "50-odd.conflist").write_text("{")
    (directory / "60-evil.conflist").write_text(
        '{"cniVersion": "1.0.0", "name": "evil", "plugins": [{"type": "../sh"}]}'
    )
    world.underlay.environment["NETCONFPATH"] = str(directory)
    yield tmp_path
    world.unserve()
    ids = world.underlay.out("ps", "-aq").split()
    if ids:
        world.underlay("rm", "-f", *ids)
    left = leases(tmp_path, "office") | leases(tmp_path, "lab") | leases(tmp_path, "failing")
    del world.underlay.environment["NETCONFPATH"]
    for name in sorted(world.links()):
        if name.startswith("cni-"):
            world.on_host("ip", "link", "del", name)
    assert left == set()


def leases(place: Path, network: str) -> set[str]:
    """Return the addresses that the plugin host-local has given."""
    directory = place / "leases" / network
    there = {each.name for each in directory.iterdir()} if directory.exists() else set()
    return {name for name in there if name != "lock" and not name.startswith("last_reserved_ip")}


def test_a_container_in_a_network_of_cni(world: World, place: Path) -> None:
    container = world.run("--name", "c1", "--hostname", "desk", "--network", "cni:office", "-p", "8120:80", "-p", "81")
    world.run("--name", "c2", "--network", "cni:office", "--userns", "auto")
    settings = world.inspect("c1")
    shown = settings["Networks"]["cni:office"]
    other = world.inspect("c2")["Networks"]["cni:office"]
    addresses = {each[key] for each in (shown, other) for key in ("IPAddress", "GlobalIPv6Address")}
    assert leases(place, "office") == addresses and len(addresses) == 4
    assert shown["IPAddress"].startswith("10.95.0.") and shown["Gateway"] == "10.95.0.1"
    assert shown["GlobalIPv6Address"].startswith("fd95::") and shown["IPPrefixLen"] == 24
    assert shown["MacAddress"] in world.underlay.out("exec", "c1", "ip", "link", "show", "eth0")
    hosts = world.underlay.out("exec", "c1", "cat", "/etc/hosts")
    assert f"{shown['IPAddress']}\tdesk {container[:12]}" in hosts and shown["GlobalIPv6Address"] in hosts
    assert world.underlay.out("exec", "c1", "cat", "/etc/resolv.conf") == "nameserver 192.0.2.53\nsearch corp.example"
    world.serve("c1", 80)
    world.serve("neighbour", 7120)
    assert world.ask("c2", shown["IPAddress"], 80) == world.inspect("c2")["Networks"]["cni:office"]["IPAddress"]
    assert world.ask("neighbour", HOST4, 8120) == NEIGHBOUR4
    assert world.ask("c1", NEIGHBOUR4, 7120) == HOST4
    members = json.loads(world.underlay.out("network", "inspect", "-f", "{{json .Containers}}", "cni:office"))
    assert {member["Name"] for member in members.values()} == {"c1", "c2"}
    assert members[container]["IPv4Address"] == f"{shown['IPAddress']}/24"
    ports = world.underlay.out("port", "c1").splitlines()
    assert ports[0] == "80/tcp -> 0.0.0.0:8120" and ports[1].startswith("81/tcp -> 0.0.0.0:")
    assert settings["Ports"]["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "8120"}]
    taken = world.underlay("run", "--network", "cni:office", "-p", "8120:80", "box", "true", code=125).stderr
    assert b"port is already allocated" in taken
    assert (
        world.underlay.out("ps", "--format", "{{.Networks}}", "-f", "network=cni:office").split() == ["cni:office"] * 2
    )
    # The end of the container is the end of its lease and its ports, and a start makes them anew.
    world.unserve()
    world.underlay("stop", "-t", "0", "c1")
    assert shown["IPAddress"] not in leases(place, "office")
    assert world.inspect("c1")["Networks"]["cni:office"]["IPAddress"] == ""
    assert world.ask("neighbour", HOST4, 8120) in NOTHING
    world.underlay("start", "c1")
    world.serve("c1", 80)
    assert world.ask("neighbour", HOST4, 8120) == NEIGHBOUR4
    world.underlay("rm", "-f", "c1", "c2")
    assert leases(place, "office") == set()
    assert "8120" not in world.on_host("sh", "-c", "iptables-save -t nat; ip6tables-save -t nat")


def test_several_networks_of_cni(world: World, place: Path) -> None:
    world.run("--name", "s1", "--network", "name=cni:lab", "--network", "name=cni:office,mac-address=02:42:0a:5f:00:09")
    networks = world.inspect("s1")["Networks"]
    assert networks["cni:lab"]["IPAddress"].startswith("10.96.0.")
    assert networks["cni:office"]["MacAddress"] == "02:42:0a:5f:00:09"
    assert "10.95.0." in world.underlay.out("exec", "s1", "ip", "address", "show", "eth1")
    world.underlay("restart", "-t", "0", "s1")
    assert len(leases(place, "lab")) == len(leases(place, "office")) == 2


@pytest.mark.parametrize("sweeper", [("ps",), ("rm", "-f", "k1"), ("start", "k1")], ids=lambda words: words[0])
def test_what_a_killed_monitor_leaves(world: World, place: Path, sweeper: tuple[str, ...]) -> None:
    world.run("--name", "k1", "--network", "cni:office", "-p", "8121:80")
    address = world.inspect("k1")["Networks"]["cni:office"]["IPAddress"]
    pid = world.underlay.pid("k1")
    for process in (world.underlay.monitor("k1"), pid):
        os.kill(process, signal.SIGKILL)
    assert until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert address in leases(place, "office")
    world.underlay(*sweeper)
    assert address not in leases(place, "office")
    if sweeper[0] == "start":
        assert len(leases(place, "office")) == 2
        world.serve("k1", 80)
        assert world.ask("neighbour", HOST4, 8121) == NEIGHBOUR4
    else:
        assert world.ask("neighbour", HOST4, 8121) in NOTHING


def test_a_container_that_goes_when_it_ends(world: World, place: Path) -> None:
    assert "eth0" in world.underlay.out("run", "--rm", "--network", "cni:office", "box", "ip", "link")
    assert leases(place, "office") == set()
    world.underlay("run", "-d", "--rm", "--network", "cni:office", "box", "sleep", "0.3")
    assert until(lambda: not leases(place, "office")) and until(lambda: not world.underlay.out("ps", "-aq"))


def test_a_container_that_is_started_again_keeps_its_lease(world: World, place: Path) -> None:
    """The namespace stays, and with it what plugins made there."""
    script = "ip address show eth0 | grep 10.95 && echo >> /seen && [ $(wc -l < /seen) -gt 2 ]"
    words = ("--restart", "on-failure", "--network", "cni:office", "box", "sh", "-c", script)
    world.underlay("run", "-d", "--name", "a1", *words)
    assert until(lambda: world.underlay.out("ps", "-a", "--format", "{{.Status}}").startswith("Exited (0)"))
    lines = world.underlay.out("logs", "a1").splitlines()
    assert len(lines) == 3 and len(set(lines)) == 1
    assert until(lambda: not leases(place, "office"))


def test_a_chain_that_fails_is_undone(world: World, place: Path) -> None:
    said = world.underlay("run", "--rm", "--network", "cni:failing", "box", "true", code=125).stderr.decode()
    assert "network cni:failing: plugin bandwidth: ADD: " in said and "Traceback" not in said
    assert leases(place, "failing") == set()
    assert world.underlay.out("ps", "-aq") == ""


def test_networks_of_cni_are_listed(world: World, place: Path) -> None:
    rows = world.underlay.out("network", "ls", "-f", "driver=cni", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
    assert rows.splitlines() == [f"cni:{name} cni local" for name in ("broken", "failing", "lab", "office")]
    found = json.loads(world.underlay.out("network", "inspect", "cni:office"))[0]
    assert found["CNI"]["plugins"][0]["bridge"] == "cni-office" and found["Driver"] == "cni"
    assert found["File"] == str(place / "net.d/10-office.conflist")
    assert world.underlay.out("network", "ls", "-q", "--no-trunc", "-f", "name=cni:office") == found["Id"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--network", "cni:nowhere"), "network cni:nowhere not found"),
        (("--network", "cni:evil"), "network cni:evil not found"),
        (("--network", "cni:broken"), "the CNI plugin no-such-plugin is not installed"),
        (("--network", "cni:office", "--network", "front"), "networks cni:office and front cannot be combined"),
        (("--network", "front", "--network", "cni:office"), "networks front and cni:office cannot be combined"),
        (("--network", "cni:office", "--network", "cni:office"), "network cni:office is given twice"),
        (("--network", "cni:office", "--network-alias", "a"), "networks of CNI have no aliases"),
        (("--network", "cni:lab", "--mac-address", "02:42:00:00:00:01"), "no plugin has the capability mac"),
        (("--network", "cni:office", "--ip", "10.95.0.9"), "no plugin has the capability ips"),
        (("--network", "cni:lab", "-p", "8122:80"), "has the capability portMappings"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_networks_of_cni_cannot(world: World, place: Path, words: tuple[str, ...], text: str) -> None:
    said = world.underlay("run", "--rm", *words, "box", "true", code=125).stderr.decode()
    assert text in said and "Traceback" not in said
    assert leases(place, "office") == set()


def test_what_cannot_be_done_with_networks_of_cni(world: World, place: Path) -> None:
    world.run("--name", "c1", "--network", "cni:office")
    for words in (("connect", "cni:office", "c1"), ("disconnect", "cni:office", "c1"), ("rm", "cni:office")):
        said = world.underlay("network", *words, code=1).stderr
        assert b"network cni:office is configured by a file of CNI" in said
    (place / "context").mkdir()
    (place / "context" / "Dockerfile").write_text("FROM box\nRUN true\n")
    said = world.underlay("build", "--network", "cni:office", str(place / "context"), code=1).stderr
    assert b"network cni:office is configured by a file of CNI" in said
    said = world.underlay("network", "connect", "front", "c1", code=1).stderr
    assert b"container c1 cannot be connected: it is in networks of CNI" in said


def test_addresses_are_given_back_after_a_reboot(world: World, place: Path) -> None:
    """The state directory is gone, and what plugins hold is not."""
    world.run("--name", "b1", "--network", "cni:office")
    assert len(leases(place, "office")) == 2
    pid, monitor = world.underlay.pid("b1"), world.underlay.monitor("b1")
    for each in (monitor, pid):
        os.kill(each, signal.SIGKILL)
    assert until(lambda: not Path(f"/proc/{pid}").exists())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(str(world.underlay.state)):
            subprocess.run(["umount", "-l", line.split()[1]], check=True)
    shutil.rmtree(world.underlay.state)
    assert "Exited" in world.underlay.out("ps", "-a", "--format", "{{.Status}}")
    assert leases(place, "office") == set()
