"""Networks, the addresses leased in them, and ports of the host in use: rows that are written in short transactions."""

from __future__ import annotations

from time import time_ns

from ...errors import Conflict, NotFound
from ...lean.jsontext import dumps, known
from .meta import IntegrityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypedDict

    from .meta import Meta, Transaction

    class NetworkRecord(TypedDict):
        """A network as the database has it: the fields of `network.model.Network`; a pool as subnet, gateway, range and
        reserved addresses by name, which older ones lack."""

        id: str
        name: str
        driver: str
        created: int
        interface: str
        pools: list[list[Any]]
        internal: bool
        attachable: bool
        mtu: int
        masquerade: bool
        labels: dict[str, str]
        options: dict[str, str]
        chosen: bool


class Lease:
    """A container's endpoint in a network: addresses as text, "" for none; `position` is the number of its interface."""

    __slots__ = ("address4", "address6", "aliases", "container", "mac", "network", "position")

    def __init__(
        self,
        network: str,
        container: str,
        position: int,
        address4: str,
        address6: str,
        mac: str,
        aliases: Sequence[str],
    ) -> None:
        self.network = network
        self.container = container
        self.position = position
        self.address4 = address4
        self.address6 = address6
        self.mac = mac
        self.aliases = tuple(aliases)


class Port:
    """A port of the host in use: `protocol`, `port`, `address` ("" for all), whose it is, and that container's port."""

    __slots__ = ("address", "container", "port", "protocol", "target")

    def __init__(self, protocol: str, port: int, address: str, container: str, target: int) -> None:
        self.protocol = protocol
        self.port = port
        self.address = address
        self.container = container
        self.target = target


REST = 60  # seconds for which an address that was given back is leased to nobody else, while there are others
_LEASE = "network, container, position, address4, address6, mac, aliases"
_HEX = frozenset("0123456789abcdef")


# Networks


def insert(meta: Meta, record: Callable[[list[NetworkRecord]], NetworkRecord]) -> NetworkRecord:
    """Record a network; `record` builds its record (with `id` and `name`) from those of all others. Raises Conflict."""
    with meta.write() as sql:
        others = [_read(row) for row in sql.execute("SELECT record FROM networks").fetchall()]
        made = record(others)
        try:
            sql.execute("INSERT INTO networks VALUES (?, ?, ?)", (made["id"], made["name"], dumps(made)))
        except IntegrityError:
            raise Conflict(f"network with name {made['name']} already exists") from None
    return made


def every(meta: Meta) -> list[NetworkRecord]:
    """Return all networks, by name."""
    return [_read(row) for row in meta.read("SELECT record FROM networks ORDER BY name")]


def _read(row: Sequence[str]) -> NetworkRecord:
    record: NetworkRecord = known(row[0])
    return record


def find(meta: Meta, text: str) -> NetworkRecord | None:
    """Return the network of a name, an id or the beginning of one; None for none. Raises Conflict for several."""
    rows = meta.read("SELECT record FROM networks WHERE name = ? OR id = ?", (text, text))
    if not rows and text and _HEX.issuperset(text):
        rows = meta.read("SELECT record FROM networks WHERE id >= ? AND id < ? LIMIT 2", (text, text + "g"))
        if len(rows) > 1:
            raise Conflict(f"network {text} is ambiguous (several ids have this prefix)")
    return _read(rows[0]) if rows else None


def move(
    meta: Meta, network: str, change: Callable[[list[NetworkRecord]], tuple[NetworkRecord, Callable[[str], str]]]
) -> NetworkRecord:
    """Give a network another IPv4 subnet; `change`, called with all networks, returns the new record and a function that
    maps old addresses to new ones."""
    with meta.write() as sql:
        records = [_read(row) for row in sql.execute("SELECT record FROM networks").fetchall()]
        made, moved = change(records)
        sql.execute("UPDATE networks SET record = ? WHERE id = ?", (dumps(made), network))
        for container, address in sql.execute(
            "SELECT container, address4 FROM endpoints WHERE network = ? AND address4 IS NOT NULL", (network,)
        ).fetchall():
            sql.execute(
                "UPDATE endpoints SET address4 = ? WHERE network = ? AND container = ?",
                (moved(address), network, container),
            )
    return made


