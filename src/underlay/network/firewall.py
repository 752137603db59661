"""The one table of an installation's firewall: its rules never change, containers and networks add elements to its sets.

It stands beside the tables of others. A packet passes all of them: what one drops is dropped, whatever ours says.
"""

from __future__ import annotations

import os

from ..errors import KernelError, NotFound, Unsupported
from ..linux.network import nft, rulesets
from ..linux.network.nft import Chain, Element, Set, Table
from . import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..linux.network.netlink import Request
    from .model import Network

PREFIXES = ("ul-", "underlay")  # of the names of bridges, unless the user chooses others
_LOOPBACK = bytes((127, 0, 0, 0))
_LOOPBACK6 = bytes(15) + b"\1"
_RAW, _DESTINATION, _FILTER, _SOURCE = -300, -100, 0, 100  # priorities of hooks (netfilter_ipv4.h)


def table(name: str, guard: bool) -> Table:
    """Return the table. With `guard` the host forwards nothing but what is ours: forwarding was off before us."""
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    ours_in, ours_out = nft.interfaces("iifname", "bridges"), nft.interfaces("oifname", "bridges")
    forward = [
        [nft.state("established", "related"), accept],
        [nft.both_interfaces("same"), accept],
        # From an internal network nothing leaves, and nothing comes in.
        [nft.interfaces("iifname", "internal"), drop],
        [nft.interfaces("oifname", "internal"), drop],
        [ours_out, nft.redirected(), accept],
        # Published ports of containers that are reached by their own addresses, and that they are there at all.
        *([nft.destination(version, f"open{version}"), accept] for version in (4, 6)),
        *(
            [nft.interfaces("oifname", f"routed{version}"), nft.protocol(*icmp), accept]
            for version, icmp in ((4, ("icmp", 1)), (6, ("ipv6-icmp", 58)))
        ),
        *(
            [
                nft.interfaces("iifname", "bridges", inverted=True),
                nft.interfaces("oifname", f"unprotected{version}"),
                nft.version(version),
                accept,
            ]
            for version in (4, 6)
        ),
        [ours_out, drop],
        [ours_in, accept],
    ]
    if guard:
        # Bridges of other installations are the business of their tables.
        directions = ("iifname", "oifname")
        forward.append(
            [nft.other_interface(direction, f"{begin}*") for direction in directions for begin in PREFIXES] + [drop]
        )
    publish = [[nft.translate(version, f"published{version}", False)] for version in (4, 6)]
    # Answers for ::1 would not be taken from another interface (ip6_rcv): a process relays it
    # (runtime.monitor.networks.portrelay).
    publish.append([nft.within(6, "daddr", _LOOPBACK6, 128, "::1"), nft.verdict(nft.RETURN)])
    publish += [
        [nft.local_destination(), nft.translate(version, f"published_any{version}", True)] for version in (4, 6)
    ]
    jump = [nft.verdict(nft.JUMP, "publish")]
    return Table(
        name,
        [
            Set("bridges", (nft.INTERFACE,)),
            Set("internal", (nft.INTERFACE,)),
            Set("same", (nft.INTERFACE, nft.INTERFACE)),
            Set("gateways4", (nft.INTERFACE, nft.ADDRESS4)),
            Set("gateways6", (nft.INTERFACE, nft.ADDRESS6)),
            Set("subnets4", (nft.ADDRESS4,), interval=True),
            Set("subnets6", (nft.ADDRESS6,), interval=True),
            *(Set(f"{name}{version}", (nft.INTERFACE,)) for name in ("routed", "unprotected") for version in (4, 6)),
            Set("open4", (nft.ADDRESS4, nft.PROTOCOL, nft.PORT)),
            Set("open6", (nft.ADDRESS6, nft.PROTOCOL, nft.PORT)),
            Set("published4", (nft.ADDRESS4, nft.PROTOCOL, nft.PORT), (nft.ADDRESS4, nft.PORT)),
            Set("published6", (nft.ADDRESS6, nft.PROTOCOL, nft.PORT), (nft.ADDRESS6, nft.PORT)),
            Set("published_any4", (nft.PROTOCOL, nft.PORT), (nft.ADDRESS4, nft.PORT)),
            Set("published_any6", (nft.PROTOCOL, nft.PORT), (nft.ADDRESS6, nft.PORT)),
        ],
        [
            Chain("publish", publish),
            Chain(
                "raw",
                # What is published for 127.0.0.1 is this host's alone: else it would be redirected before the kernel
                # finds that sending there is forbidden. Bridges may even hold its addresses (route_localnet).
                [[nft.other_interface("iifname", "lo"), nft.within(4, "daddr", _LOOPBACK, 8, "127.0.0.0/8"), drop]],
                "filter",
                nft.PREROUTING,
                _RAW,
            ),
            Chain("destination", [jump], "nat", nft.PREROUTING, _DESTINATION),
            Chain("destination-here", [jump], "nat", nft.OUTPUT, _DESTINATION),
            Chain(
                "source",
                [
                    [
                        nft.address(version, "saddr", f"subnets{version}"),
                        nft.address(version, "daddr", f"subnets{version}", inverted=True),
                        nft.masquerade(),
                    ]
                    for version in (4, 6)
                ]
                + [
                    # Containers that call others, or themselves, by a published port: answers must come back through here.
                    *(
                        [
                            ours_out,
                            nft.redirected(),
                            nft.address(version, "saddr", f"subnets{version}"),
                            nft.masquerade(),
                        ]
                        for version in (4, 6)
                    ),
                    # This host, by its loopback.
                    [ours_out, nft.within(4, "saddr", _LOOPBACK, 8, "127.0.0.0/8"), nft.masquerade()],
                ],
                "nat",
                nft.POSTROUTING,
                _SOURCE,
            ),
            Chain("forward", forward, "filter", nft.FORWARD, _FILTER),
            Chain(
                "input",
                [
                    [
                        nft.interfaces("iifname", "internal"),
                        nft.interface_and_address(version, f"gateways{version}"),
                        accept,
                    ]
                    for version in (4, 6)
                ]
                + [
                    [nft.interfaces("iifname", "internal"), nft.protocol("ipv6-icmp", 58), accept],
                    [nft.interfaces("iifname", "internal"), drop],
                ],
                "filter",
                nft.INPUT,
                _FILTER,
            ),
        ],
    )


