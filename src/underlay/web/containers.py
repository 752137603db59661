"""The list of containers, and what the page of one container shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..engine.containers.find import find, listed
from ..engine.containers.find import listing as state_of
from ..engine.containers.inspect import shown_mounts
from ..engine.filters import containers as filters
from ..errors import NotFound, UnderlayError
from ..human import binary_size, escaped, size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..engine.containers import Containers
    from ..engine.containers.find import ContainerListing
    from ..engine.containers.stats import Stats
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
        "state": item.status.status,
        "health": item.status.health.get("status", ""),
        "mounts": shown_mounts(item.intent),
        "labels": sorted(item.intent["labels"].items()),
        "details": engine.containers.inspect(row.id),
    }
    return facts | processes(engine, row.id) | log(engine, row.id)


def processes(engine: Engine, container_id: str) -> Facts:
    """Return the running processes of a container as `processes`; None if the container is not running."""
    try:
        return {"processes": engine.containers.top(container_id)}
    except UnderlayError:
        return {"processes": None}


def log(engine: Engine, container_id: str) -> Facts:
    """Return the last lines of a container's log as `text`, or as `problem` why the log cannot be read. Raises NotFound."""
    try:
        data = b"".join(record[2] for record in engine.containers.logs(container_id, tail=LINES))
    except UnderlayError as error:
        return {"problem": error.message, "text": ""}
    return {"problem": "", "text": shown_text(data.decode("utf-8", "replace"))}


def shown_text(text: str) -> str:
    """Return a container's output for a page: terminal control sequences are removed, other control characters escaped."""
    return escaped(_SEQUENCES.sub("", text).replace("\r\n", "\n"), "\n\t")


class Usage:
    """Samples of the resource usage of one container; rates are computed from the previous sample."""

    def __init__(self) -> None:
        self._before: Stats | None = None

    def sample(self, engine: Engine, container_id: str) -> Mapping[str, tuple[float, str]]:
        """Return the current usage by resource: the number to plot, and its text. Empty for the first sample.

        Raises Conflict when the container is not running.
        """
        now, before = engine.containers.stats(container_id), self._before
        self._before = now
        if before is None or not now.figures:
            return {}
        seconds = max((now.when - before.when) / 1e9, 0.001)
        processor = now.cpu_percent(before)
        network = (now.received + now.sent - before.received - before.sent) / seconds
        disk = (now.read + now.written - before.read - before.written) / seconds
        limit = f" of {binary_size(now.memory_limit)}" if now.memory_limit else ""
        return {
            "processor": (processor, f"{processor:.1f} %"),
            "memory": (now.memory, binary_size(now.memory) + limit),
            "network": (network, f"{size(network)}/s"),
            "disk": (disk, f"{size(disk)}/s"),
        }


REMOVE = "remove"
# The actions on the page of a container, by the last part of the URL. Only a stopped container can be removed.
ACTIONS: Mapping[str, Callable[[Containers, str], object]] = {
    "start": lambda containers, name: containers.start(name),
    "stop": lambda containers, name: containers.stop(name),
    "restart": lambda containers, name: containers.restart(name),
    "kill": lambda containers, name: containers.kill(name),
    "pause": lambda containers, name: containers.pause(name),
    "unpause": lambda containers, name: containers.unpause(name),
    REMOVE: lambda containers, name: containers.remove(name, volumes=True),
}
