"""Published ports: reserved on the host when a container starts, released when it ends."""

from __future__ import annotations

import os
import time

from ...errors import Conflict, NotFound, Unsupported
from ...events import Event
from ...lean.values import Value
from ...linux.network import hostports
from ...network import ports as port_words
from ...network import subnets
from ...network.firewall import Rule
from ...network.model import BRIDGE
from ...runtime.monitor import control
from ...store.rows import containers
from ...store.rows import networks as rows
from ...store.rows.networks import Port
from .. import presence
from .records import firewall_of, paired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...network.model import Network
    from ...runtime.monitor.records import PortRelay
    from ...store.rows.intent import Intent, Publication
    from ...store.store import Store
    from ..containers.specification.request import Request

_TRIES = 50  # random ports that are tried
_PATIENCE = 10.0  # seconds for another container that has a port to have started or ended


def wanted_ports(request: Request, exposed: Iterable[str]) -> list[Publication]:
    """Return the ports that are to be published, as the intent has them; `exposed` are the image's. Raises InvalidInput."""
    ports = list(request.ports)
    if request.options.publish_all:
        named = {(port.port, port.protocol) for port in ports}
        of_image = [port for text in exposed for port in port_words.parse_exposed(text)]
        ports += [port for port in (*of_image, *request.exposed) if (port.port, port.protocol) not in named]
    return [
        {"port": e.port, "protocol": e.protocol, "address": e.address, "first": e.first, "last": e.last} for e in ports
    ]


class Target(Value):
    """An address of a container that ports lead to; `direct` if it is reached by that itself and not by this host's."""

    address: str
    direct: bool = False

    def takes(self, address: str) -> bool:
        """Return whether a port that is published at an address of this host ("" for all) leads to it."""
        return not address or (":" in address) == (":" in self.address)


def publish(
    store: Store,
    container_id: str,
    intent: Intent,
    leases: Sequence[rows.Lease],
    networks: dict[str, Network],
) -> list[Rule]:
    """Reserve the host ports that a container publishes, and forward their traffic to it.

    Raises Unsupported, Conflict, KernelError.
    """
    if not intent.get("ports"):
        return []
    if not any(_leads(networks[lease.network]) for lease in leases):
        raise Unsupported(
            "ports cannot be published: the container is only in networks that are internal, macvlan or ipvlan",
            "drop -p, or add a bridge network",
        )
    targets = reached(store, leases)
    wanted = _bound(intent, [networks[lease.network] for lease in leases])
    _refuse_dead_ends({publication["address"] for publication in wanted}, targets)
    _warn_of_open_ports(store, container_id, wanted, targets)
    of_host = [each for each in wanted if _uses_host(each["address"], targets)]
    rules = rules_of(_held(store, container_id, of_host), targets) + _opened(wanted, targets)
    firewall_of(store).publish(rules)
    _forget_flows(rules)
    return rules


def _uses_host(address: str, targets: Sequence[Target]) -> bool:
    """Return whether a port at an address of this host leads from there to a container with these addresses."""
    translated = [target for target in targets if not target.direct]
    if any(target.takes(address) for target in translated):
        return True
    # What comes by IPv6 is relayed to the container's address of IPv4, unless it is reached by one of IPv6 itself.
    return ":" in address and bool(translated) and not any(t.direct and t.takes(address) for t in targets)


def _forget_flows(rules: Sequence[Rule]) -> None:
    """Have the kernel forget where it sent packets of UDP to these ports before."""
    loose = [
        (subnets.parse_address(rule.address) if rule.address else b"", rule.port)
        for rule in rules
        if rule.protocol == "udp" and rule.port
    ]
    if loose:
        from ...linux.network import conntrack

        conntrack.forget(loose)


def _warn_of_open_ports(
    store: Store, container_id: str, wanted: Sequence[Publication], targets: Sequence[Target]
) -> None:
    """Emit a `host.warning` for each port that is published at one address, but open to all at the container's own."""
    for publication in wanted:
        address, port = publication["address"], f"{publication['port']}/{publication['protocol']}"
        if address not in ("", "0.0.0.0", "::") and any(t.direct and t.takes(address) for t in targets):
            message = f"port {port} is open to everybody at the container's own address: the network is routed"
            hint = f"{address} has no effect there; publish it in a network whose gateway mode is nat"
            store.emit(Event("host.warning", container_id, message=message, hint=hint))


def _leads(network: Network) -> bool:
    """Return whether ports of containers in a network can be published."""
    return network.driver == BRIDGE and not network.internal


def _bound(intent: Intent, networks: Sequence[Network]) -> list[Publication]:
    """Return the ports that a container publishes; those that name no address of this host are published at the addresses
    that the first network with ports says."""
    addresses = next((network.bindings for network in networks if _leads(network)), []) or [""]
    publications: list[Publication] = []
    for publication in intent.get("ports") or []:
        given = [publication["address"]] if publication["address"] else addresses
        publications += [{**publication, "address": address} for address in given]
    return publications


