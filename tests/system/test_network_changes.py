"""Networks of containers that change: restarts beside sidecars, connecting and disconnecting, removal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from engines import until
from networks import HOST4, NEIGHBOUR4, NOTHING, World, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures


def interfaces(world: World, name: str) -> dict[str, list[str]]:
    """Return the interfaces of a container, but for loopback, with their addresses of IPv4."""
    shown = json.loads(world.inside(name, lambda: _program("ip", "-j", "-4", "addr")))
    return {link["ifname"]: [each["local"] for each in link["addr_info"]] for link in shown if link["ifname"] != "lo"}


def _program(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


WAYS = ["restart", "stop and start", "killed monitor", "killed with its monitor"]


@pytest.mark.parametrize("way", WAYS)
def test_sidecars_live_on_when_their_container_starts_again(world: World, way: str) -> None:
    world.run("--name", "main", "--network", "front", "--network", "back", "-p", "8120-8121:80-81")
    world.run("--name", "side", "--network", "container:main")
    world.run("--name", "other", "--network", "front")
    port = 7030 + WAYS.index(way)
    world.serve("neighbour", port)
    before = interfaces(world, "side")
    namespace = os.stat(f"/proc/{world.underlay.pid('side')}/ns/net").st_ino
    for turn in range(2):
        if way == "restart":
            world.underlay("restart", "-t", "0", "main")
        elif way == "stop and start":
            world.underlay("stop", "-t", "0", "main")
            # While it is stopped nobody has its addresses, which somebody else may get.
            assert interfaces(world, "side") == {}
            world.underlay("start", "main")
        else:
            pids = [world.underlay.monitor("main")] + [world.underlay.pid("main")] * (way != "killed monitor")
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert until(
                lambda: "Exited" in world.underlay.out("ps", "-a", "--filter", "name=main", "--format", "{{.Status}}")
            )
            world.underlay("start", "main")
        assert interfaces(world, "side") == interfaces(world, "main") == before
        assert os.stat(f"/proc/{world.underlay.pid('main')}/ns/net").st_ino == namespace
        assert world.ask("side", NEIGHBOUR4, port) == HOST4
        world.serve("side", 80 + turn)
        assert world.ask("neighbour", HOST4, 8120 + turn) == NEIGHBOUR4
        assert world.ask("other", before["eth0"][0], 80 + turn) == world.address("other", "front")
        assert "main" in world.underlay.out("exec", "side", "busybox", "nslookup", "main.")
    world.underlay("rm", "-f", "main")
    assert interfaces(world, "side") == {}


def test_a_container_that_starts_anew_has_its_address_alone(world: World) -> None:
    """A process that keeps the namespace of the run before does not keep the address on the bridge."""
    world.run("--name", "main", "--network", "front")
    world.run("--name", "side", "--network", "container:main")
    world.run("--name", "other", "--network", "front")
    world.underlay("stop", "-t", "0", "main")
    assert until(lambda: len([name for name in world.links() if name.startswith("ve")]) == 1)


def test_interfaces_keep_their_names(world: World) -> None:
    world.run("--name", "moves", "--network", "front", "--network", "back")
    addresses = {name: world.address("moves", name) for name in ("front", "back")}
    for _ in range(3):
        for network, interface in (("front", "eth0"), ("back", "eth1")):
            world.underlay("network", "disconnect", network, "moves")
            assert interface not in interfaces(world, "moves")
            world.underlay("network", "connect", network, "moves")
            assert interfaces(world, "moves")[interface] == [world.address("moves", network)]
    assert set(interfaces(world, "moves")) == {"eth0", "eth1"}
    assert addresses["front"] != world.address("moves", "front")  # the old one rests


def test_connecting_from_another_mount_namespace(world: World) -> None:
    """As commands of a service of systemd with PrivateTmp are in: the file of the namespace is there nothing but a file."""
    command = world.underlay.command
    world.underlay.command = ["unshare", "-m", "--propagation", "private", *command]
    try:
        world.run("--name", "apart", "--network", "front", "-p", "8121:80")
    finally:
        world.underlay.command = command
    world.run("--name", "near", "--network", "back")
    world.underlay("network", "connect", "back", "apart")
    assert set(interfaces(world, "apart")) == {"eth0", "eth1"}
    world.underlay("network", "disconnect", "front", "apart")
    assert set(interfaces(world, "apart")) == {"eth1"}
    world.serve("apart", 80)
    assert world.ask("neighbour", HOST4, 8121) == NEIGHBOUR4
    assert world.ask("near", world.address("apart", "back"), 80) == world.address("near", "back")


def test_a_disconnection_that_fails_changes_nothing(world: World) -> None:
    """The interface cannot be removed: no other container gets the address."""
    world.run("--name", "stays", "--network", "front", "-p", "8122:80")
    address = world.address("stays", "front")
    state = world.underlay.state
    program = (
        "import sys\n"
        "from underlay.errors import KernelError\n"
        "from underlay.network import bridge\n"
        "def fail(*_): raise KernelError('delete', 'eth0', 16)\n"
        "bridge.detach = fail\n"
        "sys.argv[1:] = ['network', 'disconnect', 'front', 'stays']\n"
        "from underlay.cli.main import entry\n"
        "entry()\n"
    )
    done = subprocess.run(
        [*world.underlay.command[:-2], "-c", program], env=world.underlay.environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and "eth0" in done.stderr, (done, state)
    assert world.address("stays", "front") == address and interfaces(world, "stays") == {"eth0": [address]}
    world.serve("stays", 80)
    assert world.ask("neighbour", HOST4, 8122) == NEIGHBOUR4


def test_flows_of_udp_follow_a_port_that_moves(world: World) -> None:
    world.run("--name", "talks", "--network", "front", "--network", "back", "-p", "8123:80/udp")
    world.serve("talks", 80, udp=True)
    made = world._in("neighbour", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with made as client:
        client.settimeout(2)
        client.connect((HOST4, 8123))
        client.send(b"who")
        assert client.recv(100) == NEIGHBOUR4.encode()
        world.underlay("network", "disconnect", "front", "talks")
        client.send(b"who")
        assert client.recv(100) == NEIGHBOUR4.encode()
        world.underlay("network", "connect", "front", "talks")
        client.send(b"who")
        assert client.recv(100) == NEIGHBOUR4.encode()


def test_networks_of_stopped_containers(world: World) -> None:
    world.underlay("network", "create", "--label", "kind=test", "gone")
    world.run("--name", "waits", "--network", "gone", "--network-alias", "w", "--network", "front")
    refused = world.underlay("network", "rm", "gone", code=1).stderr
    assert b"network gone has active endpoints: waits" in refused
    world.underlay("stop", "-t", "0", "waits")
    bridge = world.bridge("gone")
    world.underlay("network", "prune", "-f", "--filter", "label=kind=test")
    assert "gone" in world.underlay.out("network", "ls", "--format", "{{.Name}}").split()
    world.underlay("network", "rm", "gone")
    assert bridge not in world.links()
    refused = world.underlay("start", "waits", code=1).stderr
    assert b"network gone not found: it was removed while the container was stopped" in refused
    state = json.loads(world.underlay.out("inspect", "waits"))[0]["State"]
    assert "network gone not found" in state["Error"]
    assert not Path(
        f"{world.underlay.state}/containers/{world.underlay.out('inspect', '-f', '{{.Id}}', 'waits')}/net"
    ).exists()
    world.underlay("network", "create", "gone")
    world.underlay("start", "waits")
    assert interfaces(world, "waits") == {
        "eth0": [world.address("waits", "gone")],
        "eth1": [world.address("waits", "front")],
    }
    assert world.inspect("waits")["Networks"]["gone"]["Aliases"][0] == "w"
    world.underlay("rm", "-f", "waits")
    world.underlay("network", "rm", "gone")


def test_an_updated_container_gives_its_network_back(world: World) -> None:
    """What the monitor is told for later runs does not make it forget what this one has."""
    world.run("--name", "changed", "--network", "front", "-p", "8124:80")
    world.underlay("update", "--restart", "on-failure:3", "changed")
    world.underlay("stop", "-t", "0", "changed")
    assert until(lambda: not [name for name in world.links() if name.startswith("ve")])
    world.run("--name", "next", "--network", "back", "-p", "8124:80")
    world.serve("next", 80)
    assert world.ask("neighbour", HOST4, 8124) == NEIGHBOUR4
    assert world.ask("next", HOST4, 8124) not in NOTHING


def _on_host_left(world: World) -> tuple[set[str], bool]:
    tables = world.on_host("nft", "list", "tables")
    return world.links() - {"lo", "eth0"}, "underlay" in tables


def _forwards(world: World) -> str:
    return world.on_host("cat", "/proc/sys/net/ipv4/ip_forward").strip()


def test_what_the_host_has_goes_with_the_last_container_and_network(world: World) -> None:
    """And it forwards nothing any more, as before us."""
    world.underlay("network", "rm", "front", "back", code=None)
    try:
        assert _on_host_left(world) == (set(), False) and _forwards(world) == "0"
        world.run("--name", "last", "-p", "8130:80")
        world.run("--name", "stopped")
        assert _on_host_left(world)[1] and _forwards(world) == "1"
        world.underlay("rm", "-f", "last")
        world.underlay("stop", "-t", "0", "stopped")
        assert _on_host_left(world)[1]
        world.underlay("rm", "stopped")
        assert _on_host_left(world) == (set(), False) and _forwards(world) == "0"
        # One that removes itself, with and without somebody who waits for it.
        world.underlay("run", "--rm", "box", "true")
        assert until(lambda: _on_host_left(world) == (set(), False))
        world.underlay("run", "-d", "--rm", "box", "true")
        assert until(lambda: _on_host_left(world) == (set(), False) and _forwards(world) == "0")
        world.underlay("network", "create", "only")
        world.underlay("run", "--rm", "--network", "only", "box", "true")
        world.underlay("network", "rm", "only")
        assert _on_host_left(world) == (set(), False)
    finally:
        world.underlay("network", "create", "front")
        world.underlay("network", "create", "back")


def test_forwarding_stays_where_others_rely_on_it(world: World) -> None:
    world.underlay("network", "rm", "front", "back", code=None)
    try:
        world.run("--name", "last")
        world.on_host("nft", "add table ip theirs")
        world.on_host("nft", "add chain ip theirs passing { type filter hook forward priority 0; }")
        world.underlay("rm", "-f", "last")
        # The table stays, for it guards the host.
        assert _on_host_left(world) == (set(), True) and _forwards(world) == "1"
        world.on_host("nft", "delete", "table", "ip", "theirs")
        world.underlay("run", "--rm", "box", "true")
        assert until(lambda: _on_host_left(world) == (set(), False) and _forwards(world) == "0")
    finally:
        world.underlay("network", "create", "front")
        world.underlay("network", "create", "back")


def test_a_container_that_starts_during_a_reload_keeps_its_ports(world: World, tmp_path: Path) -> None:
    """It starts between the moment when the reload has read what there is, and the one when it replaces the table."""
    read, started = tmp_path / "read", tmp_path / "started"
    program = (
        "import os, sys, time\n"
        "from underlay.network.firewall import Firewall\n"
        "renew = Firewall.renew\n"
        "def late(*given):\n"
        f"    open({str(read)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(started)!r}): time.sleep(0.01)\n"
        "    renew(*given)\n"
        "Firewall.renew = late\n"
        "sys.argv[1:] = ['network', 'reload']\n"
        "from underlay.cli.main import entry\n"
        "entry()\n"
    )
    command = [*world.underlay.command[:-2], "-c", program]
    world.underlay("run", "--rm", "--network", "front", "box", "true")
    with subprocess.Popen(command, env=world.underlay.environment) as reload:
        assert until(read.exists)
        world.run("--name", "during", "--network", "back", "-p", "8200:80")
        started.touch()
        assert reload.wait(20) == 0
    world.serve("during", 80)
    world.serve("neighbour", 7060)
    assert world.ask("neighbour", HOST4, 8200) == NEIGHBOUR4
    assert world.ask("during", NEIGHBOUR4, 7060) == HOST4


def test_ports_of_a_killed_monitor_are_free_for_others(world: World) -> None:
    world.run("--name", "killed", "--network", "front", "-p", "8220:80", "-p", "8221:80/udp")
    for pid in (world.underlay.monitor("killed"), world.underlay.pid("killed")):
        os.kill(pid, signal.SIGKILL)
    # A program of the host has it after the next command; a container at once.
    world.run("--name", "next", "--network", "back", "-p", "8220:80")
    world.serve("next", 80)
    for address in (HOST4, "::1"):
        assert world.ask("" if ":" in address else "neighbour", address, 8220) not in NOTHING
    world.serve("", 8221, HOST4, udp=True)
    assert world.ask("neighbour", HOST4, 8221, udp=True) == NEIGHBOUR4
