"""What the name server of a network says to which question."""

from __future__ import annotations

import random
import sys
from subprocess import run
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

from underlay.network import answers

if TYPE_CHECKING:
    pass
from nameservers import GATEWAY, GATEWAY6, MEMBER, MEMBER6, STRANGER, UPSTREAM, data, known, question, told


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


def test_names_of_other_networks_are_for_those_who_are_there_too() -> None:
    others = [
        {"asked_by": [MEMBER, MEMBER6], "names": {"web": ["10.1.0.2"], "far": ["10.1.0.3"]}},
        {"asked_by": ["172.31.9.9"], "names": {"farther": ["10.2.0.2"]}},
    ]
    there = known(others=others)

    def asked(name: str, source: str, kind: str = "A") -> list[str] | None:
        reply = answers.answer(question(name, kind).to_wire(), there, 0, False, source)
        return None if reply is None else data(dns.message.from_wire(reply))

    for source in (MEMBER, MEMBER6):
        assert asked("far", source) == ["10.1.0.3"]
        assert asked("far", source, "AAAA") == []
        assert asked("3.0.1.10.in-addr.arpa", source, "PTR") == ["far."]
        assert asked("web", source) == [MEMBER]  # this network's come first
        assert asked("farther", source) is None
    assert asked("farther", "172.31.9.9") == ["10.2.0.2"]
    assert asked("far", "172.31.9.3") is None
    assert asked("far", "") is None


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
    assert len(short.to_wire()) <= 512 and len(data(short)) == (512 - 12 - 10) // 16
    wide = answers.answer(question("many", use_edns=0, payload=65000).to_wire(), known(names=names), 0, False)
    assert wide is not None
    assert len(wide) <= 1232 and len(data(dns.message.from_wire(wide))) > 70
    whole = told(question("many"), stream=True, names=names)
    assert len(data(whole)) == 248
    assert not whole.flags & dns.flags.TC
    # What no answer holds is no reason to give none.
    endless = {"many": [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(5000)]}
    assert told(question("many"), stream=True, names=endless).flags & dns.flags.TC


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
