"""Containers in networks: addresses leased at creation; interfaces, names and ports at start; all released at the end."""

from __future__ import annotations

import os

from ...errors import Conflict, InvalidInput, NotFound, Unsupported
from ...events import Event
from ...files import Lock
from ...human import plain
from ...linux import process, userns
from ...linux.network import emptying, netns
from ...network import bridge, firewall, questions, subnets
from ...network.model import BRIDGE, IPVLAN, Network
from ...runtime.monitor import control
from ...store.rows import containers
from ...store.rows import networks as rows
from .. import presence
from . import etc_files, names, other_firewalls, ports, sidecars
from .names import BUILD
from .records import Records, firewall_of, namespace_file, of_lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ...linux.specification import Linux
    from ...network.firewall import Rule
    from ...network.model import Pool
    from ...runtime.monitor.records import NetworkResources
    from ...store.rows.intent import Intent
    from ...store.rows.meta import Transaction
    from ...store.store import Store
    from ..containers.specification.request import Request

_USER = ".user"  # beside the file of a network namespace: the user namespace that it belongs to


class EndpointRequest:
    """An endpoint that a container requests: the network, addresses as strings ("" for any), MAC, names."""

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
                if number in pool.kept:
                    what = "the gateway of" if text == pool.gateway else "reserved in"
                    raise Conflict(f"Address already in use: {text} is {what} network {self.network.name}")
        for alias in self.aliases:
            if not alias or not plain(alias) or len(alias) > 253:
                raise InvalidInput(f"invalid network alias {alias!r}")
        if self.mac:
            if self.network.driver == IPVLAN:
                raise InvalidInput("ipvlan interfaces do not support custom mac address assignment")
            words = self.mac.split(":")
            if len(words) != 6 or any(len(w) != 2 or not set(w.lower()) <= set("0123456789abcdef") for w in words):
                raise InvalidInput(f"{self.mac} is not a valid mac address")
            if int(words[0], 16) & 1:
                raise InvalidInput(f"{self.mac} is a multicast address, which an interface cannot have")

    def choose(self, others: list[rows.Lease], resting: list[str]) -> tuple[str, str, str, Sequence[str]]:
        """Return addresses, MAC and names, given all others in the network and the addresses that rest (the longest first).

        Raises Conflict.
        """
        addresses = []
        for bits, text in ((32, self.address4), (128, self.address6)):
            pool = self.network.pool(bits)
            if pool is None or text:
                addresses.append(text and subnets.text_of(subnets.parse_address(text)))
                continue
            taken = [endpoint.address4 if bits == 32 else endpoint.address6 for endpoint in others]
            addresses.append(_free(pool, [text for text in taken if text], resting if bits == 32 else []))
        mac = self.mac.lower()
        if not mac and self.network.driver != IPVLAN:  # where interfaces have that of their parent
            # Of the address, so that neighbours which remember it are not led astray when that is leased anew.
            tail = subnets.parse_address(addresses[0]) if addresses[0] else os.urandom(4)
            mac = ":".join(f"{byte:02x}" for byte in b"\x02\x42" + tail)
        return addresses[0], addresses[1], mac, self.aliases


def _free(pool: Pool, taken: Sequence[str], resting: Sequence[str]) -> str:
    """Return a free address of a pool; one that rests only if there is no other. Raises Conflict."""
    space = pool.space
    used = {subnets.number_of(address) for address in taken}
    idle = [subnets.number_of(address) for address in resting]
    last = max((*used, *idle), default=pool.giving.start)
    used |= pool.kept
    try:
        number = subnets.next_free(pool.giving, space, {*used, *idle}, last)
    except Conflict:
        fit = [number for number in idle if pool.giving.holds(number) and space.usable(number) and number not in used]
        if not fit:
            raise
        number = fit[0]
    return space.written(number)