def _opened(wanted: Sequence[Publication], targets: Sequence[Target]) -> list[Rule]:
    """Return the rules of ports that are reached by the container's own addresses, each once."""
    rules = {
        (target.address, each["protocol"], each["port"]): Rule("", 0, each["protocol"], target.address, each["port"])
        for target in targets
        if target.direct
        for each in wanted
        if target.takes(each["address"])
    }
    return list(rules.values())


def hold(store: Store, container_id: str, intent: Intent) -> list[Port]:
    """Reserve the host ports that a container publishes, for somebody else to forward. Raises Conflict."""
    return _held(store, container_id, intent.get("ports") or [])


def held(store: Store, container_id: str) -> dict[str, Sequence[str]]:
    """Return the host addresses of ports that were reserved by `hold`, in the form of `published`."""
    shown: dict[str, list[str]] = {}
    for port in rows.ports(store.meta, container_id):
        address = f"[{port.address}]" if ":" in port.address else port.address or "0.0.0.0"
        shown.setdefault(f"{port.target}/{port.protocol}", []).append(f"{address}:{port.port}")
    return {name: sorted(addresses) for name, addresses in sorted(shown.items())}


def _refuse_dead_ends(addresses: set[str], targets: Sequence[Target]) -> None:
    """Raise Unsupported where an address of this host leads to nothing that the container has."""
    for address in sorted(addresses - {""}):
        if ":" not in address and not any(target.takes(address) for target in targets):
            raise Unsupported(
                f"ports cannot be published on {address}: the container has no IPv4 address",
                "add a network that has IPv4, or publish on another address",
            )


def move(store: Store, container_id: str, before: Sequence[rows.Lease], after: Sequence[rows.Lease]) -> None:
    """Forward the ports of a running container to its endpoints `after`: those of `before` may soon be reused."""
    old, new = (_current(store, container_id, leases) for leases in (before, after))
    if [rule.target for rule in old] == [rule.target for rule in new]:
        return
    wall = firewall_of(store)
    wall.withdraw(old)
    try:
        if new:
            wall.publish(new)
    except BaseException:
        if old:
            wall.publish(old)
        raise
    _forget_flows([*old, *new])
    relays = relays_of(rows.ports(store.meta, container_id), reached(store, after))
    channel = control.connect(store.paths.container_state(container_id)) if relays else None
    if channel is not None:
        control.ask(channel, {"relays": relays})
        channel.close()


def _current(store: Store, container_id: str, leases: Sequence[rows.Lease]) -> list[Rule]:
    """Return the rules of the ports that a container holds and has open, when it has these endpoints."""
    targets = reached(store, leases)
    rules = rules_of(rows.ports(store.meta, container_id), targets)
    if any(target.direct for target in targets):
        try:
            intent = containers.find(store.meta, container_id).intent
        except NotFound:
            return rules  # a step of a build
        rules += _opened(_bound(intent, [network for _, network in paired(store, leases)]), targets)
    return rules


def of_container(store: Store, container_id: str) -> list[Rule]:
    """Return the rules of the ports that a container holds and has open."""
    return _current(store, container_id, rows.leases(store.meta, container=container_id))