def elements_of(network: Network) -> dict[str, list[Element]]:
    """Return what a network has in each set."""
    bridge = nft.interface(network.interface)
    contents = {"bridges": [Element(bridge)]}
    if network.connected:
        contents["same"] = [Element(bridge + bridge)]
    if network.internal:
        contents["internal"] = [Element(bridge)]
    for pool in network.pools:
        space = pool.space
        version = 4 if space.bits == 32 else 6
        if pool.gateway:
            gateway = space.wire(subnets.number_of(pool.gateway))
            contents[f"gateways{version}"] = [Element(bridge + gateway)]
        mode = network.gateway_mode(space.bits)
        if mode == "routed":
            contents[f"routed{version}"] = [Element(bridge)]
        elif mode == "nat-unprotected":
            contents[f"unprotected{version}"] = [Element(bridge)]
        if network.masquerade and not network.internal and mode != "routed":
            last = Element(space.wire(space.end), end=True) if space.end < 1 << space.bits else None
            contents[f"subnets{version}"] = [Element(space.wire(space.start)), *([last] if last else [])]
    return contents


class Rule:
    """One published port: traffic for `port` at the host's `address` ("" for all) goes to `target` at `target_port`.

    With `port` 0 it is no port of the host: the container is reached by its own address, and `target_port` is open there.
    """

    __slots__ = ("address", "port", "protocol", "target", "target_port")

    def __init__(self, address: str, port: int, protocol: str, target: str, target_port: int) -> None:
        self.address = address
        self.port = port
        self.protocol = protocol
        self.target = target
        self.target_port = target_port

    def element(self) -> tuple[str, Element]:
        """Return the map or set that it belongs to, and its element there."""
        target = subnets.parse_address(self.target)
        version = 4 if len(target) == 4 else 6
        there = nft.padded(bytes((nft.PROTOCOLS[self.protocol],)), (self.port or self.target_port).to_bytes(2, "big"))
        if not self.port:
            return f"open{version}", Element(target + there)
        data = nft.padded(target, self.target_port.to_bytes(2, "big"))
        if not self.address:
            return f"published_any{version}", Element(there, data)
        return f"published{version}", Element(subnets.parse_address(self.address) + there, data)


def elements_by_set(rules: Sequence[Rule]) -> dict[str, list[Element]]:
    """Return what published ports have in each map."""
    contents: dict[str, list[Element]] = {}
    for rule in rules:
        name, element = rule.element()
        contents.setdefault(name, []).append(element)
    return contents


_ENOENT, _EEXIST, _EPERM, _EPROTONOSUPPORT, _EOPNOTSUPP = 2, 17, 1, 93, 95
_ABSENT = (_EPERM, _EPROTONOSUPPORT, _EOPNOTSUPP)  # no privilege, or a kernel without nf_tables


