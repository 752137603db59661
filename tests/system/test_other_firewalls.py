"""Networks beside the firewalls of other programs: a real docker daemon, tables that drop; on a host of the test's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import dockerdaemon
from engines import until
from networks import HOST4, NEIGHBOUR4, NOTHING, World, lookup, nothing_left, world
from underlay import Engine
from underlay.linux.network import netns
from underlay.network import beside

__all__ = ["nothing_left", "world"]  # fixtures


@contextmanager
def docker(world: World) -> Iterator[None]:
    """A docker daemon on the host: it drops what is forwarded and not its own."""
    if not shutil.which("iptables-nft"):
        pytest.skip("no iptables")
    place = Path(tempfile.mkdtemp(prefix="dk"))
    try:
        world.on_host("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
        with dockerdaemon.running(place, inside=world.place / "host"):
            # It does this itself where it was the one to switch forwarding on, which our monitors may have done before.
            world.on_host("iptables-nft", "-P", "FORWARD", "DROP")
            assert "-P FORWARD DROP" in world.on_host("iptables-nft", "-S", "FORWARD")
            yield
    finally:
        shutil.rmtree(place, ignore_errors=True)
        world.on_host("nft", "delete", "table", "ip", "filter")
        world.on_host("nft", "delete", "table", "ip", "nat")
        world.on_host("ip", "link", "delete", "docker0")


def mended(world: World) -> bool:
    """Tell whether no process is mending rules any more."""
    lock = world.underlay.state / "networks" / "mending.lock"
    return subprocess.run(["flock", "-n", str(lock), "true"]).returncode == 0


@contextmanager
def nobody_mends(world: World) -> Iterator[None]:
    """Stop the monitors meanwhile: what changes is in their sockets when they go on."""
    monitors = [world.underlay.monitor(name) for name in world.underlay.out("ps", "--format", "{{.Names}}").split()]
    try:
        for monitor in monitors:
            os.kill(monitor, signal.SIGSTOP)
        assert until(lambda: mended(world))
        yield
    finally:
        for monitor in monitors:
            os.kill(monitor, signal.SIGCONT)


def rules(world: World) -> str:
    return world.on_host("iptables-nft", "-S", "DOCKER-USER")


def check_all_ways(world: World) -> None:
    """Two containers reach each other and the neighbour, and the neighbour reaches a published port."""
    assert world.ask("d1", NEIGHBOUR4, 7001) == HOST4
    assert world.ask("d2", world.address("d1", "front"), 80) == world.address("d2", "front")
    assert world.ask("neighbour", HOST4, 8090) == NEIGHBOUR4


def test_docker_came_first_or_later_or_again(world: World) -> None:
    with docker(world):
        done = world.underlay("run", "-d", "--name", "d1", "--network", "front", "-p", "8090:80", "box", "sleep", "600")
        assert done.stderr == b""
        world.run("--name", "d2", "--network", "front")
        world.serve("neighbour", 7001)
        world.serve("d1", 80)
        check_all_ways(world)
        # Its own tools can still read the chain, and its containers are still its affair.
        bridge = world.bridge("front")
        assert f"-A DOCKER-USER -i {bridge} -j ACCEPT" in rules(world)
        assert rules(world).index(f"-i {bridge} -o docker+ -j RETURN") < rules(world).index(f"-i {bridge} -j ACCEPT")
    with docker(world):
        # It has come to containers that run already: their monitors notice.
        assert until(lambda: world.ask("d1", NEIGHBOUR4, 7001) == HOST4)
        check_all_ways(world)
        with nobody_mends(world):
            world.on_host("iptables-nft", "-F", "DOCKER-USER")
            assert world.ask("d1", NEIGHBOUR4, 7001) in NOTHING
        assert until(lambda: world.ask("d1", NEIGHBOUR4, 7001) == HOST4)
        world.on_host("iptables-nft", "-F", "DOCKER-USER")
        world.underlay("network", "reload")
        check_all_ways(world)
        world.on_host("iptables-nft", "-F", "DOCKER-USER")
        world.underlay("run", "--rm", "--network", "front", "box", "true")
        check_all_ways(world)
        assert len(rules(world).splitlines()) == 5
        world.underlay("network", "create", "passing")
        world.underlay("run", "--rm", "--network", "passing", "box", "true")
        assert world.bridge("passing") in rules(world)
        bridge = world.bridge("passing")
        world.underlay("network", "rm", "passing")
        assert bridge not in rules(world)
        world.underlay("rm", "-f", "d1", "d2")


def test_dockers_chain_while_others_change_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules are there once, however many monitors add them; none for a network that is removed meanwhile."""
    world.on_host("nft", "add table ip filter; add chain ip filter DOCKER-USER")

    def chain() -> str:
        return world.on_host("nft", "list chain ip filter DOCKER-USER")

    def admit(_: int) -> None:
        netns.inside(world.host, lambda: beside.admit("ul-many"))

    try:
        for _ in range(5):
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(admit, range(8)))
            assert chain().count('"ul-many"') == 4, chain()
            world.on_host("nft", "flush chain ip filter DOCKER-USER")
        world.underlay("network", "create", "vanishing")
        world.underlay("run", "--rm", "--network", "vanishing", "box", "true")
        bridge = world.bridge("vanishing")
        assert bridge in chain()
        genuine = beside.admit

        def late(name: str) -> None:
            if name == bridge:
                world.underlay("network", "rm", "vanishing")
            genuine(name)

        monkeypatch.setattr(beside, "admit", late)
        with Engine(str(world.underlay.root), str(world.underlay.state)) as engine:
            netns.inside(world.host, engine.networks.mend)
        assert bridge not in chain()
    finally:
        world.on_host("nft", "delete table ip filter")


