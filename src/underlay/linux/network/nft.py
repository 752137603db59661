"""nf_tables: tables, chains, sets and rules as data, and the messages that make them (linux/netfilter/nf_tables.h).

A rule is a list of pieces; each knows its expressions for the kernel and its words for people, those of `nft`.
"""

from __future__ import annotations

import _socket
import sys

from ...errors import KernelError
from . import netlink
from .netlink import APPEND, CREATE, NETFILTER, Netlink, Request, attribute, attributes, nested, pieces, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INET = 1  # the family of tables for IPv4 and IPv6
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
ENOENT = 2

_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_BATCH_GENERATION = 1  # NFNL_BATCH_GENID
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET, _NEWELEMENT, _GETELEMENT, _DELELEMENT = 0, 2, 3, 6, 9, 12, 13, 14
_GETCHAIN = 4

ADDRESS4, ADDRESS6, PROTOCOL, PORT, INTERFACE = 7, 8, 12, 13, 41  # data types, numbered as nft does
_SIZES = {ADDRESS4: 4, ADDRESS6: 16, PROTOCOL: 1, PORT: 2, INTERFACE: 16}
_NAMES = {
    ADDRESS4: "ipv4_addr",
    ADDRESS6: "ipv6_addr",
    PROTOCOL: "inet_proto",
    PORT: "inet_service",
    INTERFACE: "ifname",
}
_MAP, _INTERVAL = 0x8, 0x4

_REGISTER = 8  # the first of sixteen registers of 32 bits; a concatenation lies in consecutive ones
_VERDICT = 0
_AT_ONCE = 500  # elements in a message
DROP, ACCEPT, RETURN, JUMP = 0, 1, -5, -3
_VERDICTS = {DROP: "drop", ACCEPT: "accept", RETURN: "return"}
TCP, UDP, SCTP = 6, 17, 132
PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}


def big(value: int) -> bytes:
    """Return a number of 32 bits in the byte order of the network, in which nf_tables has them."""
    return (value & 0xFFFFFFFF).to_bytes(4, "big")


def interface(name: str) -> bytes:
    """Return an interface's name as a key."""
    return name.encode("utf-8", "surrogateescape").ljust(16, b"\0")


def padded(*parts: bytes) -> bytes:
    """Return a concatenated key: each part fills whole registers."""
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


# Pieces of rules


class Piece:
    """A part of a rule: `expressions` for the kernel, `words` for people."""

    __slots__ = ("expressions", "words")

    def __init__(self, words: str, *expressions: bytes) -> None:
        self.words = words
        self.expressions = expressions


def expression(name: str, *parts: bytes) -> bytes:
    """Return one expression of a rule, with its attributes."""
    return nested(1, text(1, name), nested(2, *parts))


def _meta(key: int, register: int) -> bytes:
    return expression("meta", attribute(1, big(register)), attribute(2, big(key)))


def _payload(base: int, offset: int, size: int, register: int) -> bytes:
    values = (register, base, offset, size)
    return expression("payload", *(attribute(number, big(value)) for number, value in enumerate(values, 1)))


def _compare(data: bytes, equal: bool = True) -> bytes:
    return expression(
        "cmp", attribute(1, big(_REGISTER)), attribute(2, big(0 if equal else 1)), nested(3, attribute(1, data))
    )


def _lookup(name: str, inverted: bool = False, into: int = -1) -> bytes:
    parts = [text(1, name), attribute(2, big(_REGISTER))]
    if into >= 0:
        parts.append(attribute(3, big(into)))
    if inverted:
        parts.append(attribute(5, big(1)))
    return expression("lookup", *parts)


_IIFNAME, _OIFNAME, _NFPROTO, _L4PROTO = 6, 7, 15, 16
_NETWORK, _TRANSPORT = 1, 2
_PLACES = {(4, "saddr"): (12, 4), (4, "daddr"): (16, 4), (6, "saddr"): (8, 16), (6, "daddr"): (24, 16)}


def _family(version: int) -> bytes:
    return _meta(_NFPROTO, _REGISTER) + _compare(bytes((2 if version == 4 else 10,)))


def version(number: int) -> Piece:
    """IPv4 or IPv6 only."""
    return Piece(f"meta nfproto ipv{number}", _family(number))


def interfaces(direction: str, name: str, inverted: bool = False) -> Piece:
    """The interface a packet comes in by ("iifname") or goes out by ("oifname") is in the set `name`."""
    key = _IIFNAME if direction == "iifname" else _OIFNAME
    return Piece(f"{direction} {'!= ' if inverted else ''}@{name}", _meta(key, _REGISTER), _lookup(name, inverted))


