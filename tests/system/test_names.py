"""Names of containers: who finds whom, where other questions go, and what becomes of it all when processes are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from engines import until
from networks import NEIGHBOUR4, World, lookup, nothing_left, world
from underlay.linux.network import netns

__all__ = ["nothing_left", "world"]  # fixtures

SERVER = "127.0.0.11"


def ask(world: World, who: str, name: str, kind: str = "A", tcp: bool = False, patience: float = 10.0) -> set[str]:
    """Return what the name server tells a container, as `lookup` does."""
    return world.inside(who, lambda: lookup(name, SERVER, kind, tcp, patience))


def name_servers(world: World) -> list[int]:
    """Return the processes that are name servers of this installation."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"name_service" in command and str(world.underlay.state).encode() in command:
                found.append(int(pid))
        except OSError:
            pass
    return found


def test_containers_find_each_other_by_name(world: World) -> None:
    world.run("--name", "alice", "--network", "front", "--network-alias", "al", "--hostname", "wonder.land")
    world.run("--name", "bob", "--network", "front", "--network-alias", "al")
    world.run("--name", "eve", "--network", "back")
    assert f"nameserver {SERVER}\n" in world.underlay.out("exec", "bob", "cat", "/etc/resolv.conf")
    alice, bob = (world.address(name, "front") for name in ("alice", "bob"))
    short = world.underlay.out("inspect", "-f", "{{.Id}}", "alice")[:12]
    for tcp in (False, True):
        for name in ("alice.", "ALICE.", f"{short}.", "alice.front.", "wonder.land.", "wonder.land.front."):
            assert ask(world, "bob", name, tcp=tcp) == {alice}
        for name in ("al.", "al.front."):
            assert ask(world, "bob", name, tcp=tcp) == {alice, bob}
    # An address has the name of its container, not one that it shares.
    for name, address in (("alice.", alice), ("bob.", bob)):
        backwards = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
        assert ask(world, "bob", backwards, "PTR") == {name}
    # Who is in another network gets nothing.
    assert ask(world, "eve", "alice.") == ask(world, "eve", "alice.front.") == set()
    world.underlay("rename", "alice", "carol")
    assert ask(world, "bob", "carol.") == {alice}
    world.underlay("network", "connect", "--alias", "spy", "front", "eve")
    assert ask(world, "bob", "spy.") == {world.address("eve", "front")}
    world.underlay("network", "disconnect", "front", "eve")
    assert ask(world, "bob", "spy.") == set()
    world.underlay("stop", "-t", "0", "carol")
    assert ask(world, "bob", "al.") == {bob}


def test_names_are_found_as_soon_as_a_network_is_connected(world: World) -> None:
    world.run("--name", "there", "--network", "front")
    world.run("--name", "also", "--network", "back")
    world.run("--name", "moves")
    world.underlay("exec", "moves", "sh", "-c", "echo 192.0.2.9 mine >> /etc/hosts")
    before = world.underlay.out("exec", "moves", "cat", "/etc/resolv.conf")
    for network, name in (("front", "there"), ("back", "also")):
        world.underlay("network", "connect", network, "moves")
        assert f"nameserver {SERVER}\n" in world.underlay.out("exec", "moves", "cat", "/etc/resolv.conf")
        assert world.address(name, network) in world.underlay.out("exec", "moves", "busybox", "nslookup", f"{name}.")
        hosts = world.underlay.out("exec", "moves", "cat", "/etc/hosts")
        assert f"{world.address('moves', network)}\t" in hosts and "192.0.2.9 mine" in hosts
        world.underlay("network", "disconnect", network, "moves")
    assert world.underlay.out("exec", "moves", "cat", "/etc/resolv.conf") == before
    hosts = world.underlay.out("exec", "moves", "cat", "/etc/hosts")
    assert [line.split()[0] for line in hosts.splitlines()][:2] == ["127.0.0.1", "::1"]
    assert len(hosts.splitlines()) == 4


def test_names_of_all_networks_that_a_container_is_in(world: World) -> None:
    world.run("--name", "both", "--network", "front", "--network", "back")
    world.run("--name", "near", "--network", "front")
    world.run("--name", "far", "--network", "back", "--network-alias", "distant")
    far = world.address("far", "back")
    for name, found in (("near.", world.address("near", "front")), ("far.", far), ("distant.", far)):
        assert ask(world, "both", name) == {found}
    assert ask(world, "near", "far.") == set()
    world.underlay("rename", "far", "farther")
    assert ask(world, "both", "farther.") == {far}
    world.underlay("stop", "-t", "0", "farther")
    assert ask(world, "both", "farther.") == set()
    world.underlay("start", "farther")
    assert ask(world, "both", "distant.") == {far}
    world.underlay("network", "disconnect", "back", "both")
    assert ask(world, "both", "distant.") == set()
    world.underlay("network", "connect", "back", "both")
    assert ask(world, "both", "distant.") == {far}


