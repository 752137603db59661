"""DNS messages: questions of containers and the answers to them (RFC 1035). Only the name server's process loads it.

The library that reads and writes them takes 60 ms and 13 MB to load, hence no process on the way to a container imports
this module, and the name server itself does so at the first question.
"""

from __future__ import annotations

import os

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.PTR
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA  # the library would look for these by name, at the first answer
import dns.reversename
import dns.rrset

from .ports import address_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dns.message import Message
    from dns.name import Name
    from dns.rdatatype import RdataType

SERVFAIL = 2  # RFC 1035, 4.1.1
TTL = 5  # seconds: less than an address rests before another container gets it (store.rows.networks, REST)
_HEADER = 12
_RESPONSE = 0x80
_SMALLEST, _LARGEST = 512, 1232  # bytes of an answer by UDP: without EDNS, and what passes everywhere in one piece
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


class Member:
    """A container in a network: its addresses, its names (the first is what it is called), and a file that exists while it
    is there."""

    __slots__ = ("addresses", "file", "names")

    def __init__(self, addresses: Sequence[str], names: Sequence[str], file: str) -> None:
        self.addresses = addresses
        self.names = names
        self.file = file


class Directory:
    """Names and addresses of one network, to look up. Each name is also known with the network's behind it."""

    __slots__ = ("addresses", "names")

    def __init__(self, network: str, members: Iterable[Member]) -> None:
        self.names: dict[bytes, list[tuple[str, str]]] = {}  # address and file of each
        self.addresses: dict[bytes, tuple[str, str]] = {}  # name and file
        for member in members:
            for name in dict.fromkeys(member.names):
                for full in (name, f"{name}.{network}"):
                    # DNS tells no case of ASCII letters, and knows no other letters (RFC 4343).
                    mine = self.names.setdefault(_encoded(full).lower(), [])
                    mine += [(address, member.file) for address in member.addresses]
            name = next((name for name in member.names if _fits(_encoded(name))), "")
            for address in member.addresses if name else ():
                self.addresses.setdefault(address_bytes(address) or b"", (name, member.file))


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _fits(name: bytes) -> bool:
    """Return whether DNS can have a name as an answer."""
    return len(name) < 254 and all(0 < len(label) < 64 for label in name.split(b"."))


class Asker:
    """What a container may ask for: names in its networks, the first of them first; `servers` answer the rest, if it
    `forwards`."""

    __slots__ = ("directories", "forwards", "servers")

    def __init__(self, directories: Sequence[Directory], servers: Sequence[str], forwards: bool) -> None:
        self.directories = directories
        self.servers = servers
        self.forwards = forwards


class Answer:
    """An answer: `data`, b"" when the question is to be ignored; `forwarded` when other servers are to be asked.

    While the files `members` exist and no directory changes, a `lasting` one has `turns` variants, for that many turns.
    """

    __slots__ = ("data", "forwarded", "lasting", "members", "turns")

    def __init__(
        self,
        data: bytes,
        forwarded: bool = False,
        lasting: bool = False,
        members: tuple[str, ...] = (),
        turns: int = 1,
    ) -> None:
        self.data = data
        self.forwarded = forwarded
        self.lasting = lasting
        self.members = members
        self.turns = turns


class _Found:
    """The data of a name, as text, and whose it is: files of those that are there, and whether some are not."""

    __slots__ = ("data", "members", "missing", "turns")

    def __init__(self, data: Sequence[str], members: Sequence[str], missing: bool, turns: int = 1) -> None:
        self.data = data
        self.members = tuple(dict.fromkeys(members))
        self.missing = missing
        self.turns = turns