def other_interface(direction: str, name: str) -> Piece:
    """The interface is another than the one called `name`, or than all whose names begin so when that ends in `*`."""
    key = _IIFNAME if direction == "iifname" else _OIFNAME
    data = name[:-1].encode() if name.endswith("*") else interface(name)
    return Piece(f'{direction} != "{name}"', _meta(key, _REGISTER), _compare(data, False))


def out_by(name: str) -> Piece:
    """The packet goes out by the interface called `name`."""
    return Piece(f'oifname "{name}"', _meta(_OIFNAME, _REGISTER), _compare(interface(name)))


def both_interfaces(name: str) -> Piece:
    """Both interfaces, as a pair, are in the set `name`."""
    return Piece(
        f"iifname . oifname @{name}", _meta(_IIFNAME, _REGISTER), _meta(_OIFNAME, _REGISTER + 4), _lookup(name)
    )


def address(number: int, which: str, name: str, inverted: bool = False) -> Piece:
    """An address ("saddr", "daddr") of a packet of IP version `number` is in the set `name`."""
    offset, size = _PLACES[number, which]
    words = f"{'ip' if number == 4 else 'ip6'} {which} {'!= ' if inverted else ''}@{name}"
    return Piece(words, _family(number), _payload(_NETWORK, offset, size, _REGISTER), _lookup(name, inverted))


def interface_and_address(number: int, name: str) -> Piece:
    """The interface that a packet comes in by, with its destination, is in the set `name`."""
    offset, size = _PLACES[number, "daddr"]
    words = f"iifname . {'ip' if number == 4 else 'ip6'} daddr @{name}"
    load = _payload(_NETWORK, offset, size, _REGISTER + 4)
    return Piece(words, _family(number), _meta(_IIFNAME, _REGISTER), load, _lookup(name))


def within(number: int, which: str, start: bytes, prefix: int, words: str) -> Piece:
    """An address of a packet lies in the network `start`/`prefix`, written as `words`; `prefix` fills whole bytes."""
    offset, _ = _PLACES[number, which]
    size = prefix // 8
    load = _payload(_NETWORK, offset, size, _REGISTER)
    return Piece(f"{'ip' if number == 4 else 'ip6'} {which} {words}", _family(number), load, _compare(start[:size]))


def local_destination() -> Piece:
    """The destination is an address of this host."""
    fib = expression("fib", attribute(1, big(_REGISTER)), attribute(2, big(3)), attribute(3, big(2)))
    return Piece("fib daddr type local", fib, _compare((2).to_bytes(4, sys.byteorder)))


_STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8}


def _bits(key: int, mask: int) -> bytes:
    word = mask.to_bytes(4, sys.byteorder)
    load = expression("ct", attribute(1, big(_REGISTER)), attribute(2, big(key)))
    masked = expression(
        "bitwise",
        attribute(1, big(_REGISTER)),
        attribute(2, big(_REGISTER)),
        attribute(3, big(4)),
        nested(4, attribute(1, word)),
        nested(5, attribute(1, bytes(4))),
    )
    return load + masked + _compare(bytes(4), False)


def state(*names: str) -> Piece:
    """The connection is in one of these states."""
    mask = 0
    for name in names:
        mask |= _STATES[name]
    return Piece(f"ct state {','.join(names)}", _bits(0, mask))


def redirected() -> Piece:
    """The connection's destination was changed (its status has the bit `dnat`)."""
    return Piece("ct status dnat", _bits(2, 1 << 5))


def protocol(name: str, number: int) -> Piece:
    """The transport protocol."""
    return Piece(f"meta l4proto {name}", _meta(_L4PROTO, _REGISTER), _compare(bytes((number,))))


_PORTS = {"sport": 0, "dport": 2}  # where a port is in the head of TCP and UDP
_CHECKSUMS = {"tcp": 16, "udp": 6}  # where the checksum is


def port(which: str, number: int) -> Piece:
    """The source ("sport") or destination ("dport") port of TCP or UDP is this one."""
    data = number.to_bytes(2, "big")
    return Piece(f"th {which} {number}", _payload(_TRANSPORT, _PORTS[which], 2, _REGISTER), _compare(data))


def set_port(transport: str, which: str, number: int) -> Piece:
    """Write another port into the packet, which takes no note of the connection."""
    value = expression("immediate", attribute(1, big(_REGISTER)), nested(2, attribute(1, number.to_bytes(2, "big"))))
    places = (_TRANSPORT, _PORTS[which], 2)
    written = expression(
        "payload",
        *(attribute(key, big(place)) for key, place in enumerate(places, 2)),
        attribute(5, big(_REGISTER)),
        attribute(6, big(1)),  # the checksum is that of the Internet protocols
        attribute(7, big(_CHECKSUMS[transport])),
    )
    return Piece(f"{transport} {which} set {number}", value, written)