SERVER = "127.0.0.11"  # where containers ask for names

DROPPING = {
    "policy": ["add chain inet wall passing {{ type filter hook forward priority 0; policy drop; }}"],
    "last rule": [
        "add chain inet wall passing {{ type filter hook forward priority 0; }}",
        "add rule inet wall passing ct state established accept",
        "add rule inet wall passing counter reject with icmpx admin-prohibited",
    ],
    "another chain": [
        "add chain inet wall zones",
        "add rule inet wall zones counter drop",
        "add chain inet wall passing {{ type filter hook forward priority 0; }}",
        "add rule inet wall passing jump zones",
    ],
}


@pytest.mark.parametrize("kind", DROPPING)
def test_a_table_that_drops_what_is_forwarded(world: World, kind: str) -> None:
    """It is told of, with a remedy that works."""
    name, port = kind.replace(" ", ""), 7010 + list(DROPPING).index(kind)
    world.on_host("nft", "add", "table", "inet", "wall")
    try:
        for line in DROPPING[kind]:
            world.on_host("nft", line.format())
        created = world.underlay("network", "create", name)
        started = world.underlay("run", "-d", "--name", "w1", "--network", name, "box", "sleep", "600")
        expected = f"chain passing of table inet wall drops traffic of containers of {world.bridge(name)}"
        world.serve("neighbour", port)
        assert world.ask("w1", NEIGHBOUR4, port) in NOTHING
        for done in (created, started, world.underlay("network", "reload"), world.underlay("info")):
            assert expected in (done.stderr + done.stdout).decode(), done.args
        remedy = started.stderr.decode().partition("hint: ")[2].strip()
        world.on_host("sh", "-c", remedy)
        assert world.ask("w1", NEIGHBOUR4, port) == HOST4
        assert world.bridge(name).encode() not in world.underlay("network", "reload").stderr
    finally:
        world.on_host("nft", "delete", "table", "inet", "wall")
        world.underlay("rm", "-f", "w1")
        world.underlay("network", "rm", name)


def test_a_table_that_drops_what_comes_for_the_host(world: World) -> None:
    """Names need nothing of it."""
    world.on_host("nft", "add", "table", "inet", "wall")
    try:
        world.on_host("nft", "add chain inet wall in { type filter hook input priority 0; policy drop; }")
        world.underlay("network", "create", "asking")
        done = world.underlay("run", "-d", "--name", "n1", "--network", "asking", "box", "sleep", "600")
        assert done.stderr == b""
        assert world.inside("n1", lambda: lookup("n1", SERVER)) == {world.address("n1", "asking")}
    finally:
        world.on_host("nft", "delete", "table", "inet", "wall")
        world.underlay("rm", "-f", "n1")
        world.underlay("network", "rm", "asking")


