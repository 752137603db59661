"""A container in a machine in the networks of containers without: addresses, names, ports; on a host of the test's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines import until
from machines import give_kernels
from networks import HOST4, NEIGHBOUR4, NOTHING, World, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures

SERVE = "while :; do echo served | nc -l -p 80; done"


@pytest.fixture
def machine(kernels: Path, world: World) -> list[str]:
    """The options of a machine."""
    give_kernels(world.underlay, kernels)
    if not Path("/dev/net/tun").exists():
        pytest.skip("this host has no /dev/net/tun")
    return ["--isolation", "machine"]


def sh(world: World, name: str, script: str) -> str:
    return world.underlay.out("exec", name, "sh", "-c", script, code=None)


def test_a_machine_among_containers(world: World, machine: list[str]) -> None:
    ul = world.underlay
    ul("network", "create", "--ipv6", "--subnet", "10.99.0.0/24", "--subnet", "fd00:51::/64", "both")
    words = ["--network", "front", "--network", "both", "-p", "8080:80", "--network-alias", "also"]
    name = ul.out("run", "-d", "--name", "m1", *machine, *words, "--hostname", "web", "box", "sh", "-c", SERVE)
    world.run("--name", "p1", "--network", "front")
    world.run("--name", "p2", "--network", "back")
    world.run("--name", "p3", "--network", "both")
    settings = world.inspect("m1")["Networks"]
    front, both = settings["front"], settings["both"]
    # It has the interfaces that it would have without a machine.
    shown = sh(world, "m1", "ip addr; ip route; ip -6 route; cat /etc/hosts /etc/resolv.conf; ls /sys/class/net")
    for text in (
        front["IPAddress"],
        front["MacAddress"],
        both["IPAddress"],
        both["GlobalIPv6Address"],
        both["MacAddress"],
    ):
        assert text in shown, text
    assert f"default via {front['Gateway']}" in shown or f"default via {both['Gateway']}" in shown
    assert f"{front['IPAddress']}\tweb {name[:12]}" in shown and "nameserver 127.0.0.11" in shown
    assert shown.split()[-3:] == ["eth0", "eth1", "lo"]
    # Names, both ways. Its server is one for one client at a time.
    for asker, target in (("p1", "m1"), ("p1", "also"), ("p1", name[:12]), ("p3", "m1"), ("p3", "m1.both")):
        assert until(lambda: sh(world, asker, f"nc {target} 80 < /dev/null") == "served"), (asker, target)
    world.serve("p1", 81)
    assert sh(world, "m1", "nc p1 81 < /dev/null") == front["IPAddress"]
    assert sh(world, "m1", "nc nothing-of-that-name 81 < /dev/null; echo $?") == "1"
    # Who is not in its networks does not get there, and not from there.
    assert world.ask("p2", front["IPAddress"], 80) in NOTHING
    world.serve("p2", 82)
    address = world.address("p2", "back")
    assert sh(world, "m1", f"nc -w 1 {address} 82 < /dev/null; echo $?") == "1"
    # IPv6, the way out, and the published port.
    world.serve("p3", 83)
    assert sh(world, "m1", f"nc {world.address('p3', 'both', six=True)} 83 < /dev/null") == both["GlobalIPv6Address"]
    world.serve("neighbour", 7001)
    assert sh(world, "m1", f"nc {NEIGHBOUR4} 7001 < /dev/null") == HOST4
    for where, target in (("neighbour", HOST4), ("", HOST4), ("", "127.0.0.1"), ("p1", HOST4)):
        assert until(lambda: world.ask(where, target, 8080) == "served\n"), (where, target)
    # What has changed since it runs is not in the machine: so it is refused.
    for words in (["connect", "back", "m1"], ["disconnect", "front", "m1"]):
        done = ul("network", *words, code=None)
        assert done.returncode == 1 and b"in a machine" in done.stderr, (words, done)
    found = json.loads(ul.out("inspect", "m1"))[0]["NetworkSettings"]["Networks"]
    assert set(found) == {"front", "both"}
    ul("stop", "-t", "0", "m1")
    assert world.ask("neighbour", HOST4, 8080) in NOTHING
    ul("rm", "-f", "m1", "p1", "p2", "p3")
    ul("network", "rm", "both")


def test_the_network_of_another_container(world: World, machine: list[str]) -> None:
    """It would take its addresses away from it."""
    world.run("--name", "owner", "--network", "front")
    done = world.underlay("run", "--rm", *machine, "--network", "container:owner", "box", "true", code=125)
    assert b"--network" in done.stderr and b"machine" in done.stderr
    address = world.address("owner", "front")
    assert address in sh(world, "owner", "ip addr")
    # And nobody can share that of a machine, which is in the machine.
    world.underlay("run", "-d", "--name", "in-one", *machine, "--network", "front", "box", "sleep", "600")
    done = world.underlay("run", "--rm", "--network", "container:in-one", "box", "true", code=None)
    assert done.returncode == 125 and b"in-one" in done.stderr, done