def wanted(store: Store, request: Request) -> list[EndpointRequest]:
    """Return the endpoints that a container requests, in their order. Raises NotFound, InvalidInput, Conflict."""
    networks = Records(store)
    options = request.options
    endpoints: list[EndpointRequest] = []
    for position, asked in enumerate(request.networks):
        network = networks.get(asked.name)
        if any(endpoint.network.id == network.id for endpoint in endpoints):
            raise InvalidInput(f"network {asked.name} is given twice")
        address4, address6, mac, aliases = asked.address4, asked.address6, asked.mac, list(asked.aliases)
        if position == 0:
            # The options of their own are those of the first network.
            address4, address6 = address4 or options.ip, address6 or options.ip6
            mac, aliases = mac or options.mac_address, aliases + options.network_aliases
        if aliases and not network.named:
            raise InvalidInput("network-scoped aliases are only supported for user-defined networks")
        if (address4 or address6) and not network.named:
            raise InvalidInput("user specified IP address is supported on user defined networks only")
        endpoints.append(EndpointRequest(network, address4, address6, mac, aliases))
    return endpoints


def leasing(wanted: Sequence[EndpointRequest]) -> Callable[[Transaction, str], None]:
    """Return the function that allocates a container's endpoints in the transaction that records it."""

    def lease(sql: Transaction, container_id: str) -> None:
        for request in wanted:
            rows.lease(sql, request.network.id, container_id, request.choose)

    return lease


# Starting and ending


def up(store: Store, container_id: str, intent: Intent) -> tuple[NetworkResources, Sequence[int]]:
    """Make a container's network namespace with its interfaces, and publish its ports.

    Returns what its monitor undoes in the end (`Monitor.release_network`), and the sockets for its questions, descriptors
    that the caller gives to the monitor and closes. Raises Unsupported, Conflict, NotFound, KernelError; nothing is left
    then.
    """
    if os.geteuid() != 0:
        raise Unsupported(
            "networks need root: an unprivileged user cannot make interfaces for containers",
            "use --network none or --network host",
        )
    path = namespace_file(store, container_id)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    down(store, container_id)
    _adopt(store, container_id)
    namespace = _namespace(store, container_id, intent["spec"]["linux"])
    sockets: Sequence[int] = ()
    try:
        bridge.loopback_up(namespace)
        if intent.get("cni"):
            from . import cni

            return {**cni.up(store, container_id, intent, path), "namespaces": [path, path + _USER]}, ()
        here = Records(store)
        networks = {network.id: here.settled(network) for network in here.of(container_id)}
        leases = rows.leases(store.meta, container=container_id)
        ways = _ways([networks[member.network] for member in leases])
        for lease in leases:
            leading = [bits for bits, network_id in ways.items() if network_id == lease.network]
            enter(store, networks[lease.network], lease, namespace, leading)
        service, sockets = names.open_questions(store, namespace)
        etc_files.write(store, container_id, intent, leases)
        rules = ports.publish(store, container_id, intent, leases, networks)
    except BaseException:
        questions.close(sockets)
        down(store, container_id)
        raise
    finally:
        os.close(namespace)
    relays = ports.relays_of(rows.ports(store.meta, container_id), ports.reached(store, leases))
    relayed = {(relay["protocol"], relay["address"], relay["number"]) for relay in relays}
    resources: NetworkResources = {
        "namespaces": [path, path + _USER],
        "table": firewall_of(store).name,
        "elements": _keys(rules),
        "later": _keys(ports.later(store, container_id, rules)),
        "ports": [port for port in _held(rules) if port not in relayed],
        "relays": relays,
        "names": service,
        "joined": _told(networks.values()),
    }
    for network in networks.values():
        store.emit(connected("network.connect", network, container_id))
    return resources, sockets


def connected(kind: str, network: Network, container_id: str) -> Event:
    """Return an event of the `kind` network.connect or network.disconnect for a container."""
    return Event(kind, network.id, name=network.name, type=network.driver, container=container_id)


def _told(networks: Iterable[Network]) -> dict[str, tuple[str, str]]:
    return {network.id: (network.name, network.driver) for network in networks}