def later(store: Store, container_id: str, rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that a container's ports may get besides `rules` while it runs: when it joins other networks."""
    anywhere = [Target("0.0.0.0"), Target("::")]
    there = {(":" in rule.target, rule.address, rule.port, rule.protocol) for rule in rules}
    possible = rules_of(rows.ports(store.meta, container_id), anywhere)
    return [rule for rule in possible if (":" in rule.target, rule.address, rule.port, rule.protocol) not in there]


def withdraw(store: Store, container_id: str) -> None:
    """Release a container's ports. Harmless when it has none."""
    rules = of_container(store, container_id)
    if rules:
        firewall_of(store).withdraw(rules)
    rows.let_go(store.meta, container_id)


def _held(store: Store, container_id: str, wanted: Sequence[Publication]) -> list[Port]:
    """Reserve ports of the host for a container. Raises Conflict when one of them is not available."""
    fixed = [
        Port(publication["protocol"], publication["first"], publication["address"], container_id, publication["port"])
        for publication in wanted
        if publication["first"] and publication["first"] == publication["last"]
    ]
    problem = _take(store, fixed)
    if problem:
        raise _refused(problem)
    held = fixed
    for publication in wanted:
        if publication["first"] and publication["first"] == publication["last"]:
            continue
        for number in _candidates(publication["first"], publication["last"]):
            port = Port(publication["protocol"], number, publication["address"], container_id, publication["port"])
            problem = _take(store, [port])
            if not problem:
                held.append(port)
                break
        else:
            raise _refused(problem)
    return held


def _refused(problem: str) -> Conflict:
    return Conflict(
        f"failed to set up container networking: {problem}",
        "choose another host port with -p, or leave it out for a random one",
    )


def _take(store: Store, wanted: list[Port]) -> str:
    """Reserve ports, all or none; returns what blocks the first unavailable one, "" when all are reserved."""
    other = rows.hold(store.meta, wanted)
    while other is not None and other.container != wanted[0].container and _given_back(store, other.container):
        other = rows.hold(store.meta, wanted)
    if other is not None:
        return f"Bind for {other.address or '0.0.0.0'}:{other.port} failed: port is already allocated"
    for port in wanted:
        for address in [port.address] if port.address else ["", "::"]:
            problem = _used_by_host(port.protocol, address, port.port)
            if problem:
                rows.let_go(store.meta, port.container, wanted)
                return problem
    return ""


def _given_back(store: Store, container_id: str) -> bool:
    """Release the ports of a dead container; False if it is running or starting.

    The container's lock is held, so that its monitor cannot interfere.
    """
    deadline = time.monotonic() + _PATIENCE
    while not presence.is_running(store, container_id) and time.monotonic() < deadline:
        try:
            # The lock keeps its monitor from interfering. The monitor may also be starting the container: then it is
            # unknown how long it holds the lock, or whether it waits for a port of ours.
            lock = presence.hold(store, container_id, patience=0.05)
        except NotFound:
            withdraw(store, container_id)
            return True
        except Conflict:
            continue
        try:
            withdraw(store, container_id)
        finally:
            lock.release()
        return True
    return False


def _candidates(first: int, last: int) -> list[int]:
    if first:
        return list(range(first, last + 1))
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = (int(word) for word in file.read().split())
    return [low + int.from_bytes(os.urandom(4), "big") % (high - low + 1) for _ in range(_TRIES)]


def _used_by_host(protocol: str, address: str, number: int) -> str:
    """Return an error text if a program on this host uses a port, "" when it is free."""
    try:
        fd = hostports.bind(protocol, address, number)
    except Conflict as error:
        return error.message
    if fd >= 0:
        os.close(fd)
    return ""


def reached(store: Store, leases: Sequence[rows.Lease]) -> list[Target]:
    """Return the addresses of a container that ports can lead to: not those in internal networks."""
    targets = []
    for lease, network in paired(store, leases):
        if _leads(network):
            for bits, address in ((32, lease.address4), (128, lease.address6)):
                if address:
                    targets.append(Target(address, network.gateway_mode(bits) == "routed"))
    return targets


def rules_of(ports: Sequence[Port], targets: Sequence[Target]) -> list[Rule]:
    """Return the rules of ports of the host: to the first address of each kind that it translates to, as the host's
    address allows."""
    first4, first6 = _translated(targets)
    rules = []
    for port in ports:
        if first4 and ":" not in port.address:
            rules.append(Rule(_any4(port.address), port.port, port.protocol, first4, port.target))
        if first6 and (":" in port.address or not port.address) and not _is_loopback6(port.address):
            rules.append(
                Rule("" if port.address == "::" else port.address, port.port, port.protocol, first6, port.target)
            )
    return rules


def _translated(targets: Sequence[Target]) -> tuple[str, str]:
    """Return the first address of IPv4 and of IPv6 that ports of the host lead to, "" for none."""
    addresses = [target.address for target in targets if not target.direct]
    first4 = next((address for address in addresses if ":" not in address), "")
    return first4, next((address for address in addresses if ":" in address), "")


def _is_loopback6(address: str) -> bool:
    # ip6_rcv drops what comes for ::1 from another interface, answers that were translated back among it.
    return port_words.address_bytes(address) == bytes(15) + b"\1"


def relays_of(ports: Sequence[Port], targets: Sequence[Target]) -> list[PortRelay]:
    """Return the ports at addresses of IPv6 that a process relays: all those for ::1, and where the container has IPv4
    alone those that come by other addresses. None where it is reached by its own address of IPv6."""
    if any(target.direct and ":" in target.address for target in targets) or not os.path.exists("/proc/net/if_inet6"):
        return []
    first4, first6 = _translated(targets)
    return [
        {
            "protocol": port.protocol,
            "address": port.address or "::",
            "number": port.port,
            "target": first6 or first4,
            "target_port": port.target,
        }
        for port in ports
        if port.protocol != "sctp" and (":" in port.address or not port.address) and (first4 or first6)
    ]


def _any4(address: str) -> str:
    return "" if address == "0.0.0.0" else address


def published(store: Store, container_id: str) -> dict[str, Sequence[str]]:
    """Return the host addresses by which a container's ports are reached: see `Containers.ports`. A port that is
    reached by the container's own address is not among them."""
    addresses_of: dict[str, list[str]] = {}
    targets = reached(store, rows.leases(store.meta, container=container_id))
    for port in rows.ports(store.meta, container_id):
        addresses = [rule.address or ("0.0.0.0" if "." in rule.target else "::") for rule in rules_of([port], targets)]
        addresses += [relay["address"] for relay in relays_of([port], targets)]
        for address in dict.fromkeys(addresses):
            shown = f"[{address}]" if ":" in address else address
            addresses_of.setdefault(f"{port.target}/{port.protocol}", []).append(f"{shown}:{port.port}")
    for rule in of_container(store, container_id):
        if not rule.port:
            shown = "[::]" if ":" in rule.target else "0.0.0.0"
            addresses_of.setdefault(f"{rule.target_port}/{rule.protocol}", []).append(f"{shown}:")
    return {name: sorted(endpoints) for name, endpoints in sorted(addresses_of.items())}
