"""Name servers under test: what they know, questions to them, and a place for one to run in."""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename

from underlay.engine.networks.name_service import Arrivals
from underlay.linux.network import links, netns
from underlay.linux.network.netlink import Netlink
from underlay.network import answers, nameserver, questions
from underlay.network.answers import Asker, Directory, Member
from underlay.runtime.monitor import control
from underlay.runtime.monitor.networks.names import SOCKET, hand_over

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

MEMBER, MEMBER6 = "172.31.9.2", "fd00:9::2"
UPSTREAM, DEAD = "127.0.0.9", "127.0.0.10"
HERE = "/proc/self"  # a file that exists, as those of containers that run do
NAMES = {
    "Web": [MEMBER, MEMBER6],
    "0123456789ab": [MEMBER, MEMBER6],
    "all": ["172.31.9.3", "172.31.9.4", "172.31.9.5"],
    "db.inner": ["172.31.9.3"],
    "under_score": ["172.31.9.6"],
}


def directory(names: dict[str, list[str]], network: str = "net", file: str = HERE) -> Directory:
    """Return a directory of names with their addresses, each of a container of its own."""
    return Directory(network, [Member(addresses, [name], file) for name, addresses in names.items()])


def asker(
    names: dict[str, list[str]] = NAMES,
    servers: Sequence[str] = (UPSTREAM,),
    forwards: bool = True,
    others: Sequence[Directory] = (),
) -> Asker:
    return Asker([directory(names), *others], servers, forwards)


def question(name: str, kind: str = "A", **options: Any) -> dns.message.Message:
    return dns.message.make_query(name, kind, **options)


def told(query: dns.message.Message, turn: int = 0, stream: bool = False, **changes: Any) -> dns.message.Message:
    """Return what a query is answered without any sockets."""
    answer = answers.answer(query.to_wire(), asker(**changes), turn, stream)
    assert answer.data
    found = dns.message.from_wire(answer.data)
    assert query.is_response(found)
    return found


def data(reply: dns.message.Message) -> list[str]:
    return [item.to_text() for each in reply.answer for item in each]


class Source:
    """What the name server under test knows, the same for all containers."""

    def __init__(self) -> None:
        self.known = asker()
        self.version = self.seen = 0

    def change(self, **changes: Any) -> None:
        self.known = asker(**changes)
        self.version += 1

    def changed(self) -> bool:
        before, self.seen = self.seen, self.version
        return before != self.seen

    def asker(self, container: str) -> Asker:
        return self.known


class Place:
    """A host and a container as network namespaces, and a name server that is a thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.paths = [str(directory / name) for name in ("host", "member")]
        self.host, self.member = (netns.make(path) for path in self.paths)
        for namespace in (self.host, self.member):
            with netns.inside(namespace, Netlink) as connection:
                connection.call(links.change(1, up=True))
        self.source = Source()
        self.sockets = questions.listen(self.member)
        self.channel: socket.socket | None = None
        self.thread: threading.Thread | None = None

    def start(self, **changes: Any) -> None:
        """Have a name server that the container can ask."""
        self.source.change(**changes)
        listener = control.listen(self.directory, SOCKET)
        listener.setblocking(False)
        server = nameserver.Server(self.source, Arrivals(listener))

        def work() -> None:
            try:
                netns.inside(self.host, server.run)
            finally:
                listener.close()

        self.enlist()
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def enlist(self) -> None:
        channel = hand_over({"directory": self.directory, "command": ["/bin/false"]}, "c" * 64, self.sockets)
        assert channel is not None
        self.channel = socket.socket(fileno=channel.detach())

    def stop(self) -> None:
        """Have the container end, and with it the name server."""
        if self.channel is not None:
            self.channel.close()
        if self.thread is not None:
            self.thread.join(10)
            assert not self.thread.is_alive()
        self.channel = self.thread = None

    def close(self) -> None:
        self.stop()
        questions.close(self.sockets)
        for namespace in (self.host, self.member):
            os.close(namespace)
        for path in self.paths:
            netns.release(path)

    def ask(self, name: str, kind: str = "A", tcp: bool = False, timeout: float = 4) -> dns.message.Message:
        query = question(name, kind)
        ask: Any = dns.query.tcp if tcp else dns.query.udp
        reply: dns.message.Message = netns.inside(self.member, lambda: ask(query, questions.ADDRESS, timeout=timeout))
        return reply

    def connect(self) -> socket.socket:
        return netns.inside(self.member, lambda: socket.create_connection((questions.ADDRESS, 53), timeout=4))

    def client(self, timeout: float = 30) -> socket.socket:
        """Return a socket for questions by UDP."""
        made = netns.inside(self.member, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.settimeout(timeout)
        made.connect((questions.ADDRESS, 53))
        return made


class Upstream:
    """A DNS server of the host, which says the same to all, or nothing."""

    def __init__(self, place: Place, address: str, change: Callable[[bytes], bytes], delay: float = 0.0) -> None:
        self.delay = delay
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
            if answer and self.delay:
                threading.Timer(self.delay, self._send, (answer, source)).start()
            elif answer:
                self.udp.sendto(answer, source)

    def _send(self, answer: bytes, source: Any) -> None:
        try:
            self.udp.sendto(answer, source)
        except OSError:
            pass  # it is closed meanwhile

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
