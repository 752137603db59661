"""Networks over time: other installations, restarts, crashes, reboots, user namespaces, builds, and ports that are held."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engines import Installation, image_tar, until
from networks import HOST4, HOST6, NEIGHBOUR4, NEIGHBOUR6, NOTHING, World, answering, asked, nothing_left, world
from underlay.linux.network import links, netns
from underlay.linux.network.netlink import Netlink

__all__ = ["nothing_left", "world"]  # fixtures
Result = TypeVar("Result")


@pytest.fixture
def second(world: World, tmp_path: Path) -> Any:
    """Another installation on the same host."""
    made = Installation(tmp_path)
    made.command = [*world.underlay.command]
    made.environment = {
        **world.underlay.environment,
        "UNDERLAY_ROOT": str(made.root),
        "UNDERLAY_STATE": str(made.state),
    }
    archive = tmp_path / "box.tar"
    archive.write_bytes(image_tar())
    made("import", str(archive), "box")
    made("network", "create", "other")
    yield made
    made.clean()
    made("network", "prune", "-f")


def test_installations_beside_each_other_leave_each_other_alone(world: World, second: Installation) -> None:
    world.run("--name", "first", "--network", "front", "-p", "8101:80")
    second("run", "-d", "--name", "second", "--network", "other", "-p", "8102:80", "box", "sleep", "600")
    assert second.out("network", "rules").split()[2] != world.table
    world.serve("first", 80)
    pid = second.pid("second")
    with _served(pid, 80):
        for ask in (("network", "reload"), ("network", "prune", "-f")):
            second(*ask)
            world.underlay("network", "reload")
            assert world.ask("neighbour", HOST4, 8101) == NEIGHBOUR4
            assert world.ask("neighbour", HOST4, 8102) == NEIGHBOUR4
        # Each has its own way out, whichever of them found the host not forwarding; and none into the other's.
        world.serve("neighbour", 7101)
        assert _inside(pid, lambda: asked(NEIGHBOUR4, 7101)) == HOST4
        assert _inside(pid, lambda: asked(world.address("first", "front"), 80)) in NOTHING
    taken = second("run", "--rm", "--network", "other", "-p", "8101:80", "box", "true", code=125).stderr
    assert b"address already in use" in taken


def _inside(pid: int, work: Callable[[], Result]) -> Result:
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        return netns.inside(namespace, work)
    finally:
        os.close(namespace)


class _served:
    """A server in the network namespace of a process."""

    def __init__(self, pid: int, port: int) -> None:
        self._server = _inside(pid, lambda: answering(port))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def test_the_host_does_not_become_a_router(world: World, tmp_path: Path) -> None:
    """Forwarding was off: it is on for containers only, also after somebody has flushed the rules."""
    beyond = netns.make(str(tmp_path / "beyond"))
    try:
        with netns.inside(world.host, Netlink) as here, netns.inside(beyond, Netlink) as there:
            here.call(links.create_veth("far0", 0, "eth0", beyond))
            there.call(links.change(1, up=True))
            for connection, name, address in ((here, "far0", "198.51.100.1"), (there, "eth0", "198.51.100.2")):
                made = links.find(connection, name)
                assert made is not None
                wire = socket.inet_aton(address)
                connection.call(links.change(made.index, up=True), links.add_address(made.index, wire, 24))
                if connection is there:
                    connection.call(links.add_route(made.index, socket.inet_aton("198.51.100.1")))
        world.run("--name", "r1", "--network", "front", "-p", "8103:80")
        world.serve("r1", 80)
        world.near("ip", "route", "replace", "198.51.100.0/24", "via", HOST4)
        server = netns.inside(beyond, lambda: _listening(7102))
        try:
            for _ in range(2):
                assert world.ask("r1", "198.51.100.2", 7102) == "connected"
                assert world.ask("neighbour", "198.51.100.2", 7102) in NOTHING
                world.on_host("nft", "flush", "ruleset")
                world.underlay("network", "reload")
                assert world.ask("neighbour", HOST4, 8103) == NEIGHBOUR4
        finally:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
    finally:
        world.near("ip", "route", "del", "198.51.100.0/24")
        netns.release(str(tmp_path / "beyond"))
        os.close(beyond)
        assert until(lambda: "far0" not in world.links())


def _listening(port: int) -> socket.socket:
    """Return a server that takes connections and says nothing but a word."""
    import threading

    made = socket.socket()
    made.bind(("", port))
    made.listen(8)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = made.accept()
                client.sendall(b"connected")
                client.close()

    threading.Thread(target=serve, daemon=True).start()
    return made


def test_a_published_port_is_held(world: World) -> None:
    """No program of the host can take it: what comes for it would go past that program."""
    world.run("--name", "held", "--network", "front", "-p", "8104:80", "-p", "8104:80/udp", "-p", "127.0.0.1:8105:80")

    def free(address: str, port: int, kind: int) -> bool:
        def take() -> bool:
            with socket.socket(socket.AF_INET, kind) as made:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    made.bind((address, port))
                except OSError:
                    return False
                return True

        return netns.inside(world.host, take)

    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert not free("0.0.0.0", 8104, kind)
    assert not free("127.0.0.1", 8105, socket.SOCK_STREAM)
    monitor = world.underlay.monitor("held")
    assert until(lambda: "resume" in Path(f"/proc/{monitor}/cmdline").read_text())  # it has executed itself anew
    assert not free("0.0.0.0", 8104, socket.SOCK_STREAM)
    world.serve("held", 80)
    assert world.ask("neighbour", HOST4, 8104) == NEIGHBOUR4
    world.underlay("stop", "-t", "0", "held")
    assert all(free("0.0.0.0", 8104, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
    world.underlay("start", "held")
    os.kill(world.underlay.monitor("held"), signal.SIGKILL)
    assert until(lambda: free("0.0.0.0", 8104, socket.SOCK_STREAM))


def test_of_several_that_want_a_port_at_once_one_has_it(world: World) -> None:
    """The others are told so at once, and not when that one has ended."""

    def start(number: int) -> str:
        words = ("run", "-d", "--name", f"many{number}", "--network", "front", "-p", "8110:80", "box", "sleep", "600")
        return world.underlay(*words, code=None, timeout=30).stderr.decode()

    with ThreadPoolExecutor(6) as pool:
        said = sorted(pool.map(start, range(6)))
    assert said[0] == "" and len([each for each in said if each == ""]) == 1
    assert all("already allocated" in each or "already in use" in each for each in said[1:])
    running = world.underlay.out("ps", "--format", "{{.Names}}").split()
    world.serve(running[0], 80)
    assert len(running) == 1 and world.ask("neighbour", HOST4, 8110) == NEIGHBOUR4


def test_one_port_wanted_twice(world: World) -> None:
    """By one container, and by two that start at once: nobody waits for what does not come."""
    words = ("run", "--rm", "--network", "front", "-p", "8106:80", "-p", "8106:81", "box", "true")
    assert b"port is already allocated" in world.underlay(*words, code=125).stderr
    for name in ("one", "other"):
        world.underlay("create", "--name", name, "--network", "front", "-p", "8106:80", "box", "sleep", "600")
    started = [
        subprocess.Popen(
            [*world.underlay.command, "start", name], env=world.underlay.environment, stderr=subprocess.PIPE
        )
        for name in ("one", "other")
    ]
    try:
        said = [each.communicate(timeout=30)[1] for each in started]
    finally:
        for each in started:
            each.kill()
    assert sorted(each.returncode for each in started) == [0, 1]
    assert b"port is already allocated" in b"".join(said)


def test_published_ports_follow_to_the_network_that_is_left(world: World) -> None:
    world.run("--name", "mover", "--network", "front", "-p", "8107:80")
    world.underlay("network", "connect", "back", "mover")
    address = world.address("mover", "front")
    world.underlay("network", "disconnect", "front", "mover")
    # Its address may be another's now, whom nobody has published.
    world.run("--name", "heir", "--network", "front", "--ip", address)
    world.serve("heir", 80)
    assert world.ask("neighbour", HOST4, 8107) in NOTHING
    world.serve("mover", 80)
    assert world.ask("neighbour", HOST4, 8107) == NEIGHBOUR4
    world.underlay("network", "disconnect", "back", "mover")
    assert world.ask("neighbour", HOST4, 8107) in NOTHING


def test_published_ports_come_back_with_a_network(world: World) -> None:
    world.run("--name", "back1", "--network", "front", "-p", "8107:80")
    world.underlay("network", "disconnect", "front", "back1")
    world.underlay("network", "connect", "front", "back1")
    world.serve("back1", 80)
    assert world.ask("neighbour", HOST4, 8107) == NEIGHBOUR4


def test_published_ports_are_reached_in_a_network_of_ipv6_that_comes_later(world: World) -> None:
    world.underlay("network", "create", "--ipv6", "late")
    world.run("--name", "wide", "--network", "front", "-p", "8107:80")
    world.underlay("network", "connect", "late", "wide")
    assert world.underlay.out("port", "wide").splitlines() == ["80/tcp -> 0.0.0.0:8107", "80/tcp -> [::]:8107"]
    world.serve("wide", 80)
    assert world.ask("neighbour", HOST4, 8107) == NEIGHBOUR4
    assert world.ask("neighbour", HOST6, 8107) == NEIGHBOUR6
    assert world.underlay.out("network", "rules").count(". 8107") == 2
    world.unserve()
    world.underlay("stop", "-t", "0", "wide")
    assert until(lambda: ". 8107" not in world.underlay.out("network", "rules"))
    world.underlay("rm", "wide")
    world.underlay("network", "rm", "late")


def test_ports_lead_past_an_internal_network(world: World) -> None:
    world.underlay("network", "create", "--internal", "inner")
    try:
        world.run("--name", "both", "--network", "inner", "--network", "front", "-p", "8108:80")
        world.serve("both", 80)
        assert world.ask("neighbour", HOST4, 8108) == NEIGHBOUR4
        world.underlay("network", "reload")
        assert world.ask("neighbour", HOST4, 8108) == NEIGHBOUR4
        world.underlay("rm", "-f", "both")
    finally:
        world.underlay("network", "rm", "inner")


def test_more_ports_are_held_than_a_process_may_have_files(world: World) -> None:
    command = ["prlimit", "--nofile=256:", *world.underlay.command]
    words = [
        "run",
        "--rm",
        "--network",
        "front",
        "-p",
        "21000-21399:80-479",
        "box",
        "sh",
        "-c",
        "ulimit -n",
    ]
    done = subprocess.run([*command, *words], env=world.underlay.environment, capture_output=True, check=True)
    assert done.stdout.split() == [b"256"]  # the container has what it had


def test_flows_of_udp_find_the_container_that_came_after_them(world: World) -> None:
    """The kernel remembers where packets of a flow went before there was a container, or to one that is gone."""
    client = netns.inside(world.neighbour, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client:
        client.bind(("", 7003))
        client.settimeout(1)
        client.sendto(b"?", (HOST4, 8106))
        with pytest.raises(OSError):
            client.recv(100)
        addresses = set()
        for name in ("u1", "u2"):
            world.run("--name", name, "--network", "front", "-p", "8106:80/udp")
            world.serve(name, 80, udp=True)
            client.sendto(b"?", (HOST4, 8106))
            assert client.recv(100) == NEIGHBOUR4.encode()
            world.unserve()
            addresses.add(world.address(name, "front"))
            world.underlay("kill", name)
        assert len(addresses) == 2


def test_a_network_of_macvlan_is_on_the_link_of_its_parent(world: World) -> None:
    try:
        world.on_host("ip", "link", "add", "mv0", "link", "eth0", "type", "macvlan")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel has no macvlan: {error.stderr.strip()}")
    world.on_host("ip", "link", "del", "mv0")
    words = ("--subnet", "192.0.2.0/24", "--gateway", NEIGHBOUR4, "--ip-range", "192.0.2.64/28", "-o", "parent=eth0")
    world.underlay("network", "create", "-d", "macvlan", *words, "wire")
    for name in ("m1", "m2"):
        world.run("--name", name, "--network", "wire")
    assert {world.address(name, "wire") for name in ("m1", "m2")} == {"192.0.2.65", "192.0.2.66"}
    world.serve("m1", 80)
    assert world.ask("neighbour", world.address("m1", "wire"), 80) == NEIGHBOUR4
    assert world.ask("m2", world.address("m1", "wire"), 80) == world.address("m2", "wire")
    assert world.ask("", world.address("m1", "wire"), 80) in NOTHING  # the kernel keeps them apart
    refused = world.underlay("run", "--rm", "--network", "wire", "-p", "80:80", "box", "true", code=125).stderr
    assert b"the container is only in networks that are internal, macvlan or ipvlan" in refused
    # Answers leave by the bridge that the ports are published at, whenever that came.
    world.run("--name", "m3", "--network", "wire", "--network", "front", "-p", "8107:80")
    world.run("--name", "m4", "--network", "wire")
    world.underlay("network", "connect", "front", "m4")
    for name in ("m3", "m4"):
        gateway = world.inspect(name)["Networks"]["front"]["Gateway"]
        assert world.underlay.out("exec", name, "ip", "route").splitlines()[0].split()[:3] == [
            "default",
            "via",
            gateway,
        ]
    world.underlay("network", "disconnect", "front", "m4")
    assert f"default via {NEIGHBOUR4} " in world.underlay.out("exec", "m4", "ip", "route")
    world.unserve()
    world.underlay("rm", "-f", "m1", "m2", "m3", "m4")
    world.underlay("network", "rm", "wire")


@pytest.mark.parametrize("mode", ["auto", "container:first"])
def test_ids_of_its_own_with_a_network(world: World, mode: str) -> None:
    """The network namespace belongs to the container's user namespace: root inside rules it, and nothing else."""
    if mode != "auto":
        world.run("--name", "first", "--userns", "auto", "--network", "front")
    world.run("--name", "ids", "--userns", mode, "--network", "front", "-p", "8107:80", "--cap-add", "NET_ADMIN")
    for _ in range(2):
        world.serve("ids", 80)
        assert world.ask("neighbour", HOST4, 8107) == NEIGHBOUR4
        assert world.underlay.out("exec", "ids", "ls", "/sys/class/net").split() == ["eth0", "lo"]
        world.underlay("exec", "ids", "busybox", "ip", "link", "set", "lo", "down")
        assert not world.underlay.out("exec", "ids", "sh", "-c", "read a b c < /proc/self/uid_map; echo $b").startswith(
            "0"
        )
        world.unserve()
        world.underlay("restart", "-t", "0", "ids")


