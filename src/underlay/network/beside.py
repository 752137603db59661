"""Firewalls of other programs on this host: Docker's chain for others gets rules for our bridges, and chains that drop what
our bridges need are found.

A packet passes the tables of all programs, and what one drops is dropped. Docker drops what is not in its FORWARD chain;
the chain DOCKER-USER is where it wants the rules of others (docs.docker.com, "Packet filtering and firewalls").
"""

from __future__ import annotations

from ..errors import KernelError
from ..linux.network import legacytables, nft, rulesets
from ..linux.network.nft import FORWARD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..linux.network.netlink import Netlink
    from ..linux.network.rulesets import Chain, Rule

_TABLE, _CHAIN = "filter", "DOCKER-USER"
# Docker's bridges: whether our containers reach them is for its rules to say.
_DOCKERS = ("docker+", "br-+")
_ABSENT = (1, 2, 93, 95)  # EPERM, ENOENT, EPROTONOSUPPORT, EOPNOTSUPP: no privilege, no such chain, no nf_tables
_CHANGED = 85  # ERESTART
_TRIES = 20  # of a change, while others make changes
_DEPTH = 8  # of jumps that are followed


def admit(bridge: str) -> None:
    """Add a bridge's rules to Docker's chain, unless they are there or there is no such chain. Raises KernelError."""
    for family in (rulesets.IPV4, rulesets.IPV6):
        for _ in range(_TRIES):
            try:
                _admit(family, bridge)
            except KernelError as error:
                if error.errno == _CHANGED:
                    continue  # perhaps another monitor has added them
                if error.errno not in _ABSENT:
                    raise
            break


def _admit(family: int, bridge: str) -> None:
    with rulesets.opened() as connection:
        generation = rulesets.generation(connection)
        rules = rulesets.rules(connection, family, _TABLE, _CHAIN)
    if not _of_bridge(rules, bridge) and _exists(family):
        # Each is put at the head, so the last one comes first.
        wanted = [("", bridge, True), (bridge, "", True), *((bridge, name, False) for name in _DOCKERS)]
        nft.transact([rulesets.insertion(family, _TABLE, _CHAIN, *words) for words in wanted], generation)


def dismiss(bridge: str) -> None:
    """Remove a bridge's rules from Docker's chain; does nothing if there are none. Raises KernelError."""
    for family in (rulesets.IPV4, rulesets.IPV6):
        try:
            with rulesets.opened() as connection:
                rules = _of_bridge(rulesets.rules(connection, family, _TABLE, _CHAIN), bridge)
            if rules:
                nft.transact([rulesets.deletion(family, _TABLE, _CHAIN, rule) for rule in rules])
        except KernelError as error:
            if error.errno not in _ABSENT:
                raise


def _exists(family: int) -> bool:
    """Return whether Docker's chain is there: listing the rules of a missing one may give none and no error."""
    with rulesets.opened() as connection:
        return any(
            (chain.family, chain.table, chain.name) == (family, _TABLE, _CHAIN) for chain in rulesets.chains(connection)
        )


def _of_bridge(rules: Sequence[Rule], bridge: str) -> list[Rule]:
    return [rule for rule in rules if bridge.encode() + b"\0" in rule.interfaces()]


class Obstacle:
    """A chain of another program that drops what the containers of a bridge send and get. `is_ufw`: the program is ufw;
    `is_legacy`: the chain is one of iptables-legacy."""

    __slots__ = ("chain", "is_legacy", "is_ufw")

    def __init__(self, chain: Chain, is_ufw: bool = False, is_legacy: bool = False) -> None:
        self.chain = chain
        self.is_ufw = is_ufw
        self.is_legacy = is_legacy

    def text(self, bridge: str) -> str:
        """Return in one line what is dropped, and by what."""
        where = f"chain {self.chain.name} of table {rulesets.FAMILIES[self.chain.family]} {self.chain.table}"
        legacy = " (of iptables-legacy)" if self.is_legacy else ""
        return f"{where}{legacy} drops traffic of containers of {bridge}"

    def remedy(self, bridge: str) -> str:
        """Return the command that lets it pass, in the language of the program whose chain it is."""
        family, table = rulesets.FAMILIES[self.chain.family], self.chain.table
        if table == "firewalld":
            return f"firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
        if self.is_ufw:
            return f"ufw route allow in on {bridge} && ufw route allow out on {bridge}"
        if self.chain.name == "FORWARD" and table == "filter":
            command = "ip6tables" if self.chain.family == rulesets.IPV6 else "iptables"
            command += "-legacy" if self.is_legacy else ""
            return " && ".join(f"{command} -I FORWARD {way} {bridge} -j ACCEPT" for way in ("-i", "-o"))
        begin = f"nft insert rule {family} {table} {self.chain.name}"
        return " && ".join(f"{begin} {way} {bridge} accept" for way in ("iifname", "oifname"))