def _tell(store: Store, container_id: str, networks: Iterable[Network]) -> None:
    """Send the monitor of a running container the networks that the container is in now."""
    control.inform(store.paths.container_state(container_id), {"joined": _told(networks)})


def _held(rules: Sequence[Rule]) -> list[tuple[str, str, int]]:
    """Return the ports of the host that rules take: protocol, address, number."""
    ports_of_host = [rule for rule in rules if rule.port]
    return [(rule.protocol, rule.address or ("::" if ":" in rule.target else ""), rule.port) for rule in ports_of_host]


def _adopt(store: Store, container_id: str) -> None:
    """Lease a container's addresses anew in networks that were removed while it was stopped, if networks of their names
    exist again. Raises NotFound, Conflict."""
    for orphan in rows.orphans(store.meta, container_id):
        try:
            network = Records(store).get(orphan.network)
        except NotFound:
            raise NotFound(
                f"network {orphan.network} not found: it was removed while the container was stopped",
                f"`underlay network create {orphan.network}` makes one that it can join",
            ) from None
        request = EndpointRequest(network, "", "", "", orphan.aliases)
        with store.meta.write(durable=False) as sql:
            rows.lease(sql, network.id, container_id, request.choose, orphan.position)
            rows.adopt(sql, container_id, orphan.network)


def _keys(rules: Sequence[Rule]) -> dict[str, list[str]]:
    """Return the elements of ports in each map of the firewall, in the form that is sent to a monitor."""
    contents = firewall.elements_by_set(rules)
    return {name: [element.key.hex() for element in elements] for name, elements in contents.items()}


def _namespace(store: Store, container_id: str, linux: Linux) -> int:
    """Return the network namespace of a container, pinned to its file; one with ids of its own belongs to those.

    It is a new one, unless containers that share that of the run before are still running.
    """
    path = namespace_file(store, container_id)
    user = next((namespace["path"] for namespace in linux["namespaces"] if namespace["type"] == "user"), "")
    if not user:
        shared = sidecars.namespace(store, container_id)
        if shared < 0:
            return netns.make(path)
        try:
            netns.pin(shared, path)
            emptying.empty(shared)
        except BaseException:
            os.close(shared)
            raise
        return shared
    if user == path + _USER:
        owner = userns.namespace(linux["uidMappings"], linux["gidMappings"])
    else:
        owner = os.open(user, os.O_RDONLY | os.O_CLOEXEC)  # another container's
    try:
        if user == path + _USER:
            netns.pin(owner, user)
        return netns.make(path, owner)
    finally:
        os.close(owner)


def _ways(networks: Sequence[Network]) -> dict[int, str]:
    """Return the id of the network with the default route, for each kind of address (32, 128) that has one.

    Bridges come first: what comes for published ports comes by them, and answers must leave as it came.
    """
    leading: dict[int, str] = {}
    for network in sorted(networks, key=lambda candidate: candidate.driver != BRIDGE):
        for bits in (32, 128):
            pool = network.pool(bits)
            if not network.internal and pool is not None and (pool.router or network.routes_by_interface):
                leading.setdefault(bits, network.id)
    return leading


def enter(store: Store, network: Network, lease: rows.Lease, namespace: int, leading: Collection[int]) -> None:
    """Give a namespace (a descriptor) its interface in a network; for kinds of address in `leading` (32, 128) its way to
    everywhere else.

    Raises Conflict, Unsupported, KernelError.
    """
    if network.driver == BRIDGE:
        _bring_up(store, network)
    else:
        from ...network import parents

        parents.ensure(network, firewall_of(store).name)
    bridge.attach(network, of_lease(lease), namespace, network.interface_of(lease.position), leading)