@pytest.mark.parametrize("ids", ["", "auto"])
def test_a_network_stays_through_restarts_by_the_monitor(world: World, ids: str) -> None:
    words = ("--userns", ids) if ids else ()
    world.run("--name", "again", *words, "--network", "front", "-p", "8108:80", "--restart", "always")
    place = world.inspect("again")["SandboxKey"]
    before = os.stat(place).st_ino
    first = world.underlay.pid("again")
    os.kill(first, signal.SIGKILL)
    assert until(lambda: world.underlay.pid("again") not in (0, first))
    assert os.stat(place).st_ino == before == os.stat(f"/proc/{world.underlay.pid('again')}/ns/net").st_ino
    world.serve("again", 80)
    assert world.ask("neighbour", HOST4, 8108) == NEIGHBOUR4


def test_a_reboot_leaves_nothing_broken(world: World) -> None:
    """The state directory is gone, and so is all that the kernel knew: bridges, rules, namespaces, processes."""
    world.run("--name", "old", "--network", "front", "-p", "8109:80")
    address = world.address("old", "front")
    pid, monitor = world.underlay.pid("old"), world.underlay.monitor("old")
    for each in (monitor, pid):
        os.kill(each, signal.SIGKILL)
    assert until(lambda: not Path(f"/proc/{pid}").exists())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(str(world.underlay.state)):
            subprocess.run(["umount", "-l", line.split()[1]], check=True)
    shutil.rmtree(world.underlay.state)
    for name in world.links() - {"lo", "eth0"}:
        with suppress(subprocess.CalledProcessError):
            world.on_host("ip", "link", "del", name)
    world.on_host("nft", "flush", "ruleset")
    assert world.underlay.out("port", "old") == ""
    assert "Exited" in world.underlay.out("ps", "-a", "--format", "{{.Status}}")
    world.run("--name", "new", "--network", "front", "-p", "8109:81")  # who comes first has it
    refused = world.underlay("start", "old", code=1).stderr
    assert b"port is already allocated" in refused
    world.underlay("rm", "-f", "new")
    world.underlay("start", "old")
    world.serve("old", 80)
    assert world.address("old", "front") == address
    assert world.ask("neighbour", HOST4, 8109) == NEIGHBOUR4