class Firewall:
    """The firewall of an installation: its table, made when it is first needed, and again when another program removed it.

    `directory` (of what is true until reboot) keeps whether forwarding was off before us: the kernel forgets that.
    """

    __slots__ = ("_memory", "name")

    def __init__(self, name: str, directory: str) -> None:
        self.name = name
        self._memory = directory + "/guard"

    def admit(self, network: Network) -> bool:
        """Put the elements of a network into the table; returns whether that had to be made first: others' are missing.

        Raises KernelError, Unsupported.
        """
        wanted = elements_of(network)
        try:
            bridges = nft.elements(self.name, "bridges")
        except KernelError as error:
            if error.errno not in _ABSENT:
                raise
            bridges = []  # what follows tells why
        # All that a network has in the table comes and goes at once. The kernel takes long for changes, even for those that
        # change nothing or fail, and makes one after the other.
        if bridges is not None and wanted["bridges"][0] in bridges:
            return False
        return self._changed(nft.add(self.name, wanted, exclusive=False), there=bridges is not None)

    def dismiss(self, network: Network) -> None:
        """Take the elements of a network out again; harmless when they are not there."""
        self._without(elements_of(network))

    def publish(self, rules: Sequence[Rule]) -> None:
        """Publish ports, all or none. Raises KernelError, Unsupported."""
        contents = elements_by_set(rules)
        try:
            self._changed(nft.add(self.name, contents))
        except KernelError as error:
            if error.errno != _EEXIST:
                raise
            # A container that was killed has left elements there: which container holds a port is decided elsewhere.
            self._without(contents)
            self._changed(nft.add(self.name, contents))

    def withdraw(self, rules: Sequence[Rule]) -> None:
        """Take published ports back; harmless for those that are not there."""
        self._without(elements_by_set(rules))

    def renew(self, networks: Sequence[Network], rules: Sequence[Rule]) -> None:
        """Replace the table with its full contents, in one transaction. Raises KernelError, Unsupported."""
        contents = elements_by_set(rules)
        for network in networks:
            for name, elements in elements_of(network).items():
                contents.setdefault(name, []).extend(elements)
        _transact([*nft.make(table(self.name, self._guards())), *nft.add(self.name, contents)])

    def is_whole(self) -> bool:
        """Return whether the table is there, with its rules. Raises KernelError."""
        chains = table(self.name, False).chains
        with rulesets.opened() as connection:
            try:
                return all(
                    len(rulesets.rules(connection, nft.INET, self.name, chain.name)) >= len(chain.rules)
                    for chain in chains
                )
            except KernelError as error:
                if error.errno != _ENOENT:
                    raise
                return False

    def retire(self) -> None:
        """Remove the table, and have the host forward as little as before us; harmless without one. Raises KernelError.

        Where others rely on forwarding by now, a table that guards the host stays.
        """
        if not os.path.exists(self._memory) or not nft.exists(self.name):
            return
        if self._guards():
            with rulesets.opened() as connection:
                chains = rulesets.chains(connection)
            if any(chain.hook == nft.FORWARD and chain.table != self.name for chain in chains):
                return
            for setting in self._switched_on():
                _set(setting, "0")
        nft.transact(nft.remove(self.name))
        os.unlink(self._memory)

    def written(self) -> str:
        """Return the table as `nft` would read it. Raises NotFound when there is none."""
        made = table(self.name, self._guards())
        contents = {}
        for declared in made.sets:
            elements = nft.elements(self.name, declared.name)
            if elements is None:
                raise NotFound(
                    "the firewall table does not exist yet", "it is created with the first container in a network"
                )
            contents[declared.name] = nft.write_elements(declared, elements)
        return nft.write(made, contents)

    def _changed(self, requests: list[Request], there: bool = True) -> bool:
        """Have changes made; the table is made first where it is missing, which is returned. Unless it was `there`, making
        it is the first try."""
        if there:
            try:
                _transact(requests)
                return False
            except KernelError as error:
                if error.errno != _ENOENT:
                    raise
        if not nft.exists(self.name):
            try:
                _transact([*nft.make(table(self.name, self._guards()), anew=False), *requests])
                return True
            except KernelError as error:
                if error.errno != _EEXIST:
                    raise
        # Another container, which starts at the same time, has made it meanwhile.
        _transact(requests)
        return False

    def _without(self, contents: dict[str, list[Element]]) -> None:
        try:
            nft.take_away(self.name, contents)
        except KernelError as error:
            if error.errno not in _ABSENT:
                raise

    def _guards(self) -> bool:
        """Return whether this host had forwarding disabled when it was first checked, in this namespace."""
        here = str(os.stat("/proc/thread-self/ns/net").st_ino)
        try:
            with open(self._memory, encoding="ascii") as file:
                words = file.read().split()
            if words[:1] == [here]:
                return words[1] == "guarded"
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._memory), mode=0o700, exist_ok=True)
        off = [setting for setting in _SETTINGS if _get(setting) == "0"]
        guards = _SETTINGS[0] in off
        with open(self._memory, "w", encoding="ascii") as file:
            file.write(" ".join((here, "guarded" if guards else "open", *off)))
        return guards

    def _switched_on(self) -> list[str]:
        """Return the settings that were off before us."""
        with open(self._memory, encoding="ascii") as file:
            return file.read().split()[2:]


_SETTINGS = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")  # below /proc/sys/net


def _get(setting: str) -> str:
    try:
        with open(f"/proc/sys/net/{setting}", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""  # no IPv6


def _set(setting: str, value: str) -> None:
    with open(f"/proc/sys/net/{setting}", "w", encoding="ascii") as file:
        file.write(value)


def _transact(requests: list[Request]) -> None:
    try:
        nft.transact(requests)
    except KernelError as error:
        if error.errno in _ABSENT:
            raise Unsupported(
                f"the firewall (nf_tables) cannot be used: {error.message}", "use --network none or --network host"
            ) from None
        raise