def _bring_up(store: Store, network: Network) -> None:
    """Bring a bridge up, and what it needs of this host's firewalls; warn of what stands in its way."""
    wall = firewall_of(store)
    # One after the other: of containers that start together one makes it all, and the others find it. For the kernel, which
    # takes its time to undo what failed, that is much less to do.
    directory = f"{store.paths.state}/networks"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with Lock(f"{directory}/raising.lock"):
        raised = bridge.bring_up(network, wall)
        if raised.table:
            # The table was not there: others have lost what they had in it. What is about to start does not count there
            # yet.
            reload(store)
            wall.admit(network)
    other_firewalls.admit(network)
    if raised.forwarding:
        other_firewalls.warn_of_forwarding(store, network)
    other_firewalls.warn_of_news(store, network)


def down(store: Store, container_id: str) -> None:
    """Undo `up`, as far as it came: interfaces go with the namespace, or before it where others share that. Harmless when
    there is nothing."""
    ports.withdraw(store, container_id)
    if os.path.exists(store.paths.container(container_id) + "/cni.json"):
        from . import cni

        cni.down(store, container_id)
    path = namespace_file(store, container_id)
    if sidecars.known(store, container_id):
        emptying.empty_pinned(path)
    for pinned in (path, path + _USER):
        netns.release(pinned)


# While containers run


def connect(store: Store, network: Network, name: str, address4: str, address6: str, aliases: Sequence[str]) -> None:
    """Connect a container to a network: see `Networks.connect`."""
    row = containers.find(store.meta, name)
    if "network" not in row.intent:
        raise Conflict(f"container {row.name} cannot be connected: it has no network namespace of its own")
    if presence.is_running(store, row.id):
        presence.require_process(row.name, row.intent, "connecting it while it runs")
    if row.intent.get("cni"):
        raise Unsupported(
            f"container {row.name} cannot be connected: it is in networks of CNI, and those have it alone"
        )
    network = Records(store).settled(network)
    wanted = EndpointRequest(network, address4, address6, "", aliases)
    before = rows.leases(store.meta, container=row.id)
    with store.meta.write() as sql:
        lease = rows.lease(sql, network.id, row.id, wanted.choose)
    if address4 or address6 or network.id in row.intent.get("addresses", {}):
        asked = {**row.intent.get("addresses", {}), network.id: (address4, address6)}
        containers.change(store.meta, row.id, lambda intent: {**intent, "addresses": asked})
    try:
        namespace = _running_namespace(store, row.id)
        if namespace < 0:
            return
        after = sorted([*before, lease], key=lambda endpoint: endpoint.position)
        try:
            networks = _join(store, network, before, after, lease, namespace)
            etc_files.change(store, row.id, row.intent, before, after, networks)
            _tell(store, row.id, networks.values())
        finally:
            os.close(namespace)
    except BaseException:
        rows.give_back(store.meta, network.id, row.id)
        raise