# Bridges


def _interface(world: World, network: str) -> str:
    """Return the name of a network's bridge."""
    options = json.loads(world.underlay.out("network", "inspect", network))[0]["Options"]
    found: str = options["com.docker.network.bridge.name"]
    return found


def _addresses(world: World, interface: str) -> list[str]:
    """Return the addresses of IPv4 of one of the host's interfaces that is up."""
    shown = json.loads(world.on_host("ip", "-j", "-4", "addr", "show", "dev", interface, "up"))
    return [f"{each['local']}/{each['prefixlen']}" for link in shown if link for each in link["addr_info"]]


@pytest.mark.parametrize("remove", [("rm", "mine"), ("prune", "-f")], ids=lambda words: words[0])
def test_a_bridge_that_others_made_stays(world: World, remove: tuple[str, ...]) -> None:
    world.underlay("network", "create", "--subnet", "10.81.0.0/24", "-o", "com.docker.network.bridge.name=br0", "mine")
    world.on_host("ip", "link", "add", "br0", "type", "bridge")
    try:
        world.on_host("ip", "addr", "add", "10.81.0.9/24", "dev", "br0")
        world.run("--name", "guest", "--network", "mine")
        assert _addresses(world, "br0") == ["10.81.0.9/24"]  # and it is up
        world.serve("guest", 80)
        assert world.ask("", world.address("guest", "mine"), 80) == "10.81.0.9"
        world.underlay("rm", "-f", "guest")
        world.underlay("network", *remove)
        assert _addresses(world, "br0") == ["10.81.0.9/24"]
    finally:
        world.on_host("ip", "link", "del", "br0")
        for name in ("front", "back"):
            world.underlay("network", "create", name, code=None)


