"""Containers in networks: places leased when they are made; interfaces, names and ports when they start; all given back."""

from __future__ import annotations

import os

from ..errors import Conflict, InvalidInput, NotFound, Unsupported
from ..events import Event
from ..linux import netns
from ..network import bridge, firewall, subnets
from ..network import ports as port_words
from ..network.firewall import Rule
from ..network.model import BRIDGE, Network
from ..store import containers
from ..store import networks as rows
from ..store.networks import Port
from . import naming, starting
from .networks import Networks, of_lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..network.ports import Published
    from ..store.meta import Transaction
    from .engine import Engine
    from .options import ContainerOptions

_TRIES = 50  # random ports that are tried


class Place:
    """A place that a container is to have: the network, addresses as text ("" for any), MAC, names."""

    __slots__ = ("address4", "address6", "aliases", "mac", "network")

    def __init__(self, network: Network, address4: str, address6: str, mac: str, aliases: Sequence[str]) -> None:
        self.network = network
        self.address4 = address4
        self.address6 = address6
        self.mac = mac
        self.aliases = tuple(aliases)
        self._check()

    def _check(self) -> None:
        for bits, text in ((32, self.address4), (128, self.address6)):
            pool = self.network.pool(bits)
            if text and pool is None:
                raise InvalidInput(f"network {self.network.name} has no IPv{4 if bits == 32 else 6} subnet for {text}")
            if text and pool is not None:
                number = subnets.number_of(text, pool.space, "IP address")
                if number == subnets.number_of(pool.gateway):
                    raise Conflict(f"Address already in use: {text} is the gateway of network {self.network.name}")
        for alias in self.aliases:
            if not alias or not alias.isprintable() or " " in alias or len(alias) > 253:
                raise InvalidInput(f"invalid network alias {alias!r}")
        if self.mac:
            words = self.mac.split(":")
            if len(words) != 6 or any(len(w) != 2 or not set(w.lower()) <= set("0123456789abcdef") for w in words):
                raise InvalidInput(f"{self.mac} is not a valid mac address")
            if int(words[0], 16) & 1:
                raise InvalidInput(f"{self.mac} is an address of a group, and none that an interface can have")

    def choose(self, others: list[rows.Lease]) -> tuple[str, str, str, Sequence[str]]:
        """Return addresses, MAC and names, when those of all others in the network are known. Raises Conflict."""
        found = []
        for bits, text in ((32, self.address4), (128, self.address6)):
            pool = self.network.pool(bits)
            if pool is None or text:
                found.append(text and subnets.text_of(subnets.parse_address(text)))
                continue
            space = pool.space
            taken = [each.address4 if bits == 32 else each.address6 for each in others]
            used = {subnets.number_of(each) for each in taken if each}
            last = max((number for number in used), default=pool.giving.start)
            used.add(subnets.number_of(pool.gateway))
            found.append(space.written(subnets.next_free(pool.giving, space, used, last)))
        mac = self.mac.lower()
        if not mac:
            # Of the address, so that neighbours which remember it are not led astray when that is leased anew.
            tail = subnets.parse_address(found[0]) if found[0] else os.urandom(4)
            mac = ":".join(f"{byte:02x}" for byte in b"\x02\x42" + tail)
        return found[0], found[1], mac, self.aliases


def wanted(engine: Engine, wish: ContainerOptions, mode: str) -> list[Place]:
    """Return the places that a container wants, the first in the network `mode`. Raises NotFound, InvalidInput."""
    networks = Networks(engine)
    first = networks.get(mode)
    if wish.network_aliases and not first.named:
        raise InvalidInput("network-scoped aliases are only supported for user-defined networks")
    if (wish.ip or wish.ip6) and not first.named:
        raise InvalidInput("user specified IP address is supported on user defined networks only")
    found = [Place(first, wish.ip, wish.ip6, wish.mac_address, wish.network_aliases)]
    for name in wish.networks:
        other = networks.get(name)
        if any(each.network.id == other.id for each in found):
            raise InvalidInput(f"network {name} is given twice")
        found.append(Place(other, "", "", "", ()))
    return found


def _living(engine: Engine, container_id: str) -> bool:
    """Tell whether a container runs, or is about to run again."""
    from ..runtime import state

    try:
        status = engine.containers.status(engine.containers.get(container_id))
    except NotFound:
        return False
    return bool(status.pid) or status.status == state.RESTARTING