def obstacles(bridge: str, ipv6: bool = True) -> list[Obstacle]:
    """Return the chains of other programs that drop the traffic of a bridge; with `ipv6`, also chains for IPv6 alone.

    A chain counts that drops or rejects what none of its rules decides, unless a rule of its table names the bridge. What
    rules with other conditions do is not looked into. Raises KernelError.
    """
    result = []
    try:
        with rulesets.opened() as connection:
            chains = rulesets.chains(connection)
            for chain in chains:
                if chain.hook != FORWARD or chain.table.startswith("underlay"):
                    continue
                if chain.family == rulesets.IPV6 and not ipv6:
                    continue
                if _drops(connection, chain, chains) and not _names(connection, chain, chains, bridge):
                    beside = (other for other in chains if (other.family, other.table) == (chain.family, chain.table))
                    result.append(Obstacle(chain, any(other.name.startswith(("ufw-", "ufw6-")) for other in beside)))
    except KernelError as error:
        if error.errno not in _ABSENT:
            raise
    return result + _legacy_obstacles(bridge, ipv6)


def _legacy_obstacles(bridge: str, ipv6: bool) -> list[Obstacle]:
    """Return those of iptables-legacy."""
    found = []
    for family in (rulesets.IPV4, rulesets.IPV6) if ipv6 else (rulesets.IPV4,):
        legacy = legacytables.forward(family)
        if legacy is not None and legacy.drops and bridge not in legacy.interfaces:
            found.append(Obstacle(rulesets.Chain(family, "filter", "FORWARD", FORWARD, True), is_legacy=True))
    return found


def fingerprint() -> str:
    """Return what changes when other programs set up their chains: listing these is quick, unlike their rules.

    Raises KernelError.
    """
    import zlib

    try:
        with rulesets.opened() as connection:
            chains = [chain for chain in rulesets.chains(connection) if not chain.table.startswith("underlay")]
    except KernelError as error:
        if error.errno not in _ABSENT:
            raise
        chains = []
    legacy = [legacytables.forward(family) for family in (rulesets.IPV4, rulesets.IPV6)]
    lines = [f"legacy {table is not None and table.drops}" for table in legacy]
    lines += sorted(f"{chain.family} {chain.table} {chain.name} {chain.hook} {chain.drops}" for chain in chains)
    return f"{zlib.crc32('/'.join(lines).encode()):08x}"


def _drops(connection: Netlink, chain: Chain, chains: Sequence[Chain], depth: int = 0) -> bool:
    """Return whether a chain drops what none of its rules decides: by its policy, or by a rule for all packets."""
    if chain.drops and chain.hook >= 0:
        return True
    for rule in rulesets.rules(connection, chain.family, chain.table, chain.name):
        if rule.rejects_all:
            return True
        target = next((other for other in chains if _is(other, chain, rule.goes_to)), None)
        if target is not None and depth < _DEPTH and _drops(connection, target, chains, depth + 1):
            return True
    return False


def _is(chain: Chain, beside: Chain, name: str) -> bool:
    return bool(name) and (chain.family, chain.table, chain.name) == (beside.family, beside.table, name)


def _names(connection: Netlink, chain: Chain, chains: Sequence[Chain], bridge: str) -> bool:
    """Return whether a rule of a chain's table has to do with a bridge."""
    name = bridge.encode() + b"\0"
    for other in chains:
        if (other.family, other.table) != (chain.family, chain.table):
            continue
        for rule in rulesets.rules(connection, other.family, other.table, other.name):
            if any(name.startswith(part) for part in rule.interfaces() if part):
                return True
            for declared in rule.sets():
                elements = nft.elements(other.table, declared, other.family) or ()
                if any(element.key.rstrip(b"\0") == bridge.encode() for element in elements):
                    return True
    return False