def test_who_shares_a_network_looks_names_up_as_its_owner_does(world: World) -> None:
    world.run("--name", "owner", "--network", "front", "--hostname", "web")
    world.run("--name", "guest", "--network", "container:owner")
    world.run("--name", "found", "--network", "back")
    world.underlay("network", "connect", "back", "owner")
    for file in ("hosts", "resolv.conf", "hostname"):
        seen = [world.underlay.out("exec", name, "cat", f"/etc/{file}") for name in ("owner", "guest")]
        assert seen[0] == seen[1] != ""
    assert world.address("found", "back") in world.underlay.out("exec", "guest", "busybox", "nslookup", "found.")


def test_other_questions_go_where_dns_says(world: World) -> None:
    """And containers are still found by name."""
    world.run("--name", "plain", "--network", "front")
    world.run("--name", "asks", "--network", "front", "--dns", NEIGHBOUR4, "--dns-search", "example")
    text = world.underlay.out("exec", "asks", "cat", "/etc/resolv.conf")
    assert text.splitlines()[:2] == [f"nameserver {SERVER}", "search example"]
    asked: list[bytes] = []

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((NEIGHBOUR4, 53))
        made.settimeout(0.5)
        return made

    with netns.inside(world.neighbour, listen) as there:
        for name, comes in (("plain", False), ("asks", True)):
            ask(world, name, "elsewhere.example.", patience=0.5)
            try:
                asked.append(there.recv(512))
            except TimeoutError:
                asked.append(b"")
            assert (b"elsewhere" in asked[-1]) == comes
    assert ask(world, "asks", "plain.") == {world.address("plain", "front")}


def test_an_internal_network_asks_nobody_for_names(world: World) -> None:
    """Attacks NW-01. One that is in another network besides may ask."""
    world.underlay("network", "create", "--internal", "quiet")
    world.run("--name", "hush", "--network", "quiet", "--dns", NEIGHBOUR4)
    world.run("--name", "edge", "--network", "quiet", "--network", "front", "--dns", NEIGHBOUR4)

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((NEIGHBOUR4, 53))
        made.settimeout(0.5)
        return made

    with netns.inside(world.neighbour, listen) as there:
        assert ask(world, "hush", "hush.") == {world.address("hush", "quiet")}
        assert ask(world, "hush", "x.canary.test.") == set()
        with pytest.raises(TimeoutError):
            there.recv(512)
        assert ask(world, "edge", "hush.") == {world.address("hush", "quiet")}
        ask(world, "edge", "y.canary.test.", patience=0.5)
        assert b"canary" in there.recv(512)
    world.underlay("rm", "-f", "hush", "edge")
    world.underlay("network", "rm", "quiet")


def test_settings_of_the_resolver(world: World, tmp_path: Path) -> None:
    """Those of this host are kept, unless others are given: each kind for itself, as docker has it."""
    text = "nameserver 192.0.2.53\nsearch corp.example\noptions edns0 timeout:1\n"
    (tmp_path / "resolv.conf").write_text(text)
    bind = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
    command = world.underlay.command
    world.underlay.command = ["unshare", "-m", "sh", "-c", bind, "sh", *command]
    try:

        def seen(*words: str) -> list[str]:
            return world.underlay.out("run", "--rm", *words, "box", "cat", "/etc/resolv.conf").splitlines()

        ours = f"nameserver {SERVER}"
        network = ("--network", "front")
        assert seen(*network) == [ours, "search corp.example", "options edns0 timeout:1 ndots:0"]
        assert seen(*network, "--dns-opt", "ndots:2", "--dns-option", "rotate") == [
            ours,
            "search corp.example",
            "options rotate ndots:2",
        ]
        assert seen(*network, "--dns-search", ".") == [ours, "options edns0 timeout:1 ndots:0"]
        assert seen() == text.splitlines()
        assert seen("--dns", "192.0.2.54", "--dns-opt", "rotate") == [
            "nameserver 192.0.2.54",
            "search corp.example",
            "options rotate",
        ]
    finally:
        world.underlay.command = command