def _running_namespace(store: Store, container_id: str) -> int:
    """Return the network namespace of a running container, a descriptor; -1 when it does not run.

    It is that of the container's process: the file that it is pinned to may be one of another mount namespace. Raises
    OSError.
    """
    status = presence.status(store, container_id)
    if status.pid:
        try:
            namespace = os.open(f"/proc/{status.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1  # it has just ended
        if process.start_time(status.pid) == status.when:
            return namespace
        os.close(namespace)
        return -1
    if presence.is_running(store, container_id):  # it is about to be restarted, in the same namespace
        return os.open(namespace_file(store, container_id), os.O_RDONLY | os.O_CLOEXEC)
    return -1


def _join(
    store: Store,
    network: Network,
    before: Sequence[rows.Lease],
    after: Sequence[rows.Lease],
    lease: rows.Lease,
    namespace: int,
) -> dict[str, Network]:
    """Give a running container, which has the endpoints `before`, its interface in another network, and its ports there.

    Returns all its networks, by id. Nothing has changed when it raises.
    """
    networks = {endpoint.network: Records(store).get(endpoint.network) for endpoint in after}
    enter(store, network, lease, namespace, ())
    try:
        ports.move(store, lease.container, before, after)
        _lead_out(namespace, before, after, networks)
    except BaseException:
        bridge.detach(namespace, network.interface_of(lease.position))
        raise
    return networks


def _lead_out(
    namespace: int, before: Sequence[rows.Lease], after: Sequence[rows.Lease], networks: dict[str, Network]
) -> None:
    """Change a running container's default routes from what its endpoints `before` wanted to what those `after` want."""
    old, new = (_ways([networks[endpoint.network] for endpoint in endpoints]) for endpoints in (before, after))
    for bits, network_id in new.items():
        if old.get(bits) != network_id:
            position = next(endpoint.position for endpoint in after if endpoint.network == network_id)
            bridge.lead_out(networks[network_id], namespace, networks[network_id].interface_of(position), bits)


def disconnect(store: Store, network: Network, name: str, force: bool) -> None:
    """Disconnect a container from a network: see `Networks.disconnect`."""
    try:
        row = containers.find(store.meta, name)
    except NotFound:
        if force:
            return
        raise
    if presence.is_running(store, row.id):
        presence.require_process(row.name, row.intent, "disconnecting it while it runs")
    before = rows.leases(store.meta, container=row.id)
    lease = next((endpoint for endpoint in before if endpoint.network == network.id), None)
    if lease is None:
        raise Conflict(f"container {row.name} is not connected to network {network.name}")
    # Looked up while it is in them: afterwards they may be removed.
    networks = {endpoint.network: Records(store).get(endpoint.network) for endpoint in before}
    left = [endpoint for endpoint in before if endpoint is not lease]
    namespace = _running_namespace(store, row.id)
    if namespace < 0:
        rows.give_back(store.meta, network.id, row.id)
        return
    try:
        ports.move(store, row.id, before, left)
        try:
            bridge.detach(namespace, network.interface_of(lease.position))
            # The address is given back when nobody has it any more.
            rows.give_back(store.meta, network.id, row.id)
        except BaseException:
            _restore(store, network, lease, namespace, left, before, networks)
            raise
        _lead_out(namespace, before, left, networks)
    finally:
        os.close(namespace)
    etc_files.change(store, row.id, row.intent, before, left, networks)
    _tell(store, row.id, [networks[endpoint.network] for endpoint in left])


def _restore(
    store: Store,
    network: Network,
    lease: rows.Lease,
    namespace: int,
    left: Sequence[rows.Lease],
    before: Sequence[rows.Lease],
    networks: dict[str, Network],
) -> None:
    """Undo the first steps of a disconnection that has failed."""
    if not bridge.has(namespace, network.interface_of(lease.position)):
        ways = _ways([networks[endpoint.network] for endpoint in before])
        enter(store, network, lease, namespace, [bits for bits, leading in ways.items() if leading == network.id])
    ports.move(store, lease.container, left, before)


def reload(store: Store) -> int:
    """Rebuild the firewall for everything that is in networks; returns the number of containers.

    Containers may start meanwhile, whose elements the old table had: what they have is on record first, so it is all done
    once more when the records have changed.
    """
    while True:
        version = store.meta.version()
        count = _reload(store)
        if store.meta.version() == version:
            return count


def _reload(store: Store) -> int:
    rules: list[Rule] = []
    wanted: list[Network] = []
    there: set[str] = set()
    for network in (candidate for candidate in Records(store).list() if candidate.driver == BRIDGE):
        members = {lease.container for lease in rows.leases(store.meta, network=network.id)}
        there |= {candidate for candidate in members if candidate in there or _present(store, candidate)}
        if members:
            wanted.append(network)
    for container_id in there:
        rules += ports.of_container(store, container_id)
    firewall_of(store).renew(wanted, rules)
    return len(there)


def _present(store: Store, name: str) -> bool:
    """Return whether a container runs or is about to, or a build step uses its namespace."""
    if name.startswith(BUILD):
        return os.path.exists(namespace_file(store, name))
    return presence.is_running(store, name) or presence.is_monitored(store, name)