def delete(meta: Meta, network: str, name: str, is_used: Callable[[str], bool], take_down: Callable[[], None]) -> None:
    """Remove a network. Raises NotFound, and Conflict while a container in it is in use (`is_used`, by the container's id).

    Other containers, which need it to start, remember its name (`orphans`). `take_down` removes its bridge, in the
    transaction: no container can join meanwhile, and should this process be killed the network is still on record and can
    be removed again.
    """
    with meta.write(frees=True) as sql:
        rows = sql.execute(
            "SELECT e.container, coalesce(c.name, 'a step of a build') AS name, c.id IS NULL FROM endpoints e "
            "LEFT JOIN containers c ON c.id = e.container WHERE e.network = ? ORDER BY name",
            (network,),
        ).fetchall()
        used = [row[1] for row in rows if row[2] or is_used(row[0])]
        if used:
            raise Conflict(
                f"network {name} has active endpoints: {', '.join(used[:5])}",
                "stop or disconnect them first: `underlay network disconnect`",
            )
        sql.execute(
            "INSERT OR REPLACE INTO orphans SELECT container, ?, position, aliases FROM endpoints WHERE network = ?",
            (name, network),
        )
        sql.execute("DELETE FROM endpoints WHERE network = ?", (network,))
        if not sql.execute("DELETE FROM networks WHERE id = ?", (network,)).rowcount:
            raise NotFound(f"network {name} not found")
        take_down()


def only_default(meta: Meta, default: str) -> bool:
    """Return whether nothing is in a network, and there is none but the one called `default`, if that."""
    return not meta.read(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM endpoints) OR EXISTS (SELECT 1 FROM networks WHERE name != ?)", (default,)
    )


# Leases


def lease(
    sql: Transaction,
    network: str,
    container: str,
    choose: Callable[[list[Lease], list[str]], tuple[str, str, str, Sequence[str]]],
    position: int = -1,
) -> Lease:
    """Record an endpoint of a container in a network; `choose` returns addresses (4, 6), MAC and aliases. It is called with
    all others and the addresses that rest, those that have rested longest first.

    The interface has the lowest number that is free, unless `position` is given. Raises Conflict when an address is taken,
    or the container is in the network already.
    """
    others = [
        _lease(row) for row in sql.execute(f"SELECT {_LEASE} FROM endpoints WHERE network = ?", (network,)).fetchall()
    ]
    now = time_ns() // 1_000_000
    # Also those of a time to come, which the clock showed when it was wrong.
    sql.execute("DELETE FROM resting WHERE since <= ? OR since > ?", (now - REST * 1000, now + 1000))
    resting = sql.execute("SELECT address FROM resting WHERE network = ? ORDER BY since", (network,)).fetchall()
    address4, address6, mac, aliases = choose(others, [row[0] for row in resting])
    if position < 0:
        rows = sql.execute("SELECT position FROM endpoints WHERE container = ?", (container,)).fetchall()
        position = next(number for number in range(len(rows) + 1) if (number,) not in rows)
    made = Lease(network, container, position, address4, address6, mac, aliases)
    try:
        sql.execute(
            "INSERT INTO endpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
            (network, container, position, address4 or None, address6 or None, mac, " ".join(aliases)),
        )
    except IntegrityError:
        if any(other.container == container for other in others):
            raise Conflict("the container is in this network already") from None
        raise Conflict(f"Address already in use: {address4 or address6}") from None
    return made


def _lease(row: Sequence[Any]) -> Lease:
    network, container, position, address4, address6, mac, aliases = row
    return Lease(network, container, position, address4 or "", address6 or "", mac, aliases.split())


def leases(meta: Meta, container: str = "", network: str = "") -> list[Lease]:
    """Return the endpoints of a container, in the order of its interfaces, or all in a network."""
    column, value = ("container", container) if container else ("network", network)
    return [
        _lease(row)
        for row in meta.read(
            f"SELECT {_LEASE} FROM endpoints WHERE {column} = ? ORDER BY position, container", (value,)
        )
    ]


def in_use(meta: Meta) -> set[str]:
    """Return the ids of the networks that containers or steps of builds are in."""
    return {row[0] for row in meta.read("SELECT DISTINCT network FROM endpoints")}