def leasing(wanted: Sequence[Place]) -> Callable[[Transaction, str], None]:
    """Return what leases places to a container in the transaction that records it."""

    def lease(sql: Transaction, container_id: str) -> None:
        for each in wanted:
            rows.lease(sql, each.network.id, container_id, each.choose)

    return lease


# Starting and ending


def place(engine: Engine, container_id: str) -> str:
    """Return the file that a container's network namespace is pinned to."""
    return engine.paths.container_state(container_id) + "/net"


def up(engine: Engine, container_id: str, intent: dict[str, Any]) -> dict[str, Any]:
    """Make a container's network namespace with its interfaces, and publish its ports.

    Returns what its monitor undoes in the end (`Monitor.release_network`). Raises Unsupported, Conflict, KernelError;
    nothing is left then.
    """
    if os.geteuid() != 0:
        raise Unsupported(
            "networks need root: an unprivileged user cannot make interfaces for containers",
            "use --network none or --network host",
        )
    path = place(engine, container_id)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    down(engine, container_id)
    namespace = netns.make(path)
    try:
        bridge.loopback_up(namespace)
        found = rows.leases(engine.meta, container=container_id)
        networks = {each.network: Networks(engine).get(each.network) for each in found}
        default = _default(networks[each.network] for each in found)
        for lease in found:
            _enter(engine, networks[lease.network], lease, namespace, networks[lease.network].id == default)
        _write_names(engine, container_id, intent, found, networks)
        rules = _publish(engine, container_id, intent, found, networks)
    except BaseException:
        os.close(namespace)
        down(engine, container_id)
        raise
    os.close(namespace)
    contents = firewall.elements_by_set(rules)
    told = {name: [element.key.hex() for element in found] for name, found in contents.items()}
    return {"namespace": path, "table": firewall.TABLE, "elements": told}


def _default(networks: Any) -> str:
    """Return the id of the network that leads everywhere else, "" for none."""
    for network in networks:
        if not network.internal and network.pool(32) is not None and network.pool(32).gateway:
            return str(network.id)
    return ""


def _enter(engine: Engine, network: Network, lease: rows.Lease, namespace: int, default: bool) -> None:
    if network.driver == BRIDGE and bridge.bring_up(network):
        # The table was not there: others have lost what they had in it. What is about to start does not count there yet.
        reload(engine)
        firewall.admit(network)
    bridge.attach(network, of_lease(lease), namespace, f"eth{lease.position}", default)
    try:
        naming.announce(engine, network)
    except (Conflict, Unsupported) as error:
        message = f"containers of network {network.name} do not find each other by name: {error.message}"
        engine.emit(Event("host.warning", network.name, message=message, hint=error.hint))


def down(engine: Engine, container_id: str) -> None:
    """Undo `up`, as far as it came: interfaces go with the namespace. Harmless when there is nothing."""
    found = rows.ports(engine.meta, container_id)
    if found:
        firewall.withdraw(_rules(found, rows.leases(engine.meta, container=container_id)))
        rows.let_go(engine.meta, container_id)
    netns.release(place(engine, container_id))


def _write_names(
    engine: Engine,
    container_id: str,
    intent: dict[str, Any],
    leases: Sequence[rows.Lease],
    networks: dict[str, Network],
) -> None:
    """Write hosts and resolv.conf as the container's addresses want them."""
    from . import creating, hostfacts
    from .options import ContainerOptions

    wish = ContainerOptions(**intent["options"])
    hostname = intent["spec"].get("hostname") or ""
    gateway = ""
    hosts = creating.LOCAL_HOSTS
    for lease in leases:
        pool = networks[lease.network].pool(32)
        gateway = gateway or (pool.gateway if pool is not None else "")
        for address in (lease.address4, lease.address6):
            if address and hostname:
                name = hostname if hostname == container_id[:12] else f"{hostname} {container_id[:12]}"
                hosts += f"{address}\t{name}\n"
    hosts = hosts + creating.extra_hosts(wish, gateway)
    resolver = creating.resolver(wish)
    named = [networks[lease.network] for lease in leases if naming.has_names(networks[lease.network])]
    if not resolver and named:
        # It knows the host's servers, and what of the host's names is looked up shortened.
        host = hostfacts.text_of("/etc/resolv.conf").splitlines()
        lines = [f"nameserver {naming.server_of(named[0])}", *(line for line in host if line.startswith("search "))]
        resolver = "\n".join([*lines, "options ndots:0"]) + "\n"
    elif not resolver:
        resolver = upstream(hostfacts.text_of("/etc/resolv.conf"))
    directory = engine.paths.container(container_id)
    for name, text in (("hosts", hosts), ("resolv.conf", resolver)):
        fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def upstream(text: str, public: bool = True) -> str:
    """Return a resolv.conf for others than this host: what only it can reach is left out.

    Where no server is left, there are `public` ones, or else those that there were.
    """
    lines = text.splitlines()
    if any(line.split()[:2] == ["nameserver", "127.0.0.53"] for line in lines):
        from . import hostfacts

        lines = hostfacts.text_of("/run/systemd/resolve/resolv.conf").splitlines() or lines
    kept = [line for line in lines if not _local_server(line)] if public else lines
    if public and not any(line.startswith("nameserver") for line in kept):
        kept += ["nameserver 8.8.8.8", "nameserver 8.8.4.4"]
    return "\n".join(kept) + "\n"