def test_a_bridge_of_any_name_that_we_made_goes(world: World) -> None:
    world.underlay("network", "create", "-o", "com.docker.network.bridge.name=br0", "mine")
    world.underlay("run", "--rm", "--network", "mine", "box", "true")
    assert "br0" in world.links()
    world.underlay("network", "rm", "mine")
    assert "br0" not in world.links()


def test_a_bridge_without_an_address_that_others_made_gets_one(world: World) -> None:
    world.underlay("network", "create", "--subnet", "10.81.0.0/24", "-o", "com.docker.network.bridge.name=br0", "mine")
    world.on_host("ip", "link", "add", "br0", "type", "bridge")
    try:
        world.run("--name", "guest", "--network", "mine")
        world.serve("guest", 80)
        assert world.ask("", world.address("guest", "mine"), 80) == "10.81.0.1"
        world.underlay("rm", "-f", "guest")
        world.underlay("network", "rm", "mine")
        assert "br0" in world.links()
    finally:
        world.on_host("ip", "link", "del", "br0")


def test_a_bridge_that_lacks_something_is_mended(world: World) -> None:
    """Who made it was killed at that, or somebody has taken it away since."""
    world.underlay("network", "create", "--ipv6", "half")
    interface = _interface(world, "half")
    config = json.loads(world.underlay.out("network", "inspect", "half"))[0]["IPAM"]["Config"]
    world.on_host("ip", "link", "add", interface, "type", "bridge")
    world.serve("neighbour", 7010)
    world.run("--name", "guest", "--network", "half")
    assert world.ask("guest", NEIGHBOUR4, 7010) == HOST4
    for mend in (("run", "--rm", "--network", "half", "box", "true"), ("network", "reload")):
        world.on_host("ip", "link", "set", interface, "down")
        world.on_host("ip", "addr", "flush", "dev", interface)
        world.underlay(*mend)
        assert world.ask("guest", NEIGHBOUR4, 7010) == HOST4
        shown = json.loads(world.on_host("ip", "-j", "addr", "show", "dev", interface))[0]["addr_info"]
        assert {each["local"] for each in shown} >= {each["Gateway"] for each in config}
    world.underlay("rm", "-f", "guest")
    world.underlay("network", "rm", "half")


