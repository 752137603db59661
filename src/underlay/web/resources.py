"""Networks and volumes, and which containers are in them or use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.containers.find import listed
from ..engine.containers.inspect import shown_mounts
from ..engine.filters import containers as filters

if TYPE_CHECKING:
    from ..engine.containers.find import ContainerListing
    from ..engine.engine import Engine

    Facts = dict[str, Any]


def networks(engine: Engine) -> Facts:
    """Return the networks, each with its addresses and the containers that are in it, running or not."""
    members: dict[str, list[ContainerListing]] = {}
    for item in listed(engine._store, True):
        for name in filters.networks(engine, item.row.id, item.intent):
            members.setdefault(name, []).append(item)
    names = [network.name for network in engine.networks.list()]
    names += [name for name, _ in engine.networks.of_plugins()]
    return {"networks": [(engine.networks.inspect(name), members.get(name, [])) for name in [*names, "host", "none"]]}


def volumes(engine: Engine) -> Facts:
    """Return the volumes, each with the containers that mount it, running or not."""
    users: dict[str, list[ContainerListing]] = {}
    for item in listed(engine._store, True):
        for mount in shown_mounts(item.intent):
            if mount["Type"] == "volume":
                users.setdefault(mount["Name"], []).append(item)
    return {
        "volumes": [(engine.volumes.inspect(each.name), users.get(each.name, [])) for each in engine.volumes.list()]
    }
