"""Published ports that the kernel cannot redirect: by ::1, and from IPv6 to a container that has IPv4 alone."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from engines import until
from networks import HOST6, NEIGHBOUR4, NOTHING, World, nothing_left, world
from underlay.linux.network import netns

__all__ = ["nothing_left", "world"]  # fixtures


def relays(world: World) -> list[int]:
    """Return the processes that relay ports of this host."""
    found = []
    host = os.stat(world.place / "host").st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if (
                Path(f"/proc/{pid}/comm").read_text() == "underlay-relay\n"
                and os.stat(f"/proc/{pid}/ns/net").st_ino == host
            ):
                found.append(int(pid))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_ports_are_reached_by_ipv6_at_a_container_with_ipv4(world: World, udp: bool) -> None:
    protocol = "udp" if udp else "tcp"
    world.run("--name", "four", "--network", "front", "-p", f"8140:80/{protocol}", "-p", f"[::1]:8141:80/{protocol}")
    world.run("--name", "here", "--network", "front", "-p", f"127.0.0.1:8142:80/{protocol}")
    for name in ("four", "here"):
        world.serve(name, 80, udp=udp)
    gateway = world.inspect("four")["Networks"]["front"]["Gateway"]
    assert relays(world) == []
    for _ in range(2):
        assert world.ask("", "::1", 8140, udp) == gateway
        assert world.ask("neighbour", HOST6, 8140, udp) == gateway
        assert world.ask("", "::1", 8141, udp) == gateway
        assert world.ask("neighbour", HOST6, 8141, udp) in NOTHING
        assert world.ask("", "::1", 8142, udp) in NOTHING
        assert world.ask("neighbour", "192.0.2.1", 8140, udp) == NEIGHBOUR4
        # One that was killed is replaced by the next that asks.
        (pid,) = relays(world)
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: relays(world) == [])
    shown = world.underlay.out("port", "four").splitlines()
    assert shown == [f"80/{protocol} -> {address}" for address in ("0.0.0.0:8140", "[::1]:8141", "[::]:8140")]
    world.underlay("rm", "-f", "four")
    assert world.ask("", "::1", 8140, udp) in NOTHING
    assert until(lambda: relays(world) == [])


def test_a_container_with_ipv6_is_reached_by_loopback(world: World) -> None:
    world.underlay("network", "create", "--ipv6", "six")
    world.run("--name", "both", "--network", "six", "-p", "8145:80", "-p", "[::1]:8146:80")
    world.serve("both", 80)
    gateways = {
        pool["Gateway"] for pool in json.loads(world.underlay.out("network", "inspect", "six"))[0]["IPAM"]["Config"]
    }
    for port in (8145, 8146):
        assert world.ask("", "::1", port) in gateways
    assert world.ask("neighbour", HOST6, 8145) == "2001:db8::2"  # by the kernel, which keeps who asks
    world.underlay("rm", "-f", "both")
    world.underlay("network", "rm", "six")


def test_relays_follow_a_container_to_another_network(world: World) -> None:
    world.run("--name", "moves", "--network", "front", "--network", "back", "-p", "8150:80")
    world.serve("moves", 80)
    assert world.ask("", "::1", 8150) == world.inspect("moves")["Networks"]["front"]["Gateway"]
    world.underlay("network", "disconnect", "front", "moves")
    assert world.ask("", "::1", 8150) == world.inspect("moves")["Networks"]["back"]["Gateway"]
    world.underlay("network", "disconnect", "back", "moves")
    assert world.ask("", "::1", 8150) in (*NOTHING, "ConnectionResetError")
    world.underlay("network", "connect", "back", "moves")
    assert world.ask("", "::1", 8150) == world.inspect("moves")["Networks"]["back"]["Gateway"]


def test_much_goes_both_ways_and_ends_are_passed_on(world: World) -> None:
    world.run("--name", "echo", "--network", "front", "-p", "8155:81")
    listener = world.inside("echo", lambda: socket.create_server(("0.0.0.0", 81)))
    client = netns.inside(world.host, lambda: socket.create_connection(("::1", 8155), timeout=10))
    with listener, client:
        listener.settimeout(10)
        served, _ = listener.accept()
        with served:
            served.settimeout(10)
            sent = os.urandom(1 << 20)
            client.sendall(sent[:1000])
            client.shutdown(socket.SHUT_WR)
            assert served.makefile("rb").read() == sent[:1000]
            served.sendall(sent)
            served.close()
            assert client.makefile("rb").read() == sent


def test_a_port_that_a_program_has_for_ipv6_cannot_be_published(world: World) -> None:
    taken = netns.inside(world.host, lambda: socket.create_server(("::", 8160), family=socket.AF_INET6))
    with taken:
        done = world.underlay("run", "--rm", "--network", "front", "-p", "8160:80", "box", "true", code=125)
    assert b"listen tcp [::]:8160: bind: address already in use" in done.stderr
    world.underlay("run", "--rm", "--network", "front", "-p", "8160:80", "box", "true")
