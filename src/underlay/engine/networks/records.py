"""Networks on record: made, found by name, given another subnet when one has become impossible."""

from __future__ import annotations

import os
from time import time_ns

from ...errors import Conflict, InvalidInput, NotFound, Unsupported
from ...events import Event
from ...network import model, subnets
from ...network.model import BRIDGE, DEFAULT, ON_A_PARENT, Network, Pool
from ...paths import USUAL_ROOT
from ...store.rows import networks as rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...network.firewall import Firewall
    from ...store.rows.networks import Lease, NetworkRecord
    from ...store.store import Store

# Names that mean something else than a network of the database.
MODES = ("none", "host", "default")
OF_PLUGINS = "cni:"  # names of networks begin so that files of CNI configure (`cni`)
_DEFAULT_INTERFACE = "underlay0"  # the bridge of the default network of the usual installation
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Records:
    """The networks that are on record."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str,
        driver: str = BRIDGE,
        subnets: Sequence[str] = (),
        gateways: Sequence[str] = (),
        ranges: Sequence[str] = (),
        ipv6: bool = False,
        internal: bool = False,
        attachable: bool = False,
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        ipv4: bool = True,
        reserved: dict[str, str] | None = None,
    ) -> Network:
        """Record a network; its bridge is created when the first container joins. `gateways`, `ranges` and `reserved`
        addresses (by name) belong to the subnets that contain them; without a subnet a free one is chosen, one of IPv4
        unless `ipv4` is False. Raises InvalidInput, Conflict, Unsupported.
        """
        from ...network import parents
        from . import addressing, driver_options

        _check_name(name)
        settings = driver_options.parse(driver, options or {})
        ipv4 = ipv4 if settings.ipv4 is None else settings.ipv4
        ipv6 = ipv6 or bool(settings.ipv6)
        parentless = driver in ON_A_PARENT and not settings.interface
        internal = internal or parentless
        driver_options.check_families(settings, ipv4, ipv6, internal)
        if settings.interface == _DEFAULT_INTERFACE and name != DEFAULT:
            self.default()  # it may be that one's
        network_id = os.urandom(32).hex()
        draft = Network(
            id=network_id,
            name=name,
            driver=driver,
            created=time_ns(),
            interface=settings.interface or f"ul-{network_id[:12]}",
            internal=internal,
            attachable=attachable,
            mtu=settings.mtu,
            masquerade=settings.masquerade,
            labels=labels or {},
            options=settings.options,
            chosen=not any(":" not in text for text in subnets),
        )
        bare = frozenset(bits for bits in (32, 128) if draft.gateway_mode(bits) == "isolated")
        wanted = addressing.Wanted(subnets, gateways, ranges, reserved or {}, ipv4, ipv6, bare)

        def make(others: Sequence[NetworkRecord]) -> NetworkRecord:
            known = [_read(record) for record in others]
            made = draft.changed(pools=tuple(addressing.pools(wanted, known)))
            if driver == BRIDGE:
                _check_interface(name, made.interface, known)
            elif not any(other.name == name for other in known):  # that there is one already is told elsewhere
                parents.check(made, known)
                if os.geteuid() == 0:
                    parents.prepare(made, firewall_of(self._store).name, known)
            return _written(made)

        network = _read(rows.insert(self._store.meta, make))
        self._created(network)
        return network

    def _created(self, network: Network) -> None:
        """Emit `network.create` for a network that was just recorded."""
        self._store.emit(Event("network.create", network.id, name=network.name, type=network.driver))

    def get(self, name: str) -> Network:
        """Return a network by its name, its id or a prefix of the id; raises NotFound, Unsupported for one of CNI."""
        record = rows.find(self._store.meta, name)
        if record is not None:
            return _read(record)
        if name == DEFAULT:
            return self.default()
        if name.startswith(OF_PLUGINS):
            raise Unsupported(
                f"network {name} is configured by a file of CNI: containers are in it from their start to their end",
                f"`underlay run --network {name}`; nothing else can be done with it",
            )
        raise NotFound(f"network {name} not found", "`underlay network ls` lists them")

    def default(self) -> Network:
        """Return the default network of containers; it is created on first use."""
        record = rows.find(self._store.meta, DEFAULT)
        if record is not None:
            return _read(record)
        # Other installations beside the usual one have default networks, too.
        usual = self._store.paths.root == USUAL_ROOT
        options = {"com.docker.network.bridge.name": _DEFAULT_INTERFACE} if usual else {}
        try:
            return self.create(DEFAULT, options=options)
        except Conflict:
            record = rows.find(self._store.meta, DEFAULT)
            if record is None:
                raise
            return _read(record)

    def settled(self, network: Network) -> Network:
        """Return a network that is about to be used, with another subnet if routes of the host now overlap an automatically
        chosen one. As long as the bridge does not exist, the old subnet is not in use. Raises Conflict.
        """
        from ...network import bridge
        from . import addressing

        pool = network.pool(32)
        if not network.chosen or network.driver != BRIDGE or pool is None or pool.reserved or bridge.stands(network):
            return network
        routes = bridge.taken()
        if not any(pool.space.overlaps(route) for route in routes):
            return network

        def move(records: Sequence[NetworkRecord]) -> tuple[NetworkRecord, Callable[[str], str]]:
            others = [other.space for record in records for other in _read(record).pools]
            space = addressing.chosen([*others, *routes])
            offset = space.start - pool.space.start

            def moved(address: str) -> str:
                number = subnets.number_of(address) + offset
                if not space.holds(number):
                    raise Conflict(f"no available IPv4 addresses in {space} for network {network.name}")
                return space.written(number)

            new = Pool(str(space), pool.gateway and moved(pool.gateway))
            pools = tuple(new if old is pool else old for old in network.pools)
            return _written(network.changed(pools=pools)), moved

        return _read(rows.move(self._store.meta, network.id, move))

    def recorded(self) -> list[Network]:
        """Return the networks on record, sorted by name; the default network only if it was ever used."""
        return [_read(record) for record in rows.every(self._store.meta)]

    def list(self) -> list[Network]:
        """Return all networks but `none` and `host`, sorted by name; the default network always exists."""
        try:
            self.default()
        except Conflict:
            pass  # no address pool is left for it; the others are listed all the same
        return self.recorded()

    def of(self, container_id: str) -> Sequence[Network]:
        """Return the networks that a container (a whole id) is in, in the order of its interfaces."""
        return [network for _, network in paired(self._store, rows.leases(self._store.meta, container=container_id))]


def paired(store: Store, leases: Sequence[Lease]) -> list[tuple[Lease, Network]]:
    """Return leases with their networks, without those whose network was left and removed since they were read."""
    pairs = []
    for lease in leases:
        try:
            pairs.append((lease, Records(store).get(lease.network)))
        except NotFound:
            pass
    return pairs


def namespace_file(store: Store, container_id: str) -> str:
    """Return the file to which a container's network namespace is pinned."""
    return store.paths.container_state(container_id) + "/net"