@pytest.mark.parametrize("how", ["flush ruleset", "flush table inet {}", "delete table inet {}"])
def test_monitors_notice_that_the_table_was_changed(world: World, how: str) -> None:
    """Nothing of ours is run meanwhile."""
    world.run("--name", "e1", "--network", "front", "-p", "8091:80")
    world.run("--name", "e2", "--network", "back")
    world.serve("e1", 80)
    world.serve("neighbour", 7005)
    table = world.table
    for _ in range(2):
        world.on_host("nft", *how.format(table).split())
        assert until(lambda: world.ask("neighbour", HOST4, 8091) == NEIGHBOUR4)
        assert world.ask("e2", world.address("e1", "front"), 80) in NOTHING
    # Whoever mends ends, and what containers that start do wakes nobody.
    assert until(lambda: mended(world))


def test_tables_that_let_the_bridges_pass_are_no_obstacles(world: World) -> None:
    world.on_host("nft", "add", "table", "inet", "wall")
    try:
        for line in (
            "add set inet wall trusted { type ifname; elements = { eth7 }; }",
            "add chain inet wall passing { type filter hook forward priority 0; policy drop; }",
            "add rule inet wall passing iifname @trusted accept",
            "add rule inet wall passing oifname @trusted accept",
            "add chain inet wall out { type filter hook output priority 0; policy drop; }",
        ):
            world.on_host("nft", line)
        assert b"chain passing" in world.underlay("network", "create", "trusting").stderr
        world.on_host("nft", f"add element inet wall trusted {{ {world.bridge('trusting')} }}")
        world.serve("neighbour", 7004)
        done = world.underlay("run", "-d", "--name", "t1", "--network", "trusting", "box", "sleep", "600")
        assert done.stderr == b"" and world.ask("t1", NEIGHBOUR4, 7004) == HOST4
    finally:
        world.on_host("nft", "delete", "table", "inet", "wall")
        world.underlay("rm", "-f", "t1")
        world.underlay("network", "rm", "trusting")


def test_tables_of_iptables_legacy(world: World) -> None:
    """nf_tables knows nothing of them."""
    if not shutil.which("iptables-legacy") or not Path("/proc/net/ip_tables_names").exists():
        pytest.skip("no iptables-legacy")
    legacy = ("iptables-legacy", "ip6tables-legacy")
    world.serve("neighbour", 7025)
    try:
        for command in legacy:
            world.on_host(command, "-P", "FORWARD", "DROP")
        world.underlay("network", "create", "--ipv6", "old")
        done = world.underlay("run", "-d", "--name", "l1", "--network", "old", "box", "sleep", "600")
        lines = done.stderr.decode().splitlines()
        bridge = world.bridge("old")
        for family in ("ip", "ip6"):
            text = (
                f"chain FORWARD of table {family} filter (of iptables-legacy) drops traffic of containers of {bridge}"
            )
            assert f"underlay: {text}" in lines
        assert world.ask("l1", NEIGHBOUR4, 7025) in NOTHING
        for hint in [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]:
            world.on_host("sh", "-c", hint)
        assert world.ask("l1", NEIGHBOUR4, 7025) == HOST4
        assert bridge.encode() not in world.underlay("network", "reload").stderr
    finally:
        for command in legacy:
            world.on_host(command, "-P", "FORWARD", "ACCEPT")
            world.on_host(command, "-F", "FORWARD")
        world.underlay("rm", "-f", "l1")
        world.underlay("network", "rm", "old")


def test_ufw(world: World, tmp_path: Path) -> None:
    """The real one, with a configuration of its own: what it needs to be told is in the hints."""
    if not shutil.which("ufw", path="/usr/sbin:/usr/bin"):
        pytest.skip("no ufw")
    binds = ""
    for directory in ("/etc/ufw", "/etc/default"):
        shutil.copytree(directory, tmp_path / directory[1:], dirs_exist_ok=True)
        binds += f"mount --bind {tmp_path}{directory} {directory}; "

    def ufw(words: str) -> str:
        return world.on_host("unshare", "-m", "sh", "-c", f"{binds} exec sh -c '{words}'")

    try:
        ufw("ufw --force enable")
        world.underlay("network", "create", "walled")
        done = world.underlay("run", "-d", "--name", "u1", "--network", "walled", "box", "sleep", "600")
        world.serve("neighbour", 7020)
        assert world.ask("u1", NEIGHBOUR4, 7020) in NOTHING
        hints = [line.partition(": ")[2] for line in done.stderr.decode().splitlines() if line.startswith("hint: ")]
        assert len(hints) >= 1 and all(hint.startswith("ufw ") for hint in hints)
        for hint in hints:
            ufw(hint)
        assert world.ask("u1", NEIGHBOUR4, 7020) == HOST4
        assert world.inside("u1", lambda: lookup("u1", SERVER)) == {world.address("u1", "walled")}
        ufw("ufw reload")
        assert world.bridge("walled").encode() not in world.underlay("network", "reload").stderr
        assert world.ask("u1", NEIGHBOUR4, 7020) == HOST4
    finally:
        ufw("ufw --force disable")
        for family in ("ip", "ip6"):
            world.on_host("nft", "delete", "table", family, "filter")
        world.underlay("rm", "-f", "u1")
        world.underlay("network", "rm", "walled")