# Builds


def _build(world: World, dockerfile: str, *words: str, code: int = 0) -> str:
    """Build; returns what steps have said, by lines."""
    command = ("build", "--no-cache", "--progress", "plain", *words, "-")
    done = world.underlay(*command, input=dockerfile.encode(), code=code)
    return done.stderr.decode()


def test_steps_of_builds_have_the_default_network(world: World) -> None:
    """And not this host's: what listens on its loopback is none of a Dockerfile's business."""
    world.serve("neighbour", 7004)
    world.serve("", 7005, "127.0.0.1")
    ask = "busybox nc -w 2 {} {} </dev/null && echo || echo nobody"
    said = _build(
        world,
        # What runs steps is older than the network of the second one, and does not see what it is pinned to.
        f"FROM box AS a\nRUN --network=none true\nRUN {ask.format(NEIGHBOUR4, 7004)}\n"
        f"FROM box\nRUN echo 127; {ask.format('127.0.0.1', 7005)}\n"
        f"RUN --network=none ls /sys/class/net\nCOPY --from=a /etc/passwd /x\n",
    )
    assert HOST4 in said and "nobody" in said
    assert HOST4 in _build(world, f"FROM box\nRUN {ask.format(NEIGHBOUR4, 7004)}\n", "--network", "front")
    assert "127.0.0.1" in _build(world, f"FROM box\nRUN {ask.format('127.0.0.1', 7005)}\n", "--network", "host")
    refused = _build(world, "FROM box\nRUN --network=host true\n", code=1)
    assert "network.host is not allowed" in refused
    assert "network nowhere not found" in _build(world, "FROM box\nRUN true\n", "--network", "nowhere", code=1)
    assert os.listdir(world.underlay.state / "containers") == []


