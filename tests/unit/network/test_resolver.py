"""The name server of a network: questions and answers as bytes, and the process itself in network namespaces of its own."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
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
from underlay.linux.network import links, netns
from underlay.linux.network.netlink import Netlink
from underlay.network import nameserver, resolver

if TYPE_CHECKING:
    from collections.abc import Iterator
from nameservers import (
    DEAD,
    GATEWAY,
    GATEWAY6,
    MEMBER,
    MEMBER6,
    NETWORK,
    STRANGER,
    UPSTREAM,
    Place,
    Upstream,
    alive,
    data,
    question,
)


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
    assert data(place.ask("example.test")) == ["192.0.2.7"]
    assert data(place.ask("example.test", tcp=True)) == ["192.0.2.7"]
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
        assert until(lambda: _answers(place, False))  # what came while the socket's buffer was full is lost
        assert len(os.listdir(f"/proc/{pid}/fd")) < 40
        idle.pop(0).close()
        assert until(lambda: _answers(place))
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
            client.settimeout(30)
            for number in range(70):
                client.sendto(question(f"{number}.test").to_wire(), (GATEWAY, 53))
            replies = [dns.message.from_wire(client.recv(512)) for _ in range(6)]
        assert {each.rcode() for each in replies} == {dns.rcode.SERVFAIL}
        # At once: those that came before still wait.
        assert sorted(str(each.question[0].name) for each in replies) == [f"{number}.test." for number in range(64, 70)]
        assert data(place.ask("web")) == [MEMBER]
        assert until(lambda: len(silent.seen) == 64)
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
    assert until(lambda: not alive(pid))
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
        assert until(lambda: ends and _answers(place))
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
