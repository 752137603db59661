"""The nf_tables rules of other programs on this host: chains and rules as they are, and rules put at the head of a chain.

Rules are written with the expressions that iptables-nft writes, so that it can still list its chains
(linux/netfilter/nf_tables.h; iptables, nft-shared.c).
"""

from __future__ import annotations

from . import netlink
from .netlink import CREATE, NETFILTER, Netlink, Request, attribute, attributes, nested, pieces, text
from .nft import INET, big, expression

IPV4, IPV6 = 2, 10  # families of tables, beside INET for both
FAMILIES = {IPV4: "ip", INET: "inet", IPV6: "ip6"}
_SUBSYSTEM = 10 << 8
_NEWRULE, _GETCHAIN, _GETRULE, _DELRULE, _GETGEN = 6, 4, 7, 8, 16
_REGISTER, _VERDICT = 1, 0
_IIFNAME, _OIFNAME = 6, 7
_DROP, _ACCEPT, _RETURN, _JUMP, _GOTO = 0, 1, -5, -3, -4
# What a rule may hold that decides nothing.
_NEUTRAL = frozenset(("counter", "log"))


class Chain:
    """A chain: `family` of its table, `table`, `name`; `hook` (-1: none), whether it drops what no rule decides."""

    __slots__ = ("drops", "family", "hook", "name", "table")

    def __init__(self, family: int, table: str, name: str, hook: int, drops: bool) -> None:
        self.family = family
        self.table = table
        self.name = name
        self.hook = hook
        self.drops = drops


class Rule:
    """A rule: its `handle`, and its expressions, each as name and attributes."""

    __slots__ = ("expressions", "handle")

    def __init__(self, handle: bytes, expressions: list[tuple[str, dict[int, bytes]]]) -> None:
        self.handle = handle
        self.expressions = expressions

    @property
    def rejects_all(self) -> bool:
        """Whether every packet that comes to it is dropped or rejected."""
        names = [name for name, _ in self.expressions if name not in _NEUTRAL]
        if names == ["reject"]:
            return True
        if names == ["target"]:
            return self.expressions[-1][1].get(1, b"").rstrip(b"\0") in (b"REJECT", b"DROP")
        return names == ["immediate"] and self._verdict() == (_DROP, "")

    @property
    def goes_to(self) -> str:
        """The chain that every packet that comes to it goes on with, "" for none."""
        names = [name for name, _ in self.expressions if name not in _NEUTRAL]
        code, chain = self._verdict() if names == ["immediate"] else (_ACCEPT, "")
        return chain if code in (_JUMP, _GOTO) else ""

    def _verdict(self) -> tuple[int, str]:
        for name, parts in self.expressions:
            if name == "immediate":
                verdict = attributes(attributes(parts.get(2, b"")).get(2, b""))
                code = int.from_bytes(verdict.get(1, b"\0\0\0\1"), "big", signed=True)
                return code, verdict.get(2, b"").rstrip(b"\0").decode("utf-8", "replace")
        return _ACCEPT, ""

    def interfaces(self) -> list[bytes]:
        """Return the names, or beginnings of names, that interfaces are compared with."""
        names: list[bytes] = []
        loaded = False
        for name, parts in self.expressions:
            if name == "meta":
                loaded = int.from_bytes(parts.get(2, b""), "big") in (_IIFNAME, _OIFNAME)
            elif name == "cmp" and loaded and not int.from_bytes(parts.get(2, b""), "big"):
                names.append(attributes(parts.get(3, b"")).get(1, b""))
        return names

    def sets(self) -> list[str]:
        """Return the names of the sets that it looks something up in."""
        return [parts.get(1, b"").rstrip(b"\0").decode() for name, parts in self.expressions if name == "lookup"]


def _head(family: int) -> bytes:
    return bytes((family, 0, 0, 0))


def chains(connection: Netlink) -> list[Chain]:
    """Return all chains of IPv4, IPv6 and both. Raises KernelError."""
    result = []
    for family in FAMILIES:
        for _, data in connection.dump(_SUBSYSTEM | _GETCHAIN, _head(family), "list chains"):
            if data[0] != family:
                continue
            parts = attributes(data[4:])
            table, name = (parts[kind].rstrip(b"\0").decode("utf-8", "replace") for kind in (1, 3))
            hook = attributes(parts[4]).get(1, b"") if 4 in parts else b""
            number = int.from_bytes(hook, "big") if hook else -1
            result.append(Chain(family, table, name, number, parts.get(5, b"\0\0\0\1") == bytes(4)))
    return result


def rules(connection: Netlink, family: int, table: str, chain: str) -> list[Rule]:
    """Return the rules of a chain, in their order. Raises KernelError."""
    payload = _head(family) + text(1, table) + text(2, chain)
    result = []
    for _, data in connection.dump(_SUBSYSTEM | _GETRULE, payload, f"list chain {chain}"):
        parts = attributes(data[4:])
        # Older kernels list other chains, too.
        if data[0] != family or (parts[1], parts[2]) != (table.encode() + b"\0", chain.encode() + b"\0"):
            continue
        expressions = []
        for _, item in pieces(parts.get(4, b"")):
            piece = attributes(item)
            expressions.append((piece.get(1, b"").rstrip(b"\0").decode(), attributes(piece.get(2, b""))))
        result.append(Rule(parts[3], expressions))
    return result


def generation(connection: Netlink) -> bytes:
    """Return what is another after each change of the tables of this network namespace. Raises KernelError."""
    return attributes(connection.ask(_SUBSYSTEM | _GETGEN, _head(0), "ask for the generation")[1][4:])[1]


def insertion(family: int, table: str, chain: str, inside: str, outside: str, accept: bool) -> Request:
    """Return what puts a rule at the head of a chain: packets that come in by an interface, or go out by one, are accepted,
    or else returned to the calling chain. A name that ends in `+` is the beginning of names, "" any interface."""
    expressions = []
    for key, name in ((_IIFNAME, inside), (_OIFNAME, outside)):
        if name:
            data = name[:-1].encode() if name.endswith("+") else name.encode() + b"\0"
            expressions += [expression("meta", attribute(2, big(key)), attribute(1, big(_REGISTER)))]
            compared = nested(3, attribute(1, data))
            expressions += [expression("cmp", attribute(1, big(_REGISTER)), attribute(2, big(0)), compared)]
    expressions.append(expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8))))
    verdict = nested(2, nested(2, attribute(1, big(_ACCEPT if accept else _RETURN))))
    expressions.append(expression("immediate", attribute(1, big(_VERDICT)), verdict))
    parts = text(1, table) + text(2, chain) + nested(4, *expressions)
    return Request(_SUBSYSTEM | _NEWRULE, _head(family) + parts, CREATE, f"insert a rule into chain {chain}")


def deletion(family: int, table: str, chain: str, rule: Rule) -> Request:
    """Return what removes a rule."""
    parts = text(1, table) + text(2, chain) + attribute(3, rule.handle)
    return Request(_SUBSYSTEM | _DELRULE, _head(family) + parts, 0, f"delete a rule of chain {chain}")


def opened() -> Netlink:
    """Return a connection to nf_tables in the network namespace of this thread. Raises KernelError."""
    return netlink.Netlink(NETFILTER)
