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
from underlay.network.answers import Asker, Directory, Member

if TYPE_CHECKING:
    from pathlib import Path
from nameservers import HERE, MEMBER, MEMBER6, asker, data, directory, question, told


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web", "A", [MEMBER]),
        ("WEB.", "A", [MEMBER]),
        ("web", "AAAA", [MEMBER6]),
        ("0123456789AB", "A", [MEMBER]),
        ("under_score", "A", ["172.31.9.6"]),
        ("db.inner", "A", ["172.31.9.3"]),
        ("web.net", "A", [MEMBER]),
        ("db.inner.NET", "A", ["172.31.9.3"]),
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
    assert all(each.ttl == answers.TTL for each in reply.answer)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nobody", "A"),
        ("web.example.com", "A"),
        ("web.other", "A"),
        (".", "NS"),
        ("9.9.31.172.in-addr.arpa", "PTR"),
        ("31.172.in-addr.arpa", "PTR"),
        ("x.y.ip6.arpa", "PTR"),
        ("a.b.arpa", "A"),
    ],
)
def test_what_is_for_the_hosts_servers(name: str, kind: str) -> None:
    answer = answers.answer(question(name, kind).to_wire(), asker(), 0, False)
    assert (answer.forwarded, answer.data) == (True, b"")


def test_names_of_all_networks_that_the_asker_is_in() -> None:
    other = directory({"web": ["10.1.0.2"], "far": ["10.1.0.3"]}, "aside")

    def asked(name: str, kind: str = "A") -> list[str]:
        return data(told(question(name, kind), others=[other]))

    assert asked("far") == ["10.1.0.3"]
    assert asked("far", "AAAA") == []
    assert asked("3.0.1.10.in-addr.arpa", "PTR") == ["far."]
    assert asked("web") == [MEMBER]  # the first network's come first
    assert asked("web.aside") == ["10.1.0.2"]
    assert answers.answer(question("far").to_wire(), asker(), 0, False).forwarded


def test_containers_that_have_ended_are_not_named(tmp_path: Path) -> None:
    """Nothing changes in the directory when one ends or is started again; its file goes and comes."""
    here, gone = tmp_path / "here", tmp_path / "gone"
    here.touch()
    members = [Member(["10.0.0.2"], ["a", "both"], str(here)), Member(["10.0.0.3"], ["b", "both"], str(gone))]
    known = Asker([Directory("net", members)], [], True)

    def asked(name: str, kind: str = "A") -> answers.Answer:
        return answers.answer(question(name, kind).to_wire(), known, 0, False)

    assert asked("b").forwarded and asked("3.0.0.10.in-addr.arpa", "PTR").forwarded
    assert data(dns.message.from_wire(asked("both").data)) == ["10.0.0.2"]
    # An answer without one that may come back is given only once.
    assert not asked("both").lasting
    gone.touch()
    found = asked("both")
    assert data(dns.message.from_wire(found.data)) == ["10.0.0.2", "10.0.0.3"]
    assert (found.lasting, found.turns, found.members) == (True, 2, (str(here), str(gone)))


def test_the_name_of_an_address_is_the_containers_own() -> None:
    members = [
        Member(["10.0.0.2"], ["one", "shared", "0123456789ab"], HERE),
        Member(["10.0.0.3"], ["two", "shared"], HERE),
    ]
    known = Asker([Directory("net", members)], [], True)
    for address, name in (("10.0.0.2", "one."), ("10.0.0.3", "two.")):
        query = question(dns.reversename.from_address(address).to_text(), "PTR")
        assert data(dns.message.from_wire(answers.answer(query.to_wire(), known, 0, False).data)) == [name]


def test_an_alias_of_several_is_rotated() -> None:
    seen = [data(told(question("all"), turn)) for turn in range(4)]
    assert [each[0] for each in seen] == ["172.31.9.3", "172.31.9.4", "172.31.9.5", "172.31.9.3"]
    assert all(len(each) == 3 for each in seen)


def test_names_and_addresses_that_dns_has_no_form_for() -> None:
    names = {"x" * 64: [MEMBER], "a..b": [MEMBER], "böse": [MEMBER6, MEMBER]}
    assert data(told(question("2.9.31.172.in-addr.arpa", "PTR"), names=names)) == ["b\\195\\182se."]
    assert data(told(question(dns.reversename.from_address(MEMBER6).to_text(), "PTR"), names=names))
    wire = question("bxxse").to_wire().replace(b"xx", "ö".encode())
    reply = answers.answer(wire, asker(names), 0, False)
    assert data(dns.message.from_wire(reply.data)) == [MEMBER]


def test_case_of_the_question_is_kept() -> None:
    query = question("wEb")
    assert b"\x03wEb" in answers.answer(query.to_wire(), asker(), 0, False).data


def test_long_answers_are_cut_for_udp_only() -> None:
    names = {"many": [f"172.31.9.{n}" for n in range(2, 250)]}
    short = told(question("many"), names=names)
    assert short.flags & dns.flags.TC
    assert len(short.to_wire()) <= 512 and len(data(short)) == (512 - 12 - 10) // 16
    wide = answers.answer(question("many", use_edns=0, payload=65000).to_wire(), asker(names), 0, False).data
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
    reply = answers.answer(bytes(wire), asker(), 0, False).data
    assert (reply[:2], reply[3] & 15, len(reply)) == (bytes(wire[:2]), dns.rcode.NOTIMP, 12)


def test_garbage_is_dropped_or_a_format_error() -> None:
    draw = random.Random(53)
    there = asker()
    good = question("web", use_edns=0).to_wire()
    for _ in range(3000):
        if draw.random() < 0.5:
            wire = draw.randbytes(draw.randrange(80))
        else:
            damaged = bytearray(good[: draw.randrange(1, len(good) + 1)])
            for _ in range(draw.randrange(4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            wire = bytes(damaged)
        answer = answers.answer(wire, there, 0, False)
        reply = answer.data
        if len(wire) < 12 or wire[2] & 0x80:
            assert (reply, answer.forwarded) == (b"", False)
        elif answer.forwarded:
            assert answers.failure(wire)[3] & 15 == dns.rcode.SERVFAIL
        else:
            assert reply[:2] == wire[:2]
            assert reply[2] & 0x80
    loop = b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"  # a name that points to itself
    assert answers.answer(loop, there, 0, False).data[3] & 15 == dns.rcode.FORMERR
    assert answers.answer(bytes(12), there, 0, False).data


def test_monitors_load_nothing_of_it() -> None:
    code = "import sys; sys.path.insert(0, 'src'); import underlay.runtime.monitor.networks.names as _; "
    code += "print(*sorted(sys.modules))"
    loaded = run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"re", "json", "typing", "threading", "subprocess", "socket", "dns", "ctypes"} & set(loaded)
