"""Name servers of networks under test: what they are told, questions to them, and a place for one to run in."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from functools import partial
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename

from engines import until
from underlay.linux.network import links, netns
from underlay.linux.network.netlink import Netlink
from underlay.network import answers, nameserver, resolver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from underlay.network.described import Written

GATEWAY, GATEWAY6, MEMBER, MEMBER6, STRANGER = "172.31.9.1", "fd00:9::1", "172.31.9.2", "fd00:9::2", "10.9.9.9"
UPSTREAM, DEAD = "127.0.0.9", "127.0.0.10"
NETWORK = "ab" * 32


def described(**changes: Any) -> Written:
    """Return what an engine would write."""
    usual: Written = {
        "interface": "ul-test",
        "listen": [GATEWAY, GATEWAY6],
        "subnets": ["172.31.9.0/24", "fd00:9::/64"],
        "internal": False,
        "servers": {},
        "upstream": [UPSTREAM],
        "names": {
            "Web": [MEMBER, MEMBER6],
            "0123456789ab": [MEMBER, MEMBER6],
            "all": ["172.31.9.3", "172.31.9.4", "172.31.9.5"],
            "db.inner": ["172.31.9.3"],
            "under_score": ["172.31.9.6"],
        },
    }
    changed: Any = {**usual, **changes}
    found: Written = changed
    return found


def known(**changes: Any) -> nameserver.Description:
    return nameserver.Description(described(**changes))


def question(name: str, kind: str = "A", **options: Any) -> dns.message.Message:
    return dns.message.make_query(name, kind, **options)


def told(query: dns.message.Message, turn: int = 0, stream: bool = False, **changes: Any) -> dns.message.Message:
    """Return what a query is answered without any sockets."""
    data = answers.answer(query.to_wire(), known(**changes), turn, stream)
    assert data
    found = dns.message.from_wire(data)
    assert query.is_response(found)
    return found


def data(reply: dns.message.Message) -> list[str]:
    return [item.to_text() for each in reply.answer for item in each]


class Place:
    """A bridge in a network namespace, a member of it in another, and name servers in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory / "networks")
        self.paths = [str(directory / name) for name in ("host", "member")]
        self.host, self.member = (netns.make(path) for path in self.paths)
        self.build()

    def build(self) -> None:
        with netns.inside(self.host, Netlink) as host, netns.inside(self.member, Netlink) as member:
            host.call(links.change(1, up=True), links.create_bridge("ul-test"))
            bridge = links.find(host, "ul-test")
            assert bridge is not None
            host.call(
                links.change(bridge.index, up=True),
                links.add_address(bridge.index, socket.inet_aton(GATEWAY), 24),
                links.add_address(bridge.index, socket.inet_pton(socket.AF_INET6, GATEWAY6), 64),
                links.create_veth("port", bridge.index, "eth0", self.member),
                links.add_route(bridge.index, destination=socket.inet_aton("10.9.9.0"), prefix=24),
            )
            near, far = links.find(host, "port"), links.find(member, "eth0")
            assert near is not None
            assert far is not None
            host.call(links.change(near.index, up=True))
            member.call(
                links.change(1, up=True),
                links.change(far.index, up=True),
                links.add_address(far.index, socket.inet_aton(MEMBER), 24),
                links.add_address(far.index, socket.inet_pton(socket.AF_INET6, MEMBER6), 64),
                links.add_address(far.index, socket.inet_aton(STRANGER), 32),
            )
        # Until the port forwards.
        assert until(lambda: self._reaches())

    def _reaches(self) -> bool:
        """Tell whether the gateway says that nobody is at a port of its."""
        for family, address in ((socket.AF_INET, GATEWAY), (socket.AF_INET6, GATEWAY6)):
            client = netns.inside(self.member, partial(socket.socket, family, socket.SOCK_STREAM))
            with client:
                client.settimeout(0.5)
                try:
                    client.connect((address, 9))
                except ConnectionRefusedError:
                    continue
                except OSError:
                    return False
        return True

    def close(self) -> None:
        os.close(self.host)
        os.close(self.member)
        for path in self.paths:
            netns.release(path)

    def write(self, **changes: Any) -> None:
        resolver.write(self.directory, NETWORK, described(**changes))

    def ensure(self) -> None:
        netns.inside(self.host, lambda: resolver.ensure(self.directory, NETWORK))

    def start(self, **changes: Any) -> int:
        """Have a name server, and return its process."""
        self.write(**changes)
        self.ensure()
        return self.pid()

    def pid(self) -> int:
        with open(f"{self.directory}/{NETWORK}.lock") as file:
            return int(file.read().split()[0])

    def kill(self) -> None:
        try:
            pid = self.pid()
            assert pid != os.getpid()
            os.kill(pid, signal.SIGKILL)
        except (OSError, IndexError):
            return
        assert until(lambda: not alive(pid))

    def ask(
        self,
        name: str,
        kind: str = "A",
        where: str = GATEWAY,
        tcp: bool = False,
        source: str | None = None,
        timeout: float = 4,
    ) -> dns.message.Message:
        query = question(name, kind)
        ask: Any = dns.query.tcp if tcp else dns.query.udp
        reply: dns.message.Message = netns.inside(
            self.member, lambda: ask(query, where, timeout=timeout, source=source)
        )
        return reply

    def connect(self, source: str = MEMBER) -> socket.socket:
        def work() -> socket.socket:
            return socket.create_connection((GATEWAY, 53), timeout=4, source_address=(source, 0))

        return netns.inside(self.member, work)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended may wait for somebody to notice."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


class Upstream:
    """A DNS server of the host, which says the same to all, or nothing."""

    def __init__(self, place: Place, address: str, change: Callable[[bytes], bytes]) -> None:
        self.seen: list[tuple[bytes, bool]] = []
        self.change = change
        self.udp, self.tcp = netns.inside(place.host, lambda: self._open(address))
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._packets, self._connections)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _open(address: str) -> tuple[socket.socket, socket.socket]:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        return udp, socket.create_server((address, 53))

    def answer(self, query: bytes, tcp: bool) -> bytes:
        self.seen.append((query, tcp))
        reply = dns.message.make_response(dns.message.from_wire(query))
        reply.answer.append(dns.rrset.from_text(reply.question[0].name, 7, "IN", "A", "192.0.2.7"))
        return self.change(reply.to_wire())

    def _packets(self) -> None:
        while True:
            try:
                query, source = self.udp.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            answer = self.answer(query, False)
            if answer:
                self.udp.sendto(answer, source)

    def _connections(self) -> None:
        while True:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            with client:
                size = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))[0]
                answer = self.answer(client.recv(size, socket.MSG_WAITALL), True)
                client.sendall(struct.pack("!H", len(answer)) + answer)

    def close(self) -> None:
        for each in (self.udp, self.tcp):
            try:
                each.shutdown(socket.SHUT_RDWR)  # wakes who waits in it
            except OSError:
                pass
            each.close()
        for thread in self.threads:
            thread.join(2)
