"""Names of containers in their networks: who is called what, told to each network's name server, which is there while
anybody is."""

from __future__ import annotations

import os

from ... import files
from ...errors import Conflict, NotFound, Unsupported
from ...network import resolver
from ...store.rows import containers
from ...store.rows import networks as rows
from .records import Records, namespace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...network.described import Beside, Written
    from ...network.model import Network
    from ...store.rows.networks import Lease
    from ...store.store import Store

BUILD = "build-"  # what places of steps of builds are called by begins so, where those of containers have an id


def directory(store: Store) -> str:
    """Return the directory with the descriptions that name servers read."""
    return store.paths.state + "/networks"


def announce(store: Store, network: Network) -> None:
    """Publish the members of a network to name servers, starting its own if needed. Raises Conflict, Unsupported."""
    refresh(store, network)
    if has_names(network):
        resolver.ensure(directory(store), network.id)


def refresh(store: Store, network: Network) -> None:
    """Update the members of a network in its name server, and in those of other networks that its containers are in."""
    if not has_names(network):
        return
    with _lock(store):
        beside = {lease.network for lease in rows.leases_beside(store.meta, network.id)}
        for member in _with_names(store, (network.id, *sorted(beside))):
            resolver.write(directory(store), member.id, _description(store, member))


def answers(store: Store, network: Network) -> bool:
    """Return whether a network has a name server; starts one unless it runs, or another program uses its address."""
    if not has_names(network):
        return False
    try:
        resolver.ensure(directory(store), network.id)
    except (Conflict, Unsupported):
        return False
    return True


def end(store: Store, network: Network) -> None:
    """Stop the name server of a network that is no longer in the database."""
    with _lock(store):
        resolver.remove(directory(store), network.id)


def has_names(network: Network) -> bool:
    """Return whether containers of a network can resolve each other by name."""
    return network.named and network.driver == "bridge" and any(pool.gateway for pool in network.pools)


def server_of(network: Network) -> str:
    """Return the address of a network's name server."""
    return next(pool.gateway for pool in network.pools if pool.gateway)


def _lock(store: Store) -> files.Lock:
    """Return the lock to hold between reading and publishing the members of a network, so that no older list replaces a
    newer one.

    One lock file serves all networks and is never removed: it is held only briefly.
    """
    os.makedirs(directory(store), 0o700, exist_ok=True)
    return files.Lock(directory(store) + "/names.lock")


def _with_names(store: Store, ids: Iterable[str]) -> list[Network]:
    """Return the current records of those networks that have names, without networks removed meanwhile."""
    networks = []
    for network_id in ids:
        try:
            network = Records(store).get(network_id)
        except NotFound:
            continue
        if has_names(network):
            networks.append(network)
    return networks


def _description(store: Store, network: Network) -> Written:
    from ..containers.specification import etc_texts, host_facts

    leases = rows.leases(store.meta, network=network.id)
    members: dict[str, list[str]] = {}
    servers: dict[str, list[str]] = {}
    names = _names(store, leases, members, servers)
    text = "" if network.internal else etc_texts.upstream(host_facts.text_of("/etc/resolv.conf"), public=False)
    return {
        "interface": network.interface,
        "listen": [pool.gateway for pool in network.pools if pool.gateway],
        "subnets": [pool.subnet for pool in network.pools],
        "internal": network.internal,
        "upstream": [
            words[1] for words in map(str.split, text.splitlines()) if words[:1] == ["nameserver"] and words[1:]
        ],
        "servers": servers,
        "names": names,
        "others": _others(store, network, leases, members),
        "members": members,
    }


def _addresses(lease: Lease) -> list[str]:
    return [address for address in (lease.address4, lease.address6) if address]


def _names(
    store: Store, leases: Sequence[Lease], members: dict[str, list[str]], servers: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Return the addresses of each name of a network's containers; add to `members`, `servers`."""
    addresses_of: dict[str, list[str]] = {}
    for lease in leases:
        addresses = _addresses(lease)
        members.setdefault(namespace_file(store, lease.container), []).extend(addresses)
        if lease.container.startswith(BUILD):
            continue  # it asks, and nobody asks for it
        try:
            row = containers.find(store.meta, lease.container)
        except NotFound:
            continue  # removed since
        if row.intent["options"].get("dns"):
            servers.update((address, list(row.intent["options"]["dns"])) for address in addresses)
        for name in (row.name, *lease.aliases, lease.container[:12]):
            addresses_of.setdefault(name, []).extend(addresses)
    return addresses_of


def _others(store: Store, network: Network, leases: Sequence[Lease], members: dict[str, list[str]]) -> list[Beside]:
    """Return the names of each other network that containers of this one are in, and those containers' addresses here."""
    here = {lease.container: _addresses(lease) for lease in leases}
    asking: dict[str, list[str]] = {}
    for lease in rows.leases_beside(store.meta, network.id):
        asking.setdefault(lease.network, []).extend(here.get(lease.container, []))
    return [
        {"asked_by": asking[other.id], "names": _names(store, rows.leases(store.meta, network=other.id), members, {})}
        for other in _with_names(store, asking)
    ]