def members(meta: Meta, network: str) -> list[tuple[Lease, str, str]]:
    """Return the endpoints in a network, with name and host name of each container; those of steps of builds have none."""
    rows = meta.read(
        "SELECT e.network, e.container, e.position, e.address4, e.address6, e.mac, e.aliases, coalesce(c.name, ''), "
        "coalesce(json_extract(c.intent, '$.spec.hostname'), '') FROM endpoints e LEFT JOIN containers c "
        "ON c.id = e.container WHERE e.network = ? ORDER BY e.container",
        (network,),
    )
    return [(_lease(row[:7]), row[7], row[8]) for row in rows]


def servers_of(meta: Meta, container: str) -> list[str]:
    """Return the DNS servers that were given for a container."""
    rows = meta.read("SELECT json_extract(intent, '$.options.dns') FROM containers WHERE id = ?", (container,))
    return list(known(rows[0][0])) if rows and rows[0][0] else []


def leases_beginning(meta: Meta, prefix: str) -> list[Lease]:
    """Return the endpoints of all containers whose id begins with `prefix`."""
    rows = meta.read(f"SELECT {_LEASE} FROM endpoints WHERE container >= ? AND container < ?", (prefix, prefix + "~"))
    return [_lease(row) for row in rows]


class Orphan:
    """A removed network that a stopped container needs: `network` is its name."""

    __slots__ = ("aliases", "network", "position")

    def __init__(self, network: str, position: int, aliases: Sequence[str]) -> None:
        self.network = network
        self.position = position
        self.aliases = aliases


def orphans(meta: Meta, container: str) -> list[Orphan]:
    """Return the removed networks that a container needs to start."""
    rows = meta.read(
        "SELECT network, position, aliases FROM orphans WHERE container = ? ORDER BY position", (container,)
    )
    return [Orphan(network, position, aliases.split()) for network, position, aliases in rows]


def adopt(sql: Transaction, container: str, network: str) -> None:
    """Forget that a container needs a removed network, by its name."""
    sql.execute("DELETE FROM orphans WHERE container = ? AND network = ?", (container, network))


def give_back(meta: Meta, network: str, container: str) -> Lease | None:
    """Remove a container's endpoint in a network and return it, None when there was none."""
    with meta.write() as sql:
        rows = sql.execute(
            f"SELECT {_LEASE} FROM endpoints WHERE network = ? AND container = ?", (network, container)
        ).fetchall()
        sql.execute("DELETE FROM endpoints WHERE network = ? AND container = ?", (network, container))
    return _lease(rows[0]) if rows else None


# Ports


def ports(meta: Meta, container: str = "") -> list[Port]:
    """Return the ports of the host that lead to a container, or all."""
    where, arguments = ("WHERE container = ?", (container,)) if container else ("", ())
    rows = meta.read(
        f"SELECT protocol, port, address, container, target FROM published {where} ORDER BY target, protocol, address",
        arguments,
    )
    return [Port(*row) for row in rows]


def hold(meta: Meta, wanted: Sequence[Port]) -> Port | None:
    """Record ports of the host as in use, all or none; returns the first that another container has, None for success.

    A port for all addresses is one for each.
    """
    try:
        # Ports are those of running containers, and none runs after a power cut.
        with meta.write(durable=False) as sql:
            for port in wanted:
                taken = sql.execute(
                    "SELECT protocol, port, address, container, target FROM published WHERE protocol = ? AND port = ? "
                    "AND (address = '' OR ? = '' OR address = ?) LIMIT 1",
                    (port.protocol, port.port, port.address, port.address),
                ).fetchone()
                if taken:
                    raise _Taken(Port(*taken))
                sql.execute(
                    "INSERT INTO published VALUES (?, ?, ?, ?, ?)",
                    (port.protocol, port.port, port.address, port.container, port.target),
                )
    except _Taken as error:
        return error.port
    return None


class _Taken(Exception):
    def __init__(self, port: Port) -> None:
        self.port = port


def let_go(meta: Meta, container: str, some: Sequence[Port] = ()) -> None:
    """Forget the ports of the host that lead to a container: all, or some of them."""
    if not meta.read("SELECT 1 FROM published WHERE container = ? LIMIT 1", (container,)):
        return
    with meta.write(durable=False) as sql:
        if not some:
            sql.execute("DELETE FROM published WHERE container = ?", (container,))
        for port in some:
            sql.execute(
                "DELETE FROM published WHERE container = ? AND protocol = ? AND port = ? AND address = ?",
                (container, port.protocol, port.port, port.address),
            )
