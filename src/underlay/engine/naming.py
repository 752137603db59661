"""Names of containers in their networks: who is called what, told to each network's name server, which is there while
anybody is."""

from __future__ import annotations

import os

from .. import files
from ..errors import NotFound
from ..network import resolver
from ..store import containers
from ..store import networks as rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..network.model import Network
    from .engine import Engine


BUILD = "build-"  # what places of steps of builds are called by begins so, where those of containers have an id


def directory(engine: Engine) -> str:
    """Return where name servers find what they are to know."""
    return engine.paths.state + "/networks"


def announce(engine: Engine, network: Network) -> None:
    """Tell the name server of a network who is in it; one is started unless it lives. Raises Conflict, Unsupported."""
    if not has_names(network):
        return
    _tell(engine, network)
    resolver.ensure(directory(engine), network.id)


def amend(engine: Engine, network: Network) -> None:
    """Tell the name server of a network who is in it now, if there is one."""
    if has_names(network):
        _tell(engine, network)


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


def _tell(engine: Engine, network: Network) -> None:
    from .networks import Networks

    with _lock(engine):
        try:
            now = Networks(engine).get(network.id)
        except NotFound:
            return  # somebody has removed it since
        resolver.write(directory(engine), network.id, _description(engine, now))


def _description(engine: Engine, network: Network) -> dict[str, Any]:
    from . import connecting, hostfacts, namefiles

    names: dict[str, list[str]] = {}
    members: dict[str, list[str]] = {}
    servers: dict[str, list[str]] = {}
    for lease in rows.leases(engine.meta, network=network.id):
        addresses = [address for address in (lease.address4, lease.address6) if address]
        members[connecting.place(engine, lease.container)] = addresses
        if lease.container.startswith(BUILD):
            continue  # it asks, and nobody asks for it
        try:
            row = containers.find(engine.meta, lease.container)
        except NotFound:
            continue  # removed since
        if row.intent["options"].get("dns"):
            servers.update((address, list(row.intent["options"]["dns"])) for address in addresses)
        for each in (row.name, *lease.aliases, lease.container[:12]):
            names.setdefault(each, []).extend(addresses)
    text = "" if network.internal else namefiles.upstream(hostfacts.text_of("/etc/resolv.conf"), public=False)
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
        "members": members,
    }