def test_steps_find_the_containers_of_a_network_by_name(world: World) -> None:
    world.run("--name", "db", "--network", "front")
    said = _build(world, "FROM box\nRUN busybox nslookup db.\n", "--network", "front")
    assert world.address("db", "front") in said


def test_a_killed_build_leaves_no_network(world: World) -> None:
    command = [*world.underlay.command, "build", "--no-cache", "--network", "back", "-"]
    build = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=world.underlay.environment,
        start_new_session=True,
    )
    assert build.stdin is not None
    build.stdin.write(b"FROM box\nRUN sleep 600\n")
    build.stdin.close()
    state = world.underlay.state / "containers"
    assert until(lambda: any((each / "net").exists() for each in state.iterdir()))
    assert until(lambda: _inhabited(next(state.iterdir()) / "net"))
    os.killpg(build.pid, signal.SIGKILL)
    build.wait()
    refused = world.underlay("network", "inspect", "back")
    assert json.loads(refused.stdout)[0]["Containers"] == {}
    # Whatever comes next finds it: another build, or the removal of its network.
    world.underlay("network", "rm", "back")
    world.underlay("network", "create", "back")
    assert not list(state.iterdir())


def _inhabited(namespace: Path) -> bool:
    wanted = namespace.stat().st_ino
    found = set()
    for each in Path("/proc").glob("[0-9]*/ns/net"):
        with suppress(OSError):
            found.add(each.stat().st_ino)
    return wanted in found


# Without what it takes


def test_without_privilege_it_says_so() -> None:
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        os.chown(place, 12345, 12345)
        other = Installation(place)
        del other.environment["UNDERLAY_NETWORK"]
        archive = place / "box.tar"
        archive.write_bytes(image_tar())
        other.command = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *other.command]
        if other("version", code=None).returncode:
            pytest.skip("another user cannot read this checkout")
        other("import", str(archive), "box")
        for words in (("--network", "bridge"), ("--network", "front"), ("-p", "80:80", "--network", "bridge")):
            said = other("run", "--rm", *words, "box", "true", code=125).stderr.decode()
            assert "unprivileged user cannot make interfaces" in said and "--network none or --network host" in said
            assert "Traceback" not in said
        assert other.out("run", "--rm", "--network", "none", "box", "ls", "/sys/class/net") == "lo"
        other("run", "--rm", "--network", "host", "box", "true")
        said = other("run", "--rm", "box", "true").stderr.decode()
        assert "no network but loopback" in said
        assert (
            "cannot make interfaces"
            in other("build", "--network", "x", "-", input=b"FROM box\n", code=1).stderr.decode()
        )


def test_root_without_the_right_to_change_interfaces(world: World) -> None:
    """As within other containers."""
    bounded = copy.copy(world.underlay)
    enter, rest = world.underlay.command[:2], world.underlay.command[2:]
    bounded.command = [*enter, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *rest]
    for words in ((), ("--network", "front"), ("-p", "80:80")):
        said = bounded("run", "--rm", *words, "box", "true", code=125).stderr.decode()
        assert "networks need CAP_NET_ADMIN" in said and "--network none or --network host" in said
        assert "Traceback" not in said
    assert bounded.out("run", "--rm", "--network", "none", "box", "ls", "/sys/class/net") == "lo"
    bounded("run", "--rm", "--network", "host", "box", "true")
