"""Names of containers in their networks: who is called what, told to each network's name server, which is there while
anybody is."""

from __future__ import annotations

import os

from ... import files
from ...errors import Conflict, NotFound, Unsupported
from ...network import resolver
from ...store.rows import containers
from ...store.rows import networks as rows
from . import Networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ...network.model import Network
    from ...store.rows.networks import Lease
    from ..engine import Engine


BUILD = "build-"  # what places of steps of builds are called by begins so, where those of containers have an id


def directory(engine: Engine) -> str:
    """Return where name servers find what they are to know."""
    return engine.paths.state + "/networks"


def announce(engine: Engine, network: Network) -> None:
    """Tell name servers who is in a network; its own is started unless it lives. Raises Conflict, Unsupported."""
    amend(engine, network)
    if has_names(network):
        resolver.ensure(directory(engine), network.id)


def amend(engine: Engine, network: Network) -> None:
    """Tell who is in a network by now to its name server, and to those of other networks that its containers are in."""
    if not has_names(network):
        return
    with _lock(engine):
        beside = {lease.network for lease in rows.leases_beside(engine.meta, network.id)}
        for each in _with_names(engine, (network.id, *sorted(beside))):
            resolver.write(directory(engine), each.id, _description(engine, each))


def answers(engine: Engine, network: Network) -> bool:
    """Tell whether a network has a name server; one is started unless it lives, or somebody else has its address."""
    if not has_names(network):
        return False
    try:
        resolver.ensure(directory(engine), network.id)
    except (Conflict, Unsupported):
        return False
    return True


def end(engine: Engine, network: Network) -> None:
    """Have the name server of a network end, which is no longer in the database."""
    with _lock(engine):
        resolver.remove(directory(engine), network.id)


def has_names(network: Network) -> bool:
    """Tell whether containers of a network find each other by name."""
    return network.named and network.driver == "bridge" and any(pool.gateway for pool in network.pools)


def server_of(network: Network) -> str:
    """Return the address of a network's name server."""
    return next(pool.gateway for pool in network.pools if pool.gateway)


def _lock(engine: Engine) -> files.Lock:
    """Return what is held from reading who is in a network to writing it, so that what is older replaces nothing newer.

    There is one for all networks, which stays: it is held for a moment only.
    """
    os.makedirs(directory(engine), 0o700, exist_ok=True)
    return files.Lock(directory(engine) + "/names.lock")


def _with_names(engine: Engine, ids: Iterable[str]) -> list[Network]:
    """Return those networks that have names, as they are now; what somebody has removed meanwhile is none."""
    found = []
    for each in ids:
        try:
            network = Networks(engine).get(each)
        except NotFound:
            continue
        if has_names(network):
            found.append(network)
    return found


def _description(engine: Engine, network: Network) -> dict[str, Any]:
    from ..containers import host_facts
    from . import etc_files

    leases = rows.leases(engine.meta, network=network.id)
    members: dict[str, list[str]] = {}
    servers: dict[str, list[str]] = {}
    names = _names(engine, leases, members, servers)
    text = "" if network.internal else etc_files.upstream(host_facts.text_of("/etc/resolv.conf"), public=False)
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
        "others": _others(engine, network, leases, members),
        "members": members,
    }


def _addresses(lease: Lease) -> list[str]:
    return [address for address in (lease.address4, lease.address6) if address]


def _names(
    engine: Engine, leases: Sequence[Lease], members: dict[str, list[str]], servers: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Return the addresses of each name that containers have by their places in a network; add to `members`, `servers`."""
    from . import attach

    found: dict[str, list[str]] = {}
    for lease in leases:
        addresses = _addresses(lease)
        members.setdefault(attach.place(engine, lease.container), []).extend(addresses)
        if lease.container.startswith(BUILD):
            continue  # it asks, and nobody asks for it
        try:
            row = containers.find(engine.meta, lease.container)
        except NotFound:
            continue  # removed since
        if row.intent["options"].get("dns"):
            servers.update((address, list(row.intent["options"]["dns"])) for address in addresses)
        for each in (row.name, *lease.aliases, lease.container[:12]):
            found.setdefault(each, []).extend(addresses)
    return found


def _others(
    engine: Engine, network: Network, leases: Sequence[Lease], members: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """Return the names of each other network that containers of this one are in, and who they are by address here."""
    here = {lease.container: _addresses(lease) for lease in leases}
    asking: dict[str, list[str]] = {}
    for lease in rows.leases_beside(engine.meta, network.id):
        asking.setdefault(lease.network, []).extend(here.get(lease.container, []))
    return [
        {"asked_by": asking[each.id], "names": _names(engine, rows.leases(engine.meta, network=each.id), members, {})}
        for each in _with_names(engine, asking)
    ]
