"""The list of containers, and what the page of one container shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..engine.containers.find import find, listed
from ..engine.containers.find import listing as state_of
from ..engine.containers.inspect import shown_mounts
from ..engine.filters import containers as filters
from ..errors import NotFound, UnderlayError

if TYPE_CHECKING:
    from ..engine.containers.find import ContainerListing
    from ..engine.engine import Engine

    Facts = dict[str, Any]

LINES = 500  # of a log
_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # control sequences of terminals, such as colours (ECMA-48, 5.4)


class ContainerFacts:
    """A container in the list. `status` is in docker's words; `ports`, `networks` and `command` are text."""

    __slots__ = ("command", "id", "image", "image_id", "is_running", "name", "networks", "ports", "status")

    def __init__(self, engine: Engine, item: ContainerListing) -> None:
        row, intent = item.row, item.intent
        self.id, self.name = row.id, row.name
        self.image, self.image_id = intent["image"]["name"], row.image
        self.command = " ".join(intent["spec"]["process"]["args"])
        self.status, self.is_running = filters.status_words(item), item.is_running
        ports = engine.containers.ports(row.id) if self.is_running else {}
        self.ports = ", ".join(f"{address} → {port}" for port, addresses in ports.items() for address in addresses)
        self.networks = ", ".join(filters.networks(engine, row.id, intent))


def listing(engine: Engine, everything: bool) -> Facts:
    """Return the running containers, or all containers, the newest first."""
    shown = [ContainerFacts(engine, item) for item in listed(engine._store, everything)]
    return {"containers": shown, "everything": everything}


def container(engine: Engine, container_id: str) -> Facts:
    """Return what the page of a container shows. Raises NotFound."""
    row = find(engine._store, container_id)
    item = state_of(engine._store, row)
    if item is None:
        raise NotFound(f"No such container: {container_id}")  # it has just been removed
    facts: Facts = {
        "container": ContainerFacts(engine, item),
        "health": item.status.health.get("status", ""),
        "mounts": shown_mounts(item.intent),
        "labels": sorted(item.intent["labels"].items()),
        "processes": None,
        "stats": None,
    }
    if item.is_running:
        try:
            facts["processes"], facts["stats"] = engine.containers.top(row.id), engine.containers.stats(row.id)
        except UnderlayError:
            pass  # the container has just ended
    return facts | log(engine, row.id)


def log(engine: Engine, container_id: str) -> Facts:
    """Return the last lines of a container's log, and whether the container is running. Raises NotFound."""
    facts: Facts = {"is_running": engine.containers.is_running(container_id), "problem": "", "text": ""}
    try:
        data = b"".join(record[2] for record in engine.containers.logs(container_id, tail=LINES))
    except UnderlayError as error:
        return {**facts, "problem": error.message}
    return {**facts, "text": _SEQUENCES.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")}