def answer(query: bytes, asker: Asker, turn: int, stream: bool) -> Answer:
    """Return the answer to a query of a container.

    Names that it may ask for have addresses (RFC 1035, RFC 3596) or, of other types, no data (RFC 2308, 2.2). The addresses
    of a name start at the `turn`-th. Unless it goes by `stream` an answer has the size that the client takes (RFC 6891);
    what does not fit is left out, and the client is asked to retry over TCP (RFC 2181, 9).
    """
    if len(query) < _HEADER or query[2] & _RESPONSE:
        return Answer(b"")  # answers to answers would go on forever
    if query[2] >> 3 & 0xF != dns.opcode.QUERY:
        return Answer(_bare(query, dns.rcode.NOTIMP))
    try:
        message = dns.message.from_wire(query, keyring=False, question_only=True)
    except Exception:  # whatever a stranger's bytes bring about
        return Answer(_bare(query, dns.rcode.FORMERR))
    if len(message.question) != 1:
        return Answer(_bare(query, dns.rcode.FORMERR))  # RFC 9619
    question = message.question[0]
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
        return Answer(_written(_reply(message, dns.rcode.REFUSED), _SMALLEST))
    found = None
    for directory in asker.directories:
        found = _look_up(question.name, question.rdtype, directory, turn)
        if found is not None:
            break
    if found is None:
        return Answer(b"", forwarded=True)
    try:
        message = dns.message.from_wire(query, keyring=False)
    except Exception:
        return Answer(_bare(query, dns.rcode.FORMERR))
    if message.edns > 0:
        return Answer(_written(_reply(message, dns.rcode.BADVERS), _SMALLEST))
    reply = _reply(message, dns.rcode.NOERROR)
    if found.data:
        records = dns.rrset.from_text_list(question.name, TTL, dns.rdataclass.IN, question.rdtype, found.data)
        reply.answer.append(records)
    largest = 65535
    if not stream:
        largest = min(max(message.payload, _SMALLEST), _LARGEST) if message.edns >= 0 else _SMALLEST
    return Answer(_written(reply, largest), lasting=not found.missing, members=found.members, turns=found.turns)


def failure(query: bytes, code: int = SERVFAIL) -> bytes:
    """Return the answer to a query that `answer` found sound, but that cannot be answered."""
    try:
        message = dns.message.from_wire(query, keyring=False, question_only=True)
        return _written(_reply(message, dns.rcode.Rcode(code)), _SMALLEST)
    except Exception:
        return _bare(query, code)


def _look_up(name: Name, kind: RdataType, directory: Directory, turn: int) -> _Found | None:
    """Return the data of a name; None when it is not known here."""
    labels = name.labels[:-1]
    if len(labels) > 2 and labels[-1].lower() == b"arpa":
        return _look_up_address(name, kind, directory)
    entries = directory.names.get(b".".join(labels).lower())
    if entries is None:
        return None
    # Containers that end write nothing: what is gone with them are their files.
    there = [entry for entry in entries if os.path.exists(entry[1])]
    if not there:
        return None
    family = {dns.rdatatype.A: False, dns.rdatatype.AAAA: True}.get(kind)
    chosen = list(dict.fromkeys(address for address, _ in there if (":" in address) is family))
    start = turn % len(chosen) if chosen else 0
    members = [file for _, file in there]
    return _Found(chosen[start:] + chosen[:start], members, len(there) < len(entries), max(1, len(chosen)))


def _look_up_address(name: Name, kind: RdataType, directory: Directory) -> _Found | None:
    try:
        entry = directory.addresses.get(address_bytes(dns.reversename.to_address(name)) or b"")
    except (dns.exception.DNSException, ValueError):
        return None
    if entry is None or not os.path.exists(entry[1]):
        return None
    # In the form of zone files, where what is no letter is escaped.
    text = dns.name.Name((*_encoded(entry[0]).split(b"."), b"")).to_text()
    return _Found([text] if kind == dns.rdatatype.PTR else [], [entry[1]], False)


def _reply(query: Message, code: dns.rcode.Rcode) -> Message:
    reply = dns.message.make_response(query, recursion_available=True, our_payload=_LARGEST)
    reply.set_rcode(code)
    return reply


def _written(reply: Message, size: int) -> bytes:
    wire = _wire(reply)
    if len(wire) <= size or not reply.answer:
        return wire
    # Some clients never ask by TCP: they take what is there.
    whole = reply.answer.pop()
    records = list(whole)
    some = dns.rrset.RRset(whole.name, whole.rdclass, whole.rdtype)
    empty = len(_wire(reply))
    record_size = -((empty - len(wire)) // len(records))
    for record in records[: (size - empty) // record_size]:
        some.add(record, whole.ttl)
    reply.answer.append(some)
    reply.flags |= dns.flags.TC
    return _wire(reply)


def _wire(reply: Message) -> bytes:
    # The order of addresses is the one that was chosen.
    return reply.to_wire(max_size=65535, prefer_truncation=True, want_shuffle=False)


def _bare(query: bytes, code: int) -> bytes:
    """Return an answer that is but a header: id, kind and "recursion desired" of the query are kept."""
    return query[:2] + bytes((_RESPONSE | query[2] & 0x79, 0x80 | code & 0xF)) + bytes(8)