def firewall_of(store: Store) -> Firewall:
    """Return the firewall of an installation: the usual one's table has our name, others' one of their own."""
    import zlib

    from ...network.firewall import Firewall

    paths = store.paths
    name = "underlay" if paths.root == USUAL_ROOT else f"underlay-{zlib.crc32(paths.root.encode()):08x}"
    return Firewall(name, paths.state + "/networks")


def _check_name(name: str) -> None:
    if not name or not set(name) <= _NAME or not name[0].isalnum() or len(name) > 128:
        raise InvalidInput(f"invalid network name {name!r}", "letters, digits, and _ . - after the first")
    if name in MODES or name.startswith("container:"):
        raise Conflict(f"operation is not permitted on predefined {name} network")


def _check_interface(name: str, interface: str, others: list[Network]) -> None:
    for other in others:
        # That there is one of this name already is told elsewhere.
        if other.driver == BRIDGE and other.interface == interface and other.name != name:
            raise Conflict(
                f"network {name} conflicts with network {other.name}: networks have same bridge name {interface}"
            )


def _written(network: Network) -> NetworkRecord:
    """Return a network as the database has it."""
    return {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "created": network.created,
        "interface": network.interface,
        "pools": [[pool.subnet, pool.gateway, pool.range, pool.reserved] for pool in network.pools],
        "internal": network.internal,
        "attachable": network.attachable,
        "mtu": network.mtu,
        "masquerade": network.masquerade,
        "labels": network.labels,
        "options": network.options,
        "chosen": network.chosen,
    }


def _read(record: NetworkRecord) -> Network:
    pools = tuple(Pool(*words) for words in record["pools"])
    return Network(**{**record, "pools": pools})  # type: ignore[arg-type]


def of_lease(lease: rows.Lease) -> model.Endpoint:
    """Return a container's endpoint in the form used to configure the kernel."""
    return model.Endpoint(lease.network, lease.container, lease.address4, lease.address6, lease.mac, lease.aliases)
