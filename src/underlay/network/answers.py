"""DNS messages: questions to a network's name server and its answers (RFC 1035). Only its process loads it.

The library that reads and writes them takes 60 ms and 13 MB to load, hence no process on the way to a container imports
this module, and the name server itself does so at the first question.
"""

from __future__ import annotations

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
    from collections.abc import Sequence

    from dns.message import Message
    from dns.name import Name
    from dns.rdatatype import RdataType

    from .nameserver import Description, Directory

SERVFAIL = 2  # RFC 1035, 4.1.1
TTL = 600  # seconds, as docker's
_HEADER = 12
_RESPONSE = 0x80
_SMALLEST, _LARGEST = 512, 1232  # bytes of an answer by UDP: without EDNS, and what passes everywhere in one piece
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


def answer(query: bytes, known: Description, turn: int, stream: bool, source: str = "") -> bytes | None:
    """Return the answer to a query, b"" when it is to be ignored, and None when the host's servers are to be asked.

    `source`, the address of the client, decides which networks' names are visible. Visible names have addresses (RFC 1035,
    RFC 3596) or, of other types, no data (RFC 2308, 2.2). The addresses of a name start at the `turn`-th. Unless it goes by
    `stream` an answer has the size that the client takes (RFC 6891); what does not fit is left out, and the client is
    asked to retry over TCP (RFC 2181, 9).
    """
    if len(query) < _HEADER or query[2] & _RESPONSE:
        return b""  # answers to answers would go on forever
    if query[2] >> 3 & 0xF != dns.opcode.QUERY:
        return _bare(query, dns.rcode.NOTIMP)
    try:
        message = dns.message.from_wire(query, keyring=False, question_only=True)
    except Exception:  # whatever a stranger's bytes bring about
        return _bare(query, dns.rcode.FORMERR)
    if len(message.question) != 1:
        return _bare(query, dns.rcode.FORMERR)  # RFC 9619
    question = message.question[0]
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
        return _written(_reply(message, dns.rcode.REFUSED), _SMALLEST)
    directories = known.seen_by(source)
    answer_data = next(
        (
            data
            for directory in directories
            if (data := _look_up(question.name, question.rdtype, directory, turn)) is not None
        ),
        None,
    )
    if answer_data is None:
        return None
    try:
        message = dns.message.from_wire(query, keyring=False)
    except Exception:
        return _bare(query, dns.rcode.FORMERR)
    if message.edns > 0:
        return _written(_reply(message, dns.rcode.BADVERS), _SMALLEST)
    reply = _reply(message, dns.rcode.NOERROR)
    if answer_data:
        records = dns.rrset.from_text_list(question.name, TTL, dns.rdataclass.IN, question.rdtype, answer_data)
        reply.answer.append(records)
    if stream:
        return _written(reply, 65535)
    return _written(reply, min(max(message.payload, _SMALLEST), _LARGEST) if message.edns >= 0 else _SMALLEST)


def failure(query: bytes, code: int = SERVFAIL) -> bytes:
    """Return the answer to a query that `answer` found sound, but that cannot be answered."""
    try:
        message = dns.message.from_wire(query, keyring=False, question_only=True)
        return _written(_reply(message, dns.rcode.Rcode(code)), _SMALLEST)
    except Exception:
        return _bare(query, code)


def _look_up(name: Name, kind: RdataType, known: Directory, turn: int) -> Sequence[str] | None:
    """Return the data of a name, as text; None when it is not known here."""
    labels = name.labels[:-1]
    if len(labels) > 2 and labels[-1].lower() == b"arpa":
        return _look_up_address(name, kind, known)
    addresses = known.names.get(b".".join(labels).lower())
    if addresses is None:
        return None
    if kind == dns.rdatatype.A:
        chosen = [address for address in addresses if ":" not in address]
    elif kind == dns.rdatatype.AAAA:
        chosen = [address for address in addresses if ":" in address]
    else:
        chosen = []
    start = turn % len(chosen) if chosen else 0
    return chosen[start:] + chosen[:start]


def _look_up_address(name: Name, kind: RdataType, known: Directory) -> Sequence[str] | None:
    try:
        host_name = known.addresses.get(address_bytes(dns.reversename.to_address(name)) or b"")
    except (dns.exception.DNSException, ValueError):
        return None
    if host_name is None:
        return None
    # In the form of zone files, where what is no letter is escaped.
    text = dns.name.Name((*host_name.encode("utf-8", "surrogateescape").split(b"."), b"")).to_text()
    return [text] if kind == dns.rdatatype.PTR else []


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
