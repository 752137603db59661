"""A host of its own for tests of networks: namespaces for it, for its neighbour and for what containers serve and ask."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engines import Installation, image_tar, needs_root, until
from underlay.errors import KernelError
from underlay.linux.network import links, netns
from underlay.linux.network.netlink import Netlink

Result = TypeVar("Result")
HOST4, NEIGHBOUR4 = "192.0.2.1", "192.0.2.2"
HOST6, NEIGHBOUR6 = "2001:db8::1", "2001:db8::2"
NOTHING = ("TimeoutError", "ConnectionRefusedError", "OSError")  # what asking in vain ends with


class World:
    """A network namespace in which underlay runs, as if it were the host, and one that is its neighbour on a link."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.host = netns.make(str(place / "host"))
        self.neighbour = netns.make(str(place / "neighbour"))
        self._servers: list[socket.socket] = []
        # A new namespace has it from the first one, where others may have switched it on.
        netns.inside(self.host, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("0"))
        with netns.inside(self.host, Netlink) as here, netns.inside(self.neighbour, Netlink) as there:
            here.call(links.change(1, up=True), links.create_veth("eth0", 0, "eth0", self.neighbour))
            there.call(links.change(1, up=True))
            for connection, four, six in ((here, HOST4, HOST6), (there, NEIGHBOUR4, NEIGHBOUR6)):
                made = links.find(connection, "eth0")
                assert made is not None
                connection.call(
                    links.change(made.index, up=True),
                    links.add_address(made.index, socket.inet_pton(socket.AF_INET, four), 24),
                    links.add_address(made.index, socket.inet_pton(socket.AF_INET6, six), 64),
                )
        (place / "underlay").mkdir()
        self.underlay = Installation(place / "underlay")
        self.underlay.command = ["nsenter", f"--net={place / 'host'}", *self.underlay.command]
        del self.underlay.environment["UNDERLAY_NETWORK"]
        archive = place / "box.tar"
        archive.write_bytes(image_tar())
        self.underlay("import", str(archive), "box")

    def close(self) -> None:
        """End all that was begun, and see that nothing is left on the host that this was."""
        self.unserve()
        try:
            self.underlay.clean()
            self.underlay("network", "prune", "-f")
            until(lambda: not self.links() - {"lo", "eth0"})
            left = self.links()
            tables = self.on_host("nft", "list", "tables")
        finally:
            for name in ("host", "neighbour"):
                netns.release(str(self.place / name))
            os.close(self.host)
            os.close(self.neighbour)
        assert left - {"lo", "eth0"} == set()
        assert "underlay" not in tables

    @property
    def table(self) -> str:
        """The name of the table of the firewall."""
        return self.underlay.out("network", "rules").split()[2]

    def on_host(self, *words: str) -> str:
        """Run a program in the namespace of the host; returns its output."""
        command = ["nsenter", f"--net={self.place / 'host'}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def near(self, *words: str) -> str:
        """Run a program in the namespace of the neighbour."""
        command = ["nsenter", f"--net={self.place / 'neighbour'}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def links(self) -> set[str]:
        """Return the names of the host's interfaces, as `ip` sees them."""
        return {each["ifname"] for each in json.loads(self.on_host("ip", "-j", "link"))}

    def run(self, *words: str) -> str:
        """Start a container that sleeps; `words` are options. Returns its id."""
        return self.underlay.out("run", "-d", *words, "box", "sleep", "600")

    def inspect(self, name: str) -> dict[str, Any]:
        """Return the network settings of a container."""
        found = json.loads(self.underlay.out("inspect", name))
        settings: dict[str, Any] = found[0]["NetworkSettings"]
        return settings

    def address(self, name: str, network: str, six: bool = False) -> str:
        """Return a container's address in a network."""
        found: str = self.inspect(name)["Networks"][network]["GlobalIPv6Address" if six else "IPAddress"]
        return found

    def bridge(self, network: str) -> str:
        """Return the interface of a network on the host."""
        options = json.loads(self.underlay.out("network", "inspect", "-f", "{{json .Options}}", network))
        found: str = options["com.docker.network.bridge.name"]
        return found

    def inside(self, name: str, work: Callable[[], Result]) -> Result:
        """Do `work` in the network namespace of a container."""
        namespace = os.open(f"/proc/{self.underlay.pid(name)}/ns/net", os.O_RDONLY)
        try:
            return netns.inside(namespace, work)
        finally:
            os.close(namespace)

    # Serving and asking. A server tells its clients who they are to it.

    def serve(self, where: str, port: int, address: str = "", udp: bool = False) -> None:
        """Serve in a container ("" is the host, "neighbour" the neighbour): what asks is told its own address."""
        self._servers.append(self._in(where, lambda: answering(port, address, udp)))

    def unserve(self) -> None:
        """End all servers: a socket keeps the namespace that it is in."""
        for server in self._servers:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        self._servers.clear()

    def ask(self, where: str, address: str, port: int, udp: bool = False) -> str:
        """Ask a server from a container, the host or the neighbour; returns what it says, or the name of an error."""
        return self._in(where, lambda: asked(address, port, udp))

    def _in(self, where: str, work: Callable[[], Result]) -> Result:
        if where in ("", "neighbour"):
            return netns.inside(self.neighbour if where else self.host, work)
        return self.inside(where, work)


def lookup(name: str, server: str, kind: str = "A", tcp: bool = False, patience: float = 10.0) -> set[str]:
    """Ask a name server; returns the data of its answer, or {"nothing"} when none comes."""
    import dns.exception
    import dns.message
    import dns.query

    query = dns.message.make_query(name, kind)
    try:
        answer = (dns.query.tcp if tcp else dns.query.udp)(query, server, timeout=patience)
    except (OSError, dns.exception.DNSException):
        return {"nothing"}
    return {str(item) for found in answer.answer for item in found}


def answering(port: int, address: str = "", udp: bool = False) -> socket.socket:
    """Return a server, in the network namespace of this thread, that tells who asks its own address."""
    server = _server(port, address, udp)
    threading.Thread(target=_answer_udp if udp else _answer_tcp, args=(server,), daemon=True).start()
    return server


def _server(port: int, address: str, udp: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address or not address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not address else 1)
    made.bind((address, port))
    if not udp:
        made.listen(64)
    return made


def _answer_tcp(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, peer = server.accept()
            client.sendall(peer[0].removeprefix("::ffff:").encode())
            client.close()


def _answer_udp(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            data, peer = server.recvfrom(100)
            if not data:
                return  # shut down
            server.sendto(peer[0].removeprefix("::ffff:").encode(), peer)


def asked(address: str, port: int, udp: bool = False) -> str:
    """Return what a server says, asked from the network namespace of this thread, or the name of an error."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect((address, port))
            if udp:
                client.send(b"who")
            return client.recv(100).decode()
        except OSError as error:
            return type(error).__name__


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A host with two networks, and the neighbour."""
    needs_root()
    try:
        made = World(tmp_path_factory.mktemp("world"))
    except KernelError as error:
        pytest.skip(f"this kernel has no network namespaces with virtual links: {error.message}")
    for name in ("front", "back"):
        made.underlay("network", "create", name)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_left(world: World) -> Iterator[None]:
    yield
    world.unserve()
    ids = world.underlay.out("ps", "-aq").split()
    if ids:
        world.underlay("rm", "-f", *ids)
    assert until(lambda: not [name for name in world.links() if name.startswith("ve")])
    assert str(world.underlay.state) not in Path("/proc/self/mounts").read_text()
