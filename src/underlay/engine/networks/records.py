"""Networks on record: made, found by name, given another subnet when one has become impossible."""

from __future__ import annotations

import os
from time import time_ns

from ...errors import Conflict, InvalidInput, NotFound, Unsupported
from ...events import Event
from ...human import whole
from ...network import model, subnets
from ...network.model import BRIDGE, DEFAULT, MACVLAN, Network, Pool
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
_DEFAULT_INTERFACE = "underlay0"  # the bridge of the default network of the usual installation
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_LEAST_MTU6 = 1280  # bytes (RFC 8200, section 5): the kernel has no IPv6 on links of less
_OPTIONS = {
    # Docker's names of options of the driver bridge, with ours.
    "com.docker.network.driver.mtu": "mtu",
    "mtu": "mtu",
    "com.docker.network.bridge.name": "interface",
    "com.docker.network.bridge.enable_ip_masquerade": "masquerade",
}


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
    ) -> Network:
        """Record a network; its bridge is created when the first container joins. `gateways` and `ranges` belong to the
        subnets that contain them; without an IPv4 subnet a free one is chosen. Raises InvalidInput, Conflict, Unsupported.
        """
        _check_name(name)
        if driver not in (BRIDGE, MACVLAN):
            raise Unsupported(f"network driver {driver!r} is not supported", f"use {BRIDGE} or {MACVLAN}")
        given = _options(driver, options or {})
        if ipv6:
            _check_mtu(given.get("mtu", ""))
        if given.get("interface") == _DEFAULT_INTERFACE and name != DEFAULT:
            self.default()  # it may be that one's
        network_id = os.urandom(32).hex()
        interface = given.pop("interface", "") or f"ul-{network_id[:12]}"

        def make(others: Sequence[NetworkRecord]) -> NetworkRecord:
            known = [_read(record) for record in others]
            if driver == BRIDGE:
                _check_interface(name, interface, known)
            pools = _pools(subnets, gateways, ranges, ipv6, known)
            made = Network(
                id=network_id,
                name=name,
                driver=driver,
                created=time_ns(),
                interface=interface,
                pools=tuple(pools),
                internal=internal,
                attachable=attachable,
                mtu=int(given.pop("mtu", "0")),
                masquerade=given.pop("masquerade", "true") == "true",
                labels=labels or {},
                options=given,
                chosen=not any(":" not in text for text in subnets),
            )
            return _written(made)

        network = _read(rows.insert(self._store.meta, make))
        self._created(network)
        return network

    def _created(self, network: Network) -> None:
        """Emit `network.create` for a network that was just recorded."""
        self._store.emit(Event("network.create", network.id, name=network.name))

    def get(self, name: str) -> Network:
        """Return a network by its name, its id or a prefix of the id; raises NotFound."""
        record = rows.find(self._store.meta, name)
        if record is not None:
            return _read(record)
        if name == DEFAULT:
            return self.default()
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

        pool = network.pool(32)
        if not network.chosen or network.driver != BRIDGE or pool is None or bridge.stands(network):
            return network
        routes = bridge.taken()
        if not any(pool.space.overlaps(route) for route in routes):
            return network

        def move(records: Sequence[NetworkRecord]) -> tuple[NetworkRecord, Callable[[str], str]]:
            others = [other.space for record in records for other in _read(record).pools]
            space = _chosen([*others, *routes])
            offset = space.start - pool.space.start

            def moved(address: str) -> str:
                number = subnets.number_of(address) + offset
                if not space.holds(number):
                    raise Conflict(f"no available IPv4 addresses in {space} for network {network.name}")
                return space.written(number)

            new = Pool(str(space), moved(pool.gateway))
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


def _check_mtu(mtu: str) -> None:
    if mtu and int(mtu) < _LEAST_MTU6:
        raise InvalidInput(f"invalid mtu {mtu}: IPv6 needs at least {_LEAST_MTU6} bytes")


def _check_mode(mode: str) -> None:
    from ...linux.network.links import MACVLAN_MODES

    if mode not in MACVLAN_MODES:
        raise InvalidInput(f"invalid macvlan_mode {mode!r}", f"one of {', '.join(sorted(MACVLAN_MODES))}")


