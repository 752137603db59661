"""Containers: the list, and the facts of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..engine.containers.find import find, listed
from ..engine.containers.find import listing as one
from ..engine.containers.inspect import shown_mounts
from ..engine.filters import containers as filters
from ..errors import NotFound, UnderlayError

if TYPE_CHECKING:
    from ..engine.containers.find import ContainerListing
    from ..engine.engine import Engine

    Facts = dict[str, Any]

LINES = 500  # of a log
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # control sequences of terminals (ECMA-48, 5.4)


class Shown:
    """A container in the list: `id`, `name`, `image` (its name) and `image_id`, `status` in docker's words, whether it
    `runs`, `ports` and `networks` as text."""

    __slots__ = ("command", "created", "id", "image", "image_id", "name", "networks", "ports", "runs", "status")

    def __init__(self, engine: Engine, item: ContainerListing) -> None:
        row, intent = item.row, item.intent
        self.id, self.name, self.created = row.id, row.name, row.created
        self.image, self.image_id = intent["image"]["name"], row.image
        self.command = " ".join(intent["spec"]["process"]["args"])
        self.status, self.runs = filters.status_words(item), item.is_running
        places = engine.containers.ports(row.id) if self.runs else {}
        self.ports = ", ".join(f"{place} → {port}" for port, each in places.items() for place in each)
        self.networks = ", ".join(filters.networks(engine, row.id, intent))


def listing(engine: Engine, everything: bool) -> Facts:
    """Return the containers that run, or all, the newest first."""
    return {"containers": [Shown(engine, item) for item in listed(engine._store, everything)], "everything": everything}


def container(engine: Engine, container_id: str) -> Facts:
    """Return what the page of a container shows. Raises NotFound."""
    row = find(engine._store, container_id)
    item = one(engine._store, row)
    if item is None:
        raise NotFound(f"No such container: {container_id}")  # it has just been removed
    facts: Facts = {
        "container": Shown(engine, item),
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
            pass  # it has just ended
    return facts | log(engine, row.id)


def log(engine: Engine, container_id: str) -> Facts:
    """Return the end of a container's log, and whether there may be more soon. Raises NotFound."""
    facts: Facts = {"id": container_id, "runs": engine.containers.is_running(container_id), "problem": "", "text": ""}
    try:
        data = b"".join(record[2] for record in engine.containers.logs(container_id, tail=LINES))
    except UnderlayError as error:
        return {**facts, "problem": error.message}
    return {**facts, "text": _COLOURS.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")}