def test_port_53_is_free_for_others(world: World) -> None:
    """A container publishes it on all addresses, and a program of the host takes it on the wildcard address."""
    world.run("--name", "plain", "--network", "front")
    assert ask(world, "plain", "plain.") == {world.address("plain", "front")}
    world.run("--name", "hole", "--network", "front", "-p", "53:53/udp", "-p", "53:53/tcp")
    world.serve("hole", 53, udp=True)
    world.serve("hole", 53)
    for udp in (False, True):
        assert world.ask("neighbour", "192.0.2.1", 53, udp) == NEIGHBOUR4
    for who in ("plain", "hole"):
        assert ask(world, who, "plain.") == {world.address("plain", "front")}
    world.underlay("rm", "-f", "hole")
    world.serve("", 53, udp=True)  # as a dnsmasq of the host
    world.serve("", 53)
    world.run("--name", "after", "--network", "back")
    assert ask(world, "after", "after.") == {world.address("after", "back")}


def test_one_name_server_for_all_networks_and_none_before_a_question(world: World) -> None:
    assert until(lambda: name_servers(world) == [], 20)
    for number in range(3):
        world.underlay("network", "create", f"of{number}")
        world.run("--name", f"n{number}", "--network", f"of{number}")
    try:
        assert name_servers(world) == []
        for number in range(3):
            assert ask(world, f"n{number}", f"n{number}.") == {world.address(f"n{number}", f"of{number}")}
        (pid,) = name_servers(world)
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 2
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
        assert os.getsid(pid) not in (os.getsid(0),)
    finally:
        world.underlay("rm", "-f", "n0", "n1", "n2")
        world.underlay("network", "rm", "of0", "of1", "of2")
    assert until(lambda: name_servers(world) == [], 20)


def test_the_next_question_replaces_a_name_server_that_was_killed(world: World) -> None:
    world.run("--name", "left", "--network", "front")
    world.run("--name", "right", "--network", "front")
    left, right = (world.address(name, "front") for name in ("left", "right"))
    assert ask(world, "left", "right.") == {right}
    for who in ("left", "right", "left"):
        for pid in name_servers(world):
            os.kill(pid, signal.SIGKILL)
        assert ask(world, who, "left.") == {left}
        assert ask(world, "right" if who == "left" else "left", "right.", tcp=True) == {right}
        assert len(name_servers(world)) == 1


def test_a_build_finds_names_too_and_its_server_may_be_killed(world: World, tmp_path: Path) -> None:
    world.run("--name", "db", "--network", "front")
    address = world.address("db", "front")
    (tmp_path / "Dockerfile").write_text(
        "FROM box\nRUN busybox nslookup db. > /one\n"
        "RUN --mount=type=bind,target=/context sleep 0.1; busybox nslookup db. > /two\n"
    )
    world.underlay("build", "--network", "front", "-t", "named", str(tmp_path))
    for file in ("/one", "/two"):
        assert address in world.underlay.out("run", "--rm", "--network", "none", "named", "cat", file)


def test_freed_addresses_rest(world: World) -> None:
    """What remembers an address must not find another container there; where there is no other, the oldest is taken."""
    world.underlay("network", "create", "--subnet", "10.77.0.0/29", "small")
    try:
        seen = []
        for _ in range(8):
            world.run("--name", "short", "--network", "small")
            seen.append(world.address("short", "small"))
            world.underlay("rm", "-f", "short")
        assert len(set(seen[:5])) == 5
        assert seen[5:] == seen[:3]
    finally:
        world.underlay("network", "rm", "small")


def test_a_host_without_the_library_says_so(world: World, tmp_path: Path) -> None:
    """Containers then ask the host's servers."""
    code = (
        "import sys; sys.path = [p for p in sys.path if not p.endswith('-packages')]; "
        f"sys.path.insert(0, {str(Path(__file__).parents[2] / 'src')!r}); "
        "from underlay.cli.main import entry; entry()"
    )
    place = world.underlay
    words = ["--root", str(place.root), "--state", str(place.state), "run", "--rm", "--network", "front"]
    done = subprocess.run(
        [
            *place.command[:2],
            "/usr/bin/python3",
            "-S",
            "-c",
            code,
            *words,
            "--dns",
            NEIGHBOUR4,
            "box",
            "cat",
            "/etc/resolv.conf",
        ],
        capture_output=True,
        text=True,
        env=place.environment,
    )
    assert (
        "containers do not find each other by name: names of containers need the Python package dnspython"
        in done.stderr
    )
    assert f"nameserver {NEIGHBOUR4}" in done.stdout.splitlines()