def verdict(code: int, chain: str = "") -> Piece:
    """What becomes of the packet."""
    parts = [attribute(1, big(code))]
    if chain:
        parts.append(text(2, chain))
    words = f"jump {chain}" if chain else _VERDICTS[code]
    data = nested(2, nested(2, *parts))
    return Piece(words, expression("immediate", attribute(1, big(_VERDICT)), data))


def masquerade() -> Piece:
    """The packet gets the address of the interface that it goes out by."""
    return Piece("masquerade", nested(1, text(1, "masq")))


def destination(number: int, name: str) -> Piece:
    """The destination address, protocol and port are in the set `name`."""
    offset, size = _PLACES[number, "daddr"]
    after = _REGISTER + size // 4
    loads = [_payload(_NETWORK, offset, size, _REGISTER), _meta(_L4PROTO, after), _payload(_TRANSPORT, 2, 2, after + 1)]
    words = f"{'ip' if number == 4 else 'ip6'} daddr . meta l4proto . th dport @{name}"
    return Piece(words, _family(number), *loads, _lookup(name))


def translate(number: int, name: str, any_address: bool) -> Piece:
    """Look destination address (unless `any_address`), protocol and port up in the map `name`: the new destination.

    What is not in the map goes on with the next rule.
    """
    offset, size = _PLACES[number, "daddr"]
    ip = "ip" if number == 4 else "ip6"
    loads = []
    register = _REGISTER
    words = []
    if not any_address:
        loads.append(_payload(_NETWORK, offset, size, register))
        words.append(f"{ip} daddr")
        register += size // 4
    loads += [_meta(_L4PROTO, register), _payload(_TRANSPORT, 2, 2, register + 1)]
    words += ["meta l4proto", "th dport"]
    family = 2 if number == 4 else 10
    nat = expression(
        "nat",
        attribute(1, big(1)),
        attribute(2, big(family)),
        attribute(3, big(_REGISTER)),
        attribute(5, big(_REGISTER + size // 4)),
    )
    phrase = f"dnat {ip} to {' . '.join(words)} map @{name}"
    return Piece(phrase, _family(number), *loads, _lookup(name, into=_REGISTER), nat)


# Tables


class Set:
    """A set of keys, or with `data` a map; the types of both are tuples, as for concatenations.

    With `interval` it holds networks: an element for the first address, and one marked as an end behind the last.
    """

    __slots__ = ("data", "interval", "key", "name")

    def __init__(self, name: str, key: tuple[int, ...], data: tuple[int, ...] = (), interval: bool = False) -> None:
        self.name = name
        self.key = key
        self.data = data
        self.interval = interval

    def words(self) -> str:
        """Return its declaration."""
        kind = " . ".join(_NAMES[type_number] for type_number in self.key)
        if self.data:
            kind += f" : {' . '.join(_NAMES[type_number] for type_number in self.data)}"
        flags = "; flags interval" if self.interval else ""
        return f"type {kind}{flags}"


class Chain:
    """A chain with its rules; one with a `kind` (filter, nat) begins at a hook."""

    __slots__ = ("hook", "kind", "name", "priority", "rules")

    def __init__(
        self, name: str, rules: Sequence[Sequence[Piece]], kind: str = "", hook: int = 0, priority: int = 0
    ) -> None:
        self.name = name
        self.rules = rules
        self.kind = kind
        self.hook = hook
        self.priority = priority


class Table:
    """A table of the family inet. Chains that rules jump to come before those rules' chains."""

    __slots__ = ("chains", "name", "sets")

    def __init__(self, name: str, sets: Sequence[Set], chains: Sequence[Chain]) -> None:
        self.name = name
        self.sets = sets
        self.chains = chains


class Element:
    """An element of a set: `key`, of a map `data`; `end` marks the end of an interval."""

    __slots__ = ("data", "end", "key")

    def __init__(self, key: bytes, data: bytes = b"", end: bool = False) -> None:
        self.key = key
        self.data = data
        self.end = end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Element):
            return NotImplemented
        return (self.key, self.data, self.end) == (other.key, other.data, other.end)

    def __hash__(self) -> int:
        return hash((self.key, self.data, self.end))


def _request(message: int, flags: int, what: str, *parts: bytes) -> Request:
    head = bytes((INET, 0, 0, 0))
    return Request((_SUBSYSTEM << 8) | message, head + b"".join(parts), flags, what)


def _frame(kind: int) -> Request:
    return Request(kind, bytes((0, 0)) + _SUBSYSTEM.to_bytes(2, "big"))


def transact(requests: Sequence[Request], generation: bytes = b"") -> None:
    """Have changes made, all or none, in the network namespace of this thread. Raises KernelError.

    With a `generation` (rulesets.generation) they are made only if nothing has been changed since, else errno is ERESTART.
    """
    begin = _frame(_BEGIN)
    if generation:
        begin = Request(begin.kind, begin.payload + attribute(_BATCH_GENERATION, generation))
    with Netlink(NETFILTER) as connection:
        connection.transact(begin, requests, _frame(_END))


def make(table: Table, anew: bool = True) -> list[Request]:
    """Return what makes a table. `anew`: one of the same name and all in it goes first, for which the kernel waits a few
    milliseconds even if there is none; else it is an error (EEXIST) that there is one."""
    name = text(1, table.name)
    flags = CREATE if anew else CREATE | netlink.EXCLUSIVE
    making = _request(_NEWTABLE, flags, f"make table {table.name}", name)
    # Making it is no error if it is there; so removing it is none.
    requests = [making, _request(_DELTABLE, 0, f"remove table {table.name}", name)] if anew else []
    requests.append(making)
    requests += [_make_set(name, declared, number) for number, declared in enumerate(table.sets, 1)]
    requests += [_make_chain(name, chain) for chain in table.chains]
    for chain in table.chains:
        for rule in chain.rules:
            expressions = b"".join(expression for piece in rule for expression in piece.expressions)
            what = f"add rule {' '.join(piece.words for piece in rule)}"
            requests.append(
                _request(_NEWRULE, CREATE | APPEND, what, name, text(2, chain.name), nested(4, expressions))
            )
    return requests


def remove(name: str) -> list[Request]:
    """Return what removes a table that is there."""
    return [_request(_DELTABLE, 0, f"remove table {name}", text(1, name))]


def _make_set(table: bytes, made: Set, number: int) -> Request:
    flags = (_MAP if made.data else 0) | (_INTERVAL if made.interval else 0)
    parts = [table, text(2, made.name), attribute(3, big(flags))]
    parts += [attribute(4, big(_type(made.key))), attribute(5, big(_size(made.key)))]
    if made.data:
        parts += [attribute(6, big(_type(made.data))), attribute(7, big(_size(made.data)))]
    parts.append(attribute(10, big(number)))
    if made.key == (INTERFACE,):
        # For nft, which would show names turned around: keys are in the host's order (libnftnl, udata.h).
        parts.append(attribute(13, bytes((0, 4)) + (1).to_bytes(4, sys.byteorder)))
    return _request(_NEWSET, CREATE, f"make set {made.name}", *parts)


def _type(types: tuple[int, ...]) -> int:
    number = 0
    for type_number in types:
        number = number << 6 | type_number
    return number


def _size(types: tuple[int, ...]) -> int:
    if len(types) == 1:
        return _SIZES[types[0]]
    return sum((_SIZES[type_number] + 3) & -4 for type_number in types)


def _make_chain(table: bytes, chain: Chain) -> Request:
    parts = [table, text(3, chain.name)]
    if chain.kind:
        hook = nested(4, attribute(1, big(chain.hook)), attribute(2, big(chain.priority)))
        parts += [hook, attribute(5, big(ACCEPT)), text(7, chain.kind)]
    return _request(_NEWCHAIN, CREATE, f"make chain {chain.name}", *parts)


def add(table: str, contents: Mapping[str, Sequence[Element]], exclusive: bool = True) -> list[Request]:
    """Return what adds elements to sets, by their names; if `exclusive` one that is there is an error (EEXIST)."""
    flags = CREATE | (netlink.EXCLUSIVE if exclusive else 0)
    return _each(_NEWELEMENT, flags, "add to", table, contents)


def drop(table: str, contents: Mapping[str, Sequence[Element]]) -> list[Request]:
    """Return what takes elements from sets, by their names; one that is not there is an error (ENOENT)."""
    return _each(_DELELEMENT, 0, "take from", table, contents)


def take_away(table: str, contents: Mapping[str, Sequence[Element]]) -> None:
    """Take elements from sets, whether they are all there or not. Raises KernelError."""
    try:
        transact(drop(table, contents))
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        for name, wanted in contents.items():
            there = {(element.key, element.end) for element in elements(table, name) or ()}
            left = [element for element in wanted if (element.key, element.end) in there]
            if left:
                transact(drop(table, {name: left}))


def _each(message: int, flags: int, words: str, table: str, contents: Mapping[str, Sequence[Element]]) -> list[Request]:
    requests = []
    for name, elements in contents.items():
        # The length of an attribute has 16 bits.
        for start in range(0, len(elements), _AT_ONCE):
            part = [_element(element) for element in elements[start : start + _AT_ONCE]]
            parts = (text(1, table), text(2, name), nested(3, *part))
            requests.append(_request(message, flags, f"{words} set {name}", *parts))
    return requests


def _element(element: Element) -> bytes:
    parts = [nested(1, attribute(1, element.key))]
    if element.data:
        parts.append(nested(2, attribute(1, element.data)))
    if element.end:
        parts.append(attribute(3, big(1)))
    return nested(1, *parts)


def elements(table: str, name: str, family: int = INET) -> list[Element] | None:
    """Return what is in a set of a table of a family, None when there is no such set. Raises KernelError."""
    payload = bytes((family, 0, 0, 0)) + text(1, table) + text(2, name)
    result = []
    with Netlink(NETFILTER) as connection:
        try:
            answers = connection.dump((_SUBSYSTEM << 8) | _GETELEMENT, payload, f"list set {name}")
        except KernelError as error:
            if error.errno == ENOENT:
                return None
            raise
    for _, data in answers:
        for _, item in pieces(attributes(data[4:]).get(3, b"")):
            parts = attributes(item)
            key = attributes(parts[1]).get(1, b"")
            value = attributes(parts.get(2, b"")).get(1, b"")
            result.append(Element(key, value, bool(parts.get(3, b"")[-1:] == b"\1")))
    return result


def exists(table: str) -> bool:
    """Tell whether there is a table of this name. Raises KernelError."""
    with Netlink(NETFILTER) as connection:
        try:
            connection.ask((_SUBSYSTEM << 8) | 1, bytes((INET, 0, 0, 0)) + text(1, table), f"find table {table}")
        except KernelError as error:
            if error.errno == ENOENT:
                return False
            raise
    return True


# Words


def write_elements(declared: Set, contents: Sequence[Element]) -> list[str]:
    """Return the elements of a set in words, sorted; those of intervals as first and last address."""
    if not declared.interval:
        written = []
        for element in contents:
            words = _write_key(declared.key, element.key)
            written.append(f"{words} : {_write_key(declared.data, element.data)}" if declared.data else words)
        return sorted(written)
    kind = declared.key
    starts = sorted(element.key for element in contents if not element.end)
    ends = sorted(element.key for element in contents if element.end)
    written = []
    for start in starts:
        after = next((end for end in ends if end > start), b"")
        size = len(start)
        last = int.from_bytes(after, "big") - 1 if after else (1 << size * 8) - 1
        written.append(f"{_write_key(kind, start)}-{_write_key(kind, last.to_bytes(size, 'big'))}")
    return written


def _write_key(types: tuple[int, ...], data: bytes) -> str:
    words = []
    for type_number in types:
        size = _SIZES[type_number]
        part, data = data[:size], data[(size + 3) & -4 :]
        if type_number in (ADDRESS4, ADDRESS6):
            words.append(_socket.inet_ntop(_socket.AF_INET if type_number == ADDRESS4 else _socket.AF_INET6, part))
        elif type_number == INTERFACE:
            words.append('"' + part.rstrip(b"\0").decode("utf-8", "replace") + '"')
        elif type_number == PROTOCOL:
            words.append(next((name for name, number in PROTOCOLS.items() if number == part[0]), str(part[0])))
        else:
            words.append(str(int.from_bytes(part, "big")))
    return " . ".join(words)


def write(table: Table, contents: dict[str, list[str]]) -> str:
    """Return a table as `nft` would read it; `contents` are the elements of its sets, in words."""
    lines = [f"table inet {table.name} {{"]
    for declared in table.sets:
        lines += [f"\t{'map' if declared.data else 'set'} {declared.name} {{", f"\t\t{declared.words()}"]
        if contents.get(declared.name):
            lines.append(f"\t\telements = {{ {', '.join(contents[declared.name])} }}")
        lines += ["\t}", ""]
    for chain in table.chains:
        lines.append(f"\tchain {chain.name} {{")
        if chain.kind:
            hook = _HOOKS[chain.hook]
            lines.append(f"\t\ttype {chain.kind} hook {hook} priority {chain.priority}; policy accept;")
        lines += [f"\t\t{' '.join(piece.words for piece in rule)}" for rule in chain.rules]
        lines += ["\t}", ""]
    lines[-1] = "}"
    return "\n".join(lines) + "\n"
