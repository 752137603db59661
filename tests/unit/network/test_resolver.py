"""The name server of a network: questions and answers as bytes, and the process itself in network namespaces of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from subprocess import run
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

from engines import needs_root, until
from underlay.errors import Conflict
from underlay.linux import links, netns
from underlay.linux.netlink import Netlink
from underlay.network import answers, nameserver, resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

GATEWAY, GATEWAY6, MEMBER, MEMBER6, STRANGER = "172.31.9.1", "fd00:9::1", "172.31.9.2", "fd00:9::2", "10.9.9.9"
UPSTREAM, DEAD = "127.0.0.9", "127.0.0.10"
NETWORK = "ab" * 32


def described(**changes: Any) -> dict[str, Any]:
    """Return what an engine would write."""
    return {
        "interface": "ul-test",
        "listen": [GATEWAY, GATEWAY6],
        "subnets": ["172.31.9.0/24", "fd00:9::/64"],
        "internal": False,
        "upstream": [UPSTREAM],
        "names": {
            "Web": [MEMBER, MEMBER6],
            "0123456789ab": [MEMBER, MEMBER6],
            "all": ["172.31.9.3", "172.31.9.4", "172.31.9.5"],
            "db.inner": ["172.31.9.3"],
            "under_score": ["172.31.9.6"],
        },
        **changes,
    }


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


# Questions and answers.


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web", "A", [MEMBER]),
        ("WEB.", "A", [MEMBER]),
        ("web", "AAAA", [MEMBER6]),
        ("0123456789AB", "A", [MEMBER]),
        ("under_score", "A", ["172.31.9.6"]),
        ("db.inner", "A", ["172.31.9.3"]),
        ("web", "MX", []),
        ("web", "ANY", []),
        ("under_score", "AAAA", []),
        ("2.9.31.172.in-addr.arpa", "PTR", ["Web."]),
        ("2.9.31.172.IN-ADDR.arpa", "A", []),
        (dns.reversename.from_address(MEMBER6).to_text(), "PTR", ["Web."]),
    ],
)
def test_names_of_containers(name: str, kind: str, expected: list[str]) -> None:
    reply = told(question(name, kind))
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags & dns.flags.RA
    assert data(reply) == expected
    assert all(each.ttl == 600 for each in reply.answer)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nobody", "A"),
        ("web.example.com", "A"),
        (".", "NS"),
        ("9.9.31.172.in-addr.arpa", "PTR"),
        ("31.172.in-addr.arpa", "PTR"),
        ("x.y.ip6.arpa", "PTR"),
        ("a.b.arpa", "A"),
    ],
)
def test_what_is_for_the_hosts_servers(name: str, kind: str) -> None:
    assert answers.answer(question(name, kind).to_wire(), known(), 0, False) is None


def test_an_alias_of_several_is_rotated() -> None:
    seen = [data(told(question("all"), turn)) for turn in range(4)]
    assert [each[0] for each in seen] == ["172.31.9.3", "172.31.9.4", "172.31.9.5", "172.31.9.3"]
    assert all(len(each) == 3 for each in seen)


def test_names_and_addresses_that_dns_has_no_form_for() -> None:
    names = {"x" * 64: [MEMBER], "a..b": [MEMBER], "böse": ["FD00:9:0::2", MEMBER, "bad"]}
    assert data(told(question("2.9.31.172.in-addr.arpa", "PTR"), names=names)) == ["b\\195\\182se."]
    assert data(told(question(dns.reversename.from_address(MEMBER6).to_text(), "PTR"), names=names))
    wire = question("bxxse").to_wire().replace(b"xx", "ö".encode())
    reply = answers.answer(wire, known(names=names), 0, False)
    assert reply is not None
    assert data(dns.message.from_wire(reply)) == [MEMBER]
    assert data(told(question("x"), names={"x": ["bad"]})) == []


def test_case_of_the_question_is_kept() -> None:
    query = question("wEb")
    wire = answers.answer(query.to_wire(), known(), 0, False)
    assert wire is not None
    assert b"\x03wEb" in wire


def test_long_answers_are_cut_for_udp_only() -> None:
    names = {"many": [f"172.31.9.{n}" for n in range(2, 250)]}
    short = told(question("many"), names=names)
    assert short.flags & dns.flags.TC
    assert len(short.to_wire()) <= 512
    wide = answers.answer(question("many", use_edns=0, payload=65000).to_wire(), known(names=names), 0, False)
    assert wide is not None
    assert len(wide) <= 1232
    whole = told(question("many"), stream=True, names=names)
    assert len(data(whole)) == 248
    assert not whole.flags & dns.flags.TC


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (question("web", rdclass="CH"), dns.rcode.REFUSED),
        (question("web", "AXFR"), dns.rcode.REFUSED),
        (question("web", use_edns=1), dns.rcode.BADVERS),
    ],
)
def test_questions_that_are_refused(query: dns.message.Message, code: dns.rcode.Rcode) -> None:
    assert told(query).rcode() == code


def test_updates_are_not_implemented() -> None:
    wire = bytearray(question("web").to_wire())
    wire[2] |= 5 << 3
    reply = answers.answer(bytes(wire), known(), 0, False)
    assert reply is not None
    assert (reply[:2], reply[3] & 15, len(reply)) == (bytes(wire[:2]), dns.rcode.NOTIMP, 12)


def test_garbage_is_dropped_or_a_format_error() -> None:
    draw = random.Random(53)
    there = known()
    good = question("web", use_edns=0).to_wire()
    for _ in range(3000):
        if draw.random() < 0.5:
            wire = draw.randbytes(draw.randrange(80))
        else:
            damaged = bytearray(good[: draw.randrange(1, len(good) + 1)])
            for _ in range(draw.randrange(4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            wire = bytes(damaged)
        reply = answers.answer(wire, there, 0, False)
        if len(wire) < 12 or wire[2] & 0x80:
            assert reply == b""
        elif reply is None:
            assert answers.failure(wire)[3] & 15 == dns.rcode.SERVFAIL
        else:
            assert reply[:2] == wire[:2]
            assert reply[2] & 0x80
    loop = b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"  # a name that points to itself
    reply = answers.answer(loop, there, 0, False)
    assert reply is not None
    assert reply[3] & 15 == dns.rcode.FORMERR
    assert answers.answer(bytes(12), there, 0, False)


def test_who_is_a_member() -> None:
    there = known()
    assert there.admits(MEMBER)
    assert there.admits(MEMBER6)
    for text in (STRANGER, GATEWAY, GATEWAY6, "fd00:8::2", "::1", "127.0.0.1", "fe80::1%eth0", "", "x"):
        assert not there.admits(text)


def test_a_name_server_does_not_ask_itself() -> None:
    assert known(upstream=[GATEWAY, "x.example", UPSTREAM, "fe80::1%eth0"]).upstream == [UPSTREAM, "fe80::1%eth0"]


def test_starting_one_loads_little() -> None:
    code = "import sys; sys.path.insert(0, 'src'); import underlay.network.resolver; print(*sorted(sys.modules))"
    loaded = run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"re", "json", "typing", "threading", "subprocess", "socket", "dns", "ctypes"} & set(loaded)


# The process.


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
        assert until(lambda: self._reaches(), 5)

    def _reaches(self) -> bool:
        """Tell whether the gateway says that nobody is at a port of its."""
        for family, address in ((socket.AF_INET, GATEWAY), (socket.AF_INET6, GATEWAY6)):
            client = netns.inside(self.member, lambda family=family: socket.socket(family, socket.SOCK_STREAM))
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
        assert until(lambda: not alive(pid), 5)

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


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    needs_root()
    there = Place(tmp_path_factory.mktemp("resolver"))
    yield there
    there.close()


@pytest.fixture
def place(ground: Place) -> Iterator[Place]:
    yield ground
    ground.kill()
    resolver.remove(ground.directory, NETWORK)


@pytest.fixture
def upstream(place: Place) -> Iterator[Upstream]:
    there = Upstream(place, UPSTREAM, lambda reply: reply)
    yield there
    there.close()


@pytest.mark.root
def test_answers_by_udp_and_tcp_and_both_protocols(place: Place) -> None:
    place.start()
    for where in (GATEWAY, GATEWAY6):
        for tcp in (False, True):
            assert data(place.ask("web", "A", where, tcp)) == [MEMBER]
            assert data(place.ask("web", "AAAA", where, tcp)) == [MEMBER6]
    assert {data(place.ask("all"))[0] for _ in range(6)} == {"172.31.9.3", "172.31.9.4", "172.31.9.5"}


@pytest.mark.root
def test_names_change_while_it_runs(place: Place) -> None:
    pid = place.start()
    place.write(names={"new": ["172.31.9.7"]})
    place.ensure()
    assert data(place.ask("new")) == ["172.31.9.7"]
    assert place.pid() == pid


@pytest.mark.root
def test_other_names_go_to_the_hosts_servers(place: Place, upstream: Upstream) -> None:
    place.start()
    for tcp in (False, True):
        reply = place.ask("example.test", tcp=tcp)
        assert data(reply) == ["192.0.2.7"]
        assert reply.answer[0].ttl == 7
    assert data(place.ask("nobody")) == ["192.0.2.7"]
    assert [tcp for _, tcp in upstream.seen] == [False, True, False]
    place.ask("web")
    assert len(upstream.seen) == 3


@pytest.mark.root
def test_the_next_server_is_asked(place: Place, upstream: Upstream) -> None:
    # Nobody is at the first: the kernel says so at once.
    place.start(upstream=[DEAD, UPSTREAM])
    begun = time.monotonic()
    assert data(place.ask("example.test")) == ["192.0.2.7"]
    assert data(place.ask("example.test", tcp=True)) == ["192.0.2.7"]
    assert time.monotonic() - begun < 1
    # The second time the first is there and says nothing, the third time nothing good.
    silent = Upstream(place, DEAD, lambda reply: b"")
    try:
        assert data(place.ask("example.test")) == ["192.0.2.7"]
        assert len(silent.seen) == 1
        silent.change = lambda reply: reply[:3] + bytes((reply[3] | dns.rcode.SERVFAIL,)) + reply[4:]
        assert data(place.ask("example.test")) == ["192.0.2.7"]
        assert len(silent.seen) == 2
        # An answer to something else is none.
        silent.change = lambda reply: bytes((reply[0] ^ 1,)) + reply[1:]
        assert data(place.ask("example.test")) == ["192.0.2.7"]
    finally:
        silent.close()


@pytest.mark.root
def test_nobody_upstream_is_a_failure(place: Place) -> None:
    place.start(upstream=[])
    assert place.ask("example.test").rcode() == dns.rcode.SERVFAIL
    place.write(upstream=[DEAD])
    assert place.ask("example.test").rcode() == dns.rcode.SERVFAIL


@pytest.mark.root
def test_an_internal_network_passes_nothing_on(place: Place, upstream: Upstream) -> None:
    place.start(internal=True)
    for tcp in (False, True):
        for name, kind in (("x.canary.test", "A"), ("nobody", "A"), ("9.9.31.172.in-addr.arpa", "PTR")):
            assert place.ask(name, kind, tcp=tcp).rcode() == dns.rcode.SERVFAIL
        assert data(place.ask("web", tcp=tcp)) == [MEMBER]
    assert upstream.seen == []


@pytest.mark.root
def test_strangers_get_no_answer(place: Place) -> None:
    place.start()
    with pytest.raises(dns.exception.Timeout):
        place.ask("web", source=STRANGER, timeout=0.5)
    with place.connect(STRANGER) as client, pytest.raises(ConnectionError):
        client.sendall(b"\0\x0c" + bytes(12))
        if not client.recv(1):
            raise ConnectionResetError
    # The host itself is no member.
    with pytest.raises((dns.exception.Timeout, OSError)):
        netns.inside(place.host, lambda: dns.query.udp(question("web"), GATEWAY, timeout=0.3))
    assert data(place.ask("web")) == [MEMBER]


@pytest.mark.root
def test_who_comes_by_another_interface_gets_no_answer(place: Place) -> None:
    with netns.inside(place.host, Netlink) as host, netns.inside(place.member, Netlink) as member:
        host.call(links.create_veth("aside", 0, "eth1", place.member))
        near, far = links.find(host, "aside"), links.find(member, "eth1")
        assert near is not None
        assert far is not None
        host.call(links.change(near.index, up=True), links.add_address(near.index, socket.inet_aton("10.8.0.1"), 24))
        member.call(links.change(far.index, up=True), links.add_address(far.index, socket.inet_aton("10.8.0.2"), 24))
        place.start(subnets=["172.31.9.0/24", "10.8.0.0/24"])

        def open_both() -> socket.socket:
            found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1")
            found.bind(("10.8.0.2", 0))
            found.settimeout(0.4)
            return found

        control = netns.inside(place.host, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        control.bind((GATEWAY, 5353))
        control.settimeout(3)
        try:
            with netns.inside(place.member, open_both) as client, control:
                client.sendto(b"there is a way", (GATEWAY, 5353))
                assert control.recvfrom(100)[1][0] == "10.8.0.2"
                client.sendto(question("web").to_wire(), (GATEWAY, 53))
                with pytest.raises(OSError):
                    client.recv(512)
        finally:
            host.call(links.delete(near.index))
    assert data(place.ask("web")) == [MEMBER]


@pytest.mark.root
def test_garbage_and_idlers_do_not_stop_it(place: Place) -> None:
    pid = place.start()
    draw = random.Random(5)
    with netns.inside(place.member, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        for _ in range(300):
            client.sendto(draw.randbytes(draw.randrange(1400)), (GATEWAY, 53))
        client.sendto(b"", (GATEWAY, 53))
        client.sendto(bytes(60000), (GATEWAY, 53))
    idle = [place.connect() for _ in range(20)]
    try:
        for number, each in enumerate(idle):
            try:
                each.sendall(draw.randbytes(number))
            except ConnectionError:
                pass  # one client has no more than 16
        assert until(lambda: _answers(place, False), 5)  # what came while the socket's buffer was full is lost
        assert len(os.listdir(f"/proc/{pid}/fd")) < 40
        idle.pop(0).close()
        assert until(lambda: _answers(place), 3)
    finally:
        for each in idle:
            each.close()
    assert place.pid() == pid
    assert alive(pid)


def _answers(place: Place, tcp: bool = True) -> bool:
    try:
        return data(place.ask("web", tcp=tcp, timeout=0.5)) == [MEMBER]
    except (OSError, EOFError, dns.exception.Timeout):
        return False


@pytest.mark.root
def test_one_client_cannot_have_all_wait(place: Place) -> None:
    place.start()
    silent = Upstream(place, UPSTREAM, lambda reply: b"")
    try:
        place.ask("web")
        with netns.inside(place.member, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.settimeout(1)
            for number in range(70):
                client.sendto(question(f"{number}.test").to_wire(), (GATEWAY, 53))
            begun = time.monotonic()
            replies = [dns.message.from_wire(client.recv(512)) for _ in range(6)]
            assert time.monotonic() - begun < 1
        assert {each.rcode() for each in replies} == {dns.rcode.SERVFAIL}
        assert data(place.ask("web")) == [MEMBER]
        assert until(lambda: len(silent.seen) == 64, 1)
    finally:
        silent.close()


@pytest.mark.root
def test_many_questions_in_one_connection(place: Place, upstream: Upstream) -> None:
    place.start()
    names = ["web", "example.test", "all", "other.test"] * 20
    wires = [question(name).to_wire() for name in names]
    with place.connect() as client:
        client.sendall(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
        file = client.makefile("rb")
        for wire, name in zip(wires, names, strict=True):
            reply = file.read(struct.unpack("!H", file.read(2))[0])
            assert reply[:2] == wire[:2]
            assert len(data(dns.message.from_wire(reply))) == (3 if name == "all" else 1)
        file.close()


@pytest.mark.root
def test_killed_and_started_again(place: Place) -> None:
    first = place.start()
    client = place.connect()  # which leaves a connection behind
    place.kill()
    client.close()
    place.ensure()
    assert place.pid() != first
    assert data(place.ask("web", tcp=True)) == [MEMBER]


@pytest.mark.root
def test_it_ends_with_its_file(place: Place) -> None:
    pid = place.start()
    resolver.remove(place.directory, NETWORK)
    assert until(lambda: not alive(pid), 3)
    assert os.listdir(place.directory) == []
    assert place.start() != pid
    assert data(place.ask("web")) == [MEMBER]


@pytest.mark.root
def test_two_at_once_start_one(place: Place) -> None:
    place.write()

    def work(_: int) -> list[str]:
        place.ensure()
        return data(place.ask("web"))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [[MEMBER]] * 4
    found = [pid for pid in os.listdir("/proc") if pid.isdigit() and place.directory.encode() in command(pid)]
    assert found == [str(place.pid())]


def command(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


@pytest.mark.root
def test_nothing_of_the_caller_is_kept(place: Place) -> None:
    there, here = os.pipe()
    os.set_inheritable(here, True)
    pid = place.start()
    os.close(here)
    assert os.read(there, 1) == b""
    os.close(there)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    assert os.getsid(pid) not in (os.getsid(0), pid)
    assert fields[4] == b"0"  # no terminal
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    assert int(status["CapEff"], 16) & ~0x2404 == 0


@pytest.mark.root
def test_another_server_has_the_address(place: Place) -> None:
    with netns.inside(place.host, lambda: socket.create_server((GATEWAY, 53))):
        place.write()
        with pytest.raises(Conflict, match=f"cannot listen on {GATEWAY} port 53"):
            place.ensure()
    place.ensure()
    assert data(place.ask("web")) == [MEMBER]


@pytest.mark.root
def test_it_follows_a_bridge_that_is_made_anew(place: Place) -> None:
    pid = place.start()
    with netns.inside(place.host, Netlink) as host:
        for name in ("port", "ul-test"):
            found = links.find(host, name)
            assert found is not None
            host.call(links.delete(found.index))
    time.sleep(0.1)
    place.build()
    place.ensure()
    assert data(place.ask("web")) == [MEMBER]
    assert place.pid() == pid


@pytest.mark.root
@pytest.mark.parametrize("again", [False, True])
def test_it_ends_without_names_unless_they_come_back(
    place: Place, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a thread here, so that the moment between "no names" and the end can be had."""
    monkeypatch.setattr(nameserver, "IDLE", 0.1)
    monkeypatch.setattr(nameserver, "_TICK", 0.05)
    place.write(names={})
    lock = resolver.take(f"{place.directory}/{NETWORK}.lock")
    assert lock is not None
    server = nameserver.Server(place.directory, NETWORK, lock.fd)
    deafen, ends = server.deafen, []

    def end() -> None:
        deafen()
        if len(ends) < again:
            place.write()
        ends.append(time.monotonic())

    def work() -> None:
        server._refresh()
        server.deafen = end  # type: ignore[method-assign]
        server.run()

    thread = threading.Thread(target=lambda: netns.inside(place.host, work), daemon=True)
    thread.start()
    if again:
        assert until(lambda: ends and _answers(place), 3)
        assert resolver.take(lock.path) is None
        ends.append(0)
        place.write(names={})
    thread.join(3)
    assert not thread.is_alive()
    free = resolver.take(lock.path)
    assert free is not None
    free.release()
    assert os.path.exists(lock.path)
    os.truncate(lock.path, 0)  # or the fixture would end this process