@contextmanager
def firewalld(world: World, place: Path) -> Iterator[Callable[[str], None]]:
    """The real firewalld, with a configuration and a message bus of its own; yields what runs a command of its client."""
    if not shutil.which("firewalld") or not shutil.which("dbus-daemon"):
        pytest.skip("no firewalld or no dbus-daemon")
    shutil.copytree("/etc/firewalld", place / "etc")
    allowed = '<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/>'
    (place / "bus.conf").write_text(
        f"<busconfig><type>system</type><listen>unix:path={place}/bus</listen><auth>EXTERNAL</auth>"
        f'<policy context="default">{allowed}</policy></busconfig>'
    )
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={place}/bus"}
    inside = ["nsenter", f"--net={world.place / 'host'}"]
    daemon = [*inside, "firewalld", "--nofork", "--nopid", "--system-config", str(place / "etc")]
    with open(place / "log", "wb") as log:
        bus = subprocess.Popen(["dbus-daemon", f"--config-file={place}/bus.conf", "--nofork"], stdout=log, stderr=log)
        assert until(lambda: (place / "bus").exists())
        wall = subprocess.Popen(
            [*daemon, "--log-file", str(place / "fwd.log")], env=environment, stdout=log, stderr=log
        )

    def client(words: str) -> None:
        subprocess.run(["sh", "-c", words], env=environment, check=True, capture_output=True)

    def runs() -> bool:
        return not subprocess.run(["firewall-cmd", "--state"], env=environment, capture_output=True).returncode

    try:
        if not until(runs):
            pytest.skip(f"firewalld does not start here: {(place / 'log').read_text(errors='replace')[-300:]}")
        yield client
    finally:
        for process in (wall, bus):
            process.terminate()
            process.wait(30)
        world.on_host("sh", "-c", "nft delete table inet firewalld; true")


def test_firewalld_after_the_network(world: World, tmp_path: Path) -> None:
    world.underlay("network", "create", "zoned")
    assert world.underlay("run", "--rm", "--network", "zoned", "box", "true").stderr == b""
    with firewalld(world, tmp_path) as client:
        done = world.underlay("run", "-d", "--name", "z1", "--network", "zoned", "box", "sleep", "600")
        world.serve("neighbour", 7021)
        assert world.ask("z1", NEIGHBOUR4, 7021) in NOTHING
        (hint,) = {line.partition(": ")[2] for line in done.stderr.decode().splitlines() if line.startswith("hint: ")}
        # Said once, for each time that it sets up its chains.
        assert world.underlay("run", "--rm", "--network", "zoned", "box", "true").stderr == b""
        client(hint)
        assert world.ask("z1", NEIGHBOUR4, 7021) == HOST4
        server = world.underlay.out("exec", "z1", "cat", "/etc/resolv.conf").split()[1]
        assert world.inside("z1", lambda: lookup("z1", server)) == {world.address("z1", "zoned")}
        assert world.bridge("zoned").encode() not in world.underlay("network", "reload").stderr
    world.underlay("rm", "-f", "z1")
    world.underlay("network", "rm", "zoned")


@pytest.mark.parametrize("by", ["start", "reload"])
def test_forwarding_that_was_switched_off(world: World, by: str) -> None:
    world.run("--name", "f1", "--network", "front")
    port = 7005 if by == "start" else 7006
    world.serve("neighbour", port)
    world.on_host("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
    assert world.ask("f1", NEIGHBOUR4, port) in NOTHING
    words = ("run", "--rm", "--network", "front", "box", "true") if by == "start" else ("network", "reload")
    done = world.underlay(*words)
    assert b"the host had stopped forwarding packets" in done.stderr
    assert world.ask("f1", NEIGHBOUR4, port) == HOST4
    assert world.underlay(*words).stderr == b""