def _check_interface(name: str, interface: str, others: list[Network]) -> None:
    for other in others:
        # That there is one of this name already is told elsewhere.
        if other.driver == BRIDGE and other.interface == interface and other.name != name:
            raise Conflict(
                f"network {name} conflicts with network {other.name}: networks have same bridge name {interface}"
            )


def _options(driver: str, given: dict[str, str]) -> dict[str, str]:
    """Return the options of a driver by our names. Raises InvalidInput for unknown ones."""
    options: dict[str, str] = {}
    for key, value in given.items():
        if driver == MACVLAN and key in ("parent", "macvlan_mode"):
            options["interface" if key == "parent" else key] = value
            continue
        name = _OPTIONS.get(key)
        if name is None or (driver == MACVLAN and name != "mtu"):
            raise InvalidInput(f"unknown option {key!r} for driver {driver}")
        if name == "mtu" and not 68 <= whole(value) <= 65535:
            raise InvalidInput(f"invalid mtu {value!r}", "bytes, from 68 to 65535")
        if name == "masquerade" and value not in ("true", "false"):
            raise InvalidInput(f"invalid value {value!r} for {key}", "true or false")
        options[name] = value
    if driver == MACVLAN and not options.get("interface"):
        raise InvalidInput("macvlan needs a parent interface", "-o parent=eth0")
    if "macvlan_mode" in options:
        _check_mode(options["macvlan_mode"])
    if len(options.get("interface", "")) > 15 or "/" in options.get("interface", ""):
        raise InvalidInput(
            f"invalid interface name {options['interface']!r}", "an interface's name has at most 15 letters"
        )
    return options


def _pools(
    given: Sequence[str], gateways: Sequence[str], ranges: Sequence[str], ipv6: bool, others: list[Network]
) -> list[Pool]:
    """Return the pools of a new network. Raises InvalidInput, Conflict."""
    spaces = [subnets.parse(text) for text in given]
    for space in spaces:
        subnets.check(space)
    theirs = [pool.space for network in others for pool in network.pools]
    for number, space in enumerate(spaces):
        for other in (*theirs, *spaces[:number]):
            if space.overlaps(other):
                raise Conflict(f"Pool overlaps with other one on this address space: {space} and {other}")
    if any(space.bits == 128 for space in spaces) and not ipv6:
        raise InvalidInput("an IPv6 subnet needs --ipv6")
    if not any(space.bits == 32 for space in spaces):
        from ...network import bridge

        spaces.insert(0, _chosen([*theirs, *bridge.taken()]))
    if ipv6 and not any(space.bits == 128 for space in spaces):
        # A unique local subnet (RFC 4193): nobody else has it, as likely as may be.
        start = int.from_bytes(b"\xfd" + os.urandom(7) + bytes(8), "big")
        spaces.append(subnets.Subnet(start, 64, 128))
    pools = []
    left, parts = list(gateways), [subnets.parse(text, "ip range") for text in ranges]
    for space in spaces:
        gateway = next((text for text in left if space.holds(_number(text)) and len(_wire(text)) * 8 == space.bits), "")
        if gateway:
            left.remove(gateway)
            subnets.number_of(gateway, space, "gateway")
        part = next(
            (candidate for candidate in parts if candidate.bits == space.bits and space.holds(candidate.start)), None
        )
        if part is not None:
            parts.remove(part)
            if part.end > space.end:
                raise InvalidInput(f"ip range {part} is not within subnet {space}")
        pools.append(Pool(str(space), gateway or space.written(space.start + 1), "" if part is None else str(part)))
    if left or parts:
        raise InvalidInput(f"{left[0] if left else parts[0]} lies in none of the subnets {', '.join(map(str, spaces))}")
    return pools


def _chosen(taken: Sequence[subnets.Subnet]) -> subnets.Subnet:
    """Return the first free subnet of the address pools. Raises Conflict, and as `pools.load`."""
    from ...network import pools

    space = subnets.choose(taken, pools.load())
    if space is None:
        raise Conflict("all predefined address pools have been fully subnetted", pools.hint())
    return space


def _number(text: str) -> int:
    return subnets.number_of(text, None, "gateway")


def _wire(text: str) -> bytes:
    return subnets.parse_address(text)


def _written(network: Network) -> NetworkRecord:
    """Return a network as the database has it."""
    return {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "created": network.created,
        "interface": network.interface,
        "pools": [[pool.subnet, pool.gateway, pool.range] for pool in network.pools],
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
