"""The name server: questions of a container by its sockets, and what comes of them, in network namespaces."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import pytest

from engines import needs_root, until
from underlay.linux.network import netns
from underlay.network import forwarding, nameserver, questions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
from nameservers import DEAD, MEMBER, MEMBER6, UPSTREAM, Place, Upstream, data, directory, question


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    needs_root()
    there = Place(tmp_path_factory.mktemp("names"))
    yield there
    there.close()


@pytest.fixture
def place(ground: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(nameserver, "LIFE", 0.05)
    yield ground
    ground.stop()


@pytest.fixture
def upstream(place: Place) -> Iterator[Upstream]:
    there = Upstream(place, UPSTREAM, lambda reply: reply)
    yield there
    there.close()


@pytest.mark.root
def test_answers_by_udp_and_tcp(place: Place) -> None:
    place.start()
    for tcp in (False, True):
        assert data(place.ask("web", "A", tcp)) == [MEMBER]
        assert data(place.ask("web", "AAAA", tcp)) == [MEMBER6]
    assert {data(place.ask("all"))[0] for _ in range(9)} == {"172.31.9.3", "172.31.9.4", "172.31.9.5"}


@pytest.mark.root
def test_names_change_while_it_runs(place: Place) -> None:
    place.start()
    assert data(place.ask("web")) == [MEMBER]
    place.source.change(names={"web": ["172.31.9.7"]})
    assert data(place.ask("web")) == ["172.31.9.7"]


@pytest.mark.root
def test_an_answer_that_is_kept_goes_with_its_container(place: Place, upstream: Upstream, tmp_path: Path) -> None:
    place.start()
    file = tmp_path / "net"
    file.touch()
    place.source.known.directories = [directory({"web": ["172.31.9.8"]}, file=str(file))]
    assert [data(place.ask("web")) for _ in range(3)] == [["172.31.9.8"]] * 3
    file.unlink()
    assert data(place.ask("web")) == ["192.0.2.7"]  # somebody else's business now
    file.touch()
    assert data(place.ask("web")) == ["172.31.9.8"]


@pytest.mark.root
def test_the_container_may_have_a_server_of_its_own_on_the_port(place: Place) -> None:
    place.start()
    made = netns.inside(place.member, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with made, netns.inside(place.member, lambda: socket.create_server(("", 53))):
        made.bind(("0.0.0.0", 53))
        for tcp in (False, True):
            assert data(place.ask("web", tcp=tcp)) == [MEMBER]


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
def test_the_next_server_is_asked(place: Place, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_PATIENCE", 0.3)
    # Nobody is at the first: the kernel says so at once.
    place.start(servers=[DEAD, UPSTREAM])
    assert data(place.ask("example.test")) == ["192.0.2.7"]
    assert data(place.ask("example.test", tcp=True)) == ["192.0.2.7"]
    # The second time the first is there and says nothing good, the third time nothing to this question, then nothing.
    other = Upstream(place, DEAD, lambda reply: reply[:3] + bytes((reply[3] | dns.rcode.SERVFAIL,)) + reply[4:])
    try:
        assert data(place.ask("example.test")) == ["192.0.2.7"]
        for change in (
            lambda reply: bytes((reply[0] ^ 1,)) + reply[1:],
            lambda reply: reply[:13] + b"X" + reply[14:],
            lambda reply: b"",
        ):
            place.stop()
            place.start(servers=[DEAD, UPSTREAM])  # it has forgotten which servers say nothing
            other.change = change
            before = len(other.seen)
            assert data(place.ask("example.test")) == ["192.0.2.7"]
            assert len(other.seen) == before + 1
    finally:
        other.close()


@pytest.mark.root
def test_a_server_that_says_nothing_comes_last_until_it_answers(
    place: Place, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_PATIENCE", 0.3)
    monkeypatch.setattr(forwarding, "_TRIAL", 0.6)
    place.start(servers=[DEAD, UPSTREAM])
    silent = Upstream(place, DEAD, lambda reply: b"")
    try:
        place.ask("one.test")
        assert len(silent.seen) == 1
        for number in range(5):
            assert data(place.ask(f"{number}.test")) == ["192.0.2.7"]
        assert len(silent.seen) == 1
        # After a while it is tried beside the good one, and when it answers it is the first again.
        silent.change = lambda reply: reply
        assert until(lambda: bool(place.ask("again.test")) and len(silent.seen) > 1)
        time.sleep(0.1)
        before = len(upstream.seen)
        assert data(place.ask("first.test")) == ["192.0.2.7"]
        assert len(upstream.seen) == before
    finally:
        silent.close()


@pytest.mark.root
def test_a_slow_server_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_PATIENCE", 0.2)
    place.start()
    slow = Upstream(place, UPSTREAM, lambda reply: reply, delay=1.5)
    try:
        with place.client() as client:
            query = question("slow.test").to_wire()
            client.send(query)
            time.sleep(0.1)
            client.send(query)  # as resolvers do that have waited for long
            assert data(dns.message.from_wire(client.recv(512))) == ["192.0.2.7"]
            client.settimeout(0.3)
            with pytest.raises(OSError):
                client.recv(512)
    finally:
        slow.close()


@pytest.mark.root
def test_nobody_upstream_is_a_failure(place: Place) -> None:
    place.start(servers=[])
    assert place.ask("example.test").rcode() == dns.rcode.SERVFAIL
    place.source.change(servers=[DEAD])
    assert place.ask("example.test").rcode() == dns.rcode.SERVFAIL


@pytest.mark.root
def test_from_internal_networks_nothing_is_passed_on(place: Place, upstream: Upstream) -> None:
    place.start(forwards=False)
    for tcp in (False, True):
        for name, kind in (("x.canary.test", "A"), ("nobody", "A"), ("9.9.31.172.in-addr.arpa", "PTR")):
            assert place.ask(name, kind, tcp=tcp).rcode() == dns.rcode.SERVFAIL
        assert data(place.ask("web", tcp=tcp)) == [MEMBER]
    assert upstream.seen == []


@pytest.mark.root
def test_garbage_and_idlers_do_not_stop_it(place: Place) -> None:
    place.start()
    draw = random.Random(5)
    with place.client() as client:
        for _ in range(300):
            client.send(draw.randbytes(draw.randrange(1400)))
        client.send(b"")
        client.send(bytes(60000))
    idle = [place.connect() for _ in range(40)]
    try:
        for number, each in enumerate(idle):
            try:
                each.sendall(draw.randbytes(number))
            except ConnectionError:
                pass  # one container has no more than 32
        assert until(lambda: _answers(place, False))  # what came while the socket's buffer was full is lost
        idle.pop(0).close()
        assert until(lambda: _answers(place))
    finally:
        for each in idle:
            each.close()


def _answers(place: Place, tcp: bool = True) -> bool:
    try:
        return data(place.ask("web", tcp=tcp, timeout=0.5)) == [MEMBER]
    except (OSError, EOFError, dns.exception.Timeout):
        return False


@pytest.mark.root
def test_hundreds_of_questions_may_wait_and_no_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_PATIENCE", 30.0)
    place.start()
    silent = Upstream(place, UPSTREAM, lambda reply: b"")
    try:
        place.ask("web")
        with place.client() as client:
            for number in range(520):
                client.send(question(f"{number}.test").to_wire())
                if number % 50 == 49:
                    assert until(lambda: len(silent.seen) >= min(number + 1, 512))
            replies = [dns.message.from_wire(client.recv(512)) for _ in range(8)]
        assert {each.rcode() for each in replies} == {dns.rcode.SERVFAIL}
        # At once: those that came before still wait.
        assert sorted(str(each.question[0].name) for each in replies) == [
            f"{number}.test." for number in range(512, 520)
        ]
        assert data(place.ask("web")) == [MEMBER]
        assert until(lambda: len(silent.seen) == 512)
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
def test_questions_wait_for_the_next_name_server(place: Place) -> None:
    place.start()
    assert data(place.ask("web")) == [MEMBER]
    place.stop()
    with place.client() as client:
        client.send(question("web").to_wire())
        place.start()
        assert data(dns.message.from_wire(client.recv(512))) == [MEMBER]


@pytest.mark.root
def test_it_lives_as_long_as_a_container(place: Place) -> None:
    place.start()
    time.sleep(0.3)
    assert data(place.ask("web")) == [MEMBER]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        old = place.channel
        place.enlist()
        assert old is not None
        old.close()
        assert data(place.ask("web")) == [MEMBER]
    assert until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    place.stop()


@pytest.mark.root
def test_a_namespace_is_given_new_sockets(place: Place) -> None:
    """As when a container is started again in the namespace that others have kept."""
    place.start()
    place.stop()
    questions.close(place.sockets)
    place.sockets = questions.listen(place.member)
    place.start()
    for tcp in (False, True):
        assert data(place.ask("web", tcp=tcp)) == [MEMBER]