def _local_server(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver" and (words[1].startswith("127.") or words[1] == "::1")


# Ports


def wanted_ports(publish: Sequence[str], publish_all: bool, exposed: Sequence[str]) -> list[dict[str, Any]]:
    """Return the ports that are to be published, as the intent has them. Raises InvalidInput."""
    found: list[Published] = [port for text in publish for port in port_words.parse(text)]
    if publish_all:
        named = {(port.port, port.protocol) for port in found}
        for text in exposed:
            number, _, protocol = text.partition("/")
            for port in port_words.parse(f"{number}/{protocol or 'tcp'}"):
                if (port.port, port.protocol) not in named:
                    found.append(port)
    return [{name: getattr(port, name) for name in port._fields} for port in found]


def _publish(
    engine: Engine,
    container_id: str,
    intent: dict[str, Any],
    leases: Sequence[rows.Lease],
    networks: dict[str, Network],
) -> list[Rule]:
    wanted = intent.get("ports") or []
    if not wanted:
        return []
    if not any(networks[lease.network].driver == BRIDGE and not networks[lease.network].internal for lease in leases):
        raise Unsupported(
            "ports cannot be published: none of the container's networks leads out", "drop -p, or add a network"
        )
    held = _held(engine, container_id, wanted)
    rules = _rules(held, leases)
    firewall.publish(rules)
    return rules


def _held(engine: Engine, container_id: str, wanted: Sequence[dict[str, Any]]) -> list[Port]:
    """Take ports of the host for a container. Raises Conflict when one of them cannot be had."""
    fixed = [
        Port(each["protocol"], each["first"], each["address"], container_id, each["port"])
        for each in wanted
        if each["first"] and each["first"] == each["last"]
    ]
    problem = _take(engine, fixed)
    if problem:
        raise _refused(problem)
    held = fixed
    for each in wanted:
        if each["first"] and each["first"] == each["last"]:
            continue
        for number in _candidates(each["first"], each["last"]):
            port = Port(each["protocol"], number, each["address"], container_id, each["port"])
            problem = _take(engine, [port])
            if not problem:
                held.append(port)
                break
        else:
            raise _refused(problem)
    return held


def _refused(problem: str) -> Conflict:
    return Conflict(
        f"failed to set up container networking: {problem}", "choose another port with -p, or none of the host"
    )


def _take(engine: Engine, wanted: list[Port]) -> str:
    """Take ports, all or none; returns what is in the way of the first that cannot be had, "" when all are taken."""
    other = rows.hold(engine.meta, wanted)
    while other is not None and not _living(engine, other.container):
        # It has ended, perhaps without a word; what its monitor still does shall not hit us.
        starting.await_monitor(engine, other.container)
        down(engine, other.container)
        other = rows.hold(engine.meta, wanted)
    if other is not None:
        return f"Bind for {other.address or '0.0.0.0'}:{other.port} failed: port is already allocated"
    for each in wanted:
        problem = _used_by_host(each.protocol, each.address, each.port)
        if problem:
            rows.let_go(engine.meta, each.container, wanted)
            return problem
    return ""


def _candidates(first: int, last: int) -> list[int]:
    if first:
        return list(range(first, last + 1))
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = (int(word) for word in file.read().split())
    return [low + int.from_bytes(os.urandom(4), "big") % (high - low + 1) for _ in range(_TRIES)]


def _used_by_host(protocol: str, address: str, number: int) -> str:
    """Return what says that a program of this host has a port, "" when it is free."""
    import _socket

    if protocol == "sctp":
        return ""
    kind = _socket.SOCK_STREAM if protocol == "tcp" else _socket.SOCK_DGRAM
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    probe = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
    try:
        probe.bind((address or "0.0.0.0", number))
    except OSError as error:
        return f"listen {protocol} {address or '0.0.0.0'}:{number}: bind: {os.strerror(error.errno or 98).lower()}"
    finally:
        probe.close()
    return ""


def _rules(ports: Sequence[Port], leases: Sequence[rows.Lease]) -> list[Rule]:
    """Return the rules of ports: to the first address of each kind that the container has, as the host's address allows."""
    first4 = next((each.address4 for each in leases if each.address4), "")
    first6 = next((each.address6 for each in leases if each.address6), "")
    found = []
    for port in ports:
        if first4 and ":" not in port.address:
            found.append(Rule(_any4(port.address), port.port, port.protocol, first4, port.target))
        if first6 and (":" in port.address or not port.address):
            found.append(
                Rule("" if port.address == "::" else port.address, port.port, port.protocol, first6, port.target)
            )
    return found


def _any4(address: str) -> str:
    return "" if address == "0.0.0.0" else address


def published(engine: Engine, container_id: str) -> dict[str, Sequence[str]]:
    """Return where the ports of a container are reached: see `Containers.ports`."""
    found: dict[str, list[str]] = {}
    for rule, port in _paired(engine, container_id):
        address = rule.address or ("0.0.0.0" if "." in rule.target else "::")
        shown = f"[{address}]" if ":" in address else address
        found.setdefault(f"{port.target}/{port.protocol}", []).append(f"{shown}:{rule.port}")
    return {name: sorted(places) for name, places in sorted(found.items())}


def _paired(engine: Engine, container_id: str) -> list[tuple[Rule, Port]]:
    leases = rows.leases(engine.meta, container=container_id)
    return [(rule, port) for port in rows.ports(engine.meta, container_id) for rule in _rules([port], leases)]


# While containers run


def connect(engine: Engine, network: Network, name: str, address4: str, address6: str, aliases: Sequence[str]) -> None:
    """Put a container into a network: see `Networks.connect`."""
    row = containers.find(engine.meta, name)
    if "network" not in row.intent:
        raise Conflict(f"container {row.name} has no network namespace of its own that could be connected")
    wanted = Place(network, address4, address6, "", aliases)
    with engine.meta.write() as sql:
        lease = rows.lease(sql, network.id, row.id, wanted.choose)
    if not _living(engine, row.id):
        naming.amend(engine, network)
        return
    try:
        namespace = os.open(place(engine, row.id), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(engine, network, lease, namespace, False)
        finally:
            os.close(namespace)
    except BaseException:
        rows.give_back(engine.meta, network.id, row.id)
        raise


def disconnect(engine: Engine, network: Network, name: str, force: bool) -> None:
    """Take a container out of a network: see `Networks.disconnect`."""
    try:
        row = containers.find(engine.meta, name)
    except NotFound:
        if force:
            return
        raise
    lease = rows.give_back(engine.meta, network.id, row.id)
    if lease is None:
        raise Conflict(f"container {row.name} is not connected to network {network.name}")
    naming.amend(engine, network)
    if _living(engine, row.id):
        try:
            namespace = os.open(place(engine, row.id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            bridge.detach(namespace, f"eth{lease.position}")
        finally:
            os.close(namespace)


def reload(engine: Engine) -> int:
    """Make the firewall as all running containers want it; returns how many those are."""
    networks = {each.id: each for each in Networks(engine).list() if each.driver == BRIDGE}
    rules: list[Rule] = []
    count = 0
    wanted: list[Network] = []
    for network in networks.values():
        if any(_living(engine, each.container) for each in rows.leases(engine.meta, network=network.id)):
            wanted.append(network)
    for container_id in {each.container for each in rows.ports(engine.meta)}:
        if _living(engine, container_id):
            count += 1
            found = rows.ports(engine.meta, container_id)
            rules += _rules(found, rows.leases(engine.meta, container=container_id))
    firewall.renew(wanted, rules)
    return count
