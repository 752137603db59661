"""Which containers a list has: docker's filters, and a container's state in docker's words (docker ps, "Filtering")."""

from __future__ import annotations

import time

from ...errors import InvalidInput, NotFound
from ...human import age, duration, whole
from ..containers.find import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.rows.intent import Intent
    from ..containers.find import ContainerListing
    from ..engine import Engine

_HEALTH = ("starting", "healthy", "unhealthy", "none")
_STATES = ("created", "running", "paused", "restarting", "exited", "dead", "removing")
_YES, _NO = ("1", "t", "true"), ("0", "f", "false")
_PORTS = ("publish", "expose")
KEYS = (
    *("id", "name", "label", "status", "exited", "ancestor", "before", "since", "volume", "network", "health"),
    *(*_PORTS, "is-task", "isolation"),
)


def parse(text: str) -> tuple[str, str]:
    """Return key and value of `key=value`. Raises InvalidInput."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f'invalid argument "{text}" for "-f, --filter" flag: invalid filter \'{text}\'')
    check(key, value)
    return key, value


def check(key: str, value: str) -> None:
    """Raise InvalidInput for a filter that there is not, or that has no such value."""
    if key not in KEYS:
        raise InvalidInput(f"invalid filter '{key}'", "known filters: " + ", ".join(KEYS))
    if key == "status" and value not in _STATES:
        raise InvalidInput(f"invalid filter 'status={value}'", "states: " + ", ".join(_STATES))
    if key == "health" and value not in _HEALTH:
        raise InvalidInput(f"invalid filter 'health={value}'", "health: " + ", ".join(_HEALTH))
    if key == "exited" and whole(value.removeprefix("-")) < 0:
        raise InvalidInput(f"invalid filter 'exited={value}'", "give an exit code: a number")
    if key == "is-task" and value.lower() not in _YES + _NO:
        raise InvalidInput(f"invalid filter 'is-task={value}'", "true or false")
    if key in _PORTS:
        _ports_of(value)


def _ports_of(text: str) -> set[str]:
    """Return the ports of `80`, `80/udp`, `8000-8010/tcp`, each with its protocol. Raises InvalidInput."""
    from ...network.ports import parse_exposed

    return {f"{port.port}/{port.protocol}" for port in parse_exposed(text)}


class Filters:
    """The filters of a list of containers, given as pairs of key and value that `check` has accepted.

    A container passes when every key holds. Values of one key are alternatives, except labels; `publish` and `expose`
    count as one key. Raises NotFound when `before` or `since` names a container that does not exist.
    """

    def __init__(self, engine: Engine, pairs: Sequence[tuple[str, str]]) -> None:
        self._engine = engine
        self._values: dict[str, list[str]] = {}
        for key, value in pairs:
            self._values.setdefault(key, []).append(value)
        self._times = {
            key: [find(engine._store, value).created for value in self._values.pop(key, ())]
            for key in ("before", "since")
        }
        self._ports = {key: set().union(*map(_ports_of, self._values.pop(key, ()))) for key in _PORTS}

    def passes(self, item: ContainerListing) -> bool:
        """Return whether a container passes the filters."""
        created = item.row.created
        if any(created >= time for time in self._times["before"]) or any(
            created <= time for time in self._times["since"]
        ):
            return False
        for key, values in self._values.items():
            answers = (_holds(self._engine, item, key, value) for value in values)
            if not (all(answers) if key == "label" else any(answers)):
                return False
        return not any(self._ports.values()) or self._has_ports(item)

    def _has_ports(self, item: ContainerListing) -> bool:
        bound = self._engine.containers.inspect(item.row.id)["NetworkSettings"]["Ports"]
        published = {
            f"{place['HostPort']}/{name.partition('/')[2]}" for name, places in bound.items() for place in places or ()
        }
        return bool(self._ports["publish"] & published or self._ports["expose"] & set(bound))


def _holds(engine: Engine, item: ContainerListing, key: str, value: str) -> bool:
    row, intent = item.row, item.intent
    if key == "id":
        return row.id.startswith(value)
    if key == "name":
        from .names import fits  # a module with regular expressions, for those who ask for a name

        return fits(value, row.name, "/" + row.name)
    if key == "status":
        return item.status.status == value
    if key == "health":
        return item.status.health.get("status", "none") == value
    if key == "exited":
        return item.status.status == "exited" and item.status.code == int(value)
    if key == "label":
        name, equals, wanted = value.partition("=")
        return bool(name in intent["labels"] and (not equals or intent["labels"][name] == wanted))
    if key == "ancestor":
        return _descends(engine, item, value)
    if key == "is-task":
        return value.lower() in _NO  # there is no swarm, of which a container could be a task
    if key == "isolation":
        return value == ("machine" if "machine" in intent else "process") or value == "default"
    if key == "volume":
        return any(value in (m.get("Name"), m["Destination"]) for m in intent["mounts"])
    if "network" not in intent:
        return bool((intent["options"].get("network") or "none") == value)
    if intent.get("cni"):
        return value in networks(engine, row.id, intent)
    return any(value == network.name or network.id.startswith(value) for network in engine.networks.of(row.id))


def _descends(engine: Engine, item: ContainerListing, name: str) -> bool:
    try:
        image = engine.images.get(name)
    except NotFound:
        return bool(item.intent["image"]["name"] == name)
    have = item.intent["image"]["diff_ids"]
    return item.row.image == image.id or bool(
        bool(image.diff_ids) and have[: len(image.diff_ids)] == list(image.diff_ids)
    )


def networks(engine: Engine, container_id: str, intent: Intent) -> list[str]:
    """Return the names of the networks that a container is in."""
    if "network" not in intent:
        return [intent["options"].get("network") or "none"]
    if intent.get("cni"):
        return [f"cni:{network['name']}" for network in intent["cni"]]
    return [network.name for network in engine.networks.of(container_id)]


def status_words(item: ContainerListing) -> str:
    """Return the state in docker's words: `Up 5 minutes`, `Exited (0) 2 hours ago`, `Created`."""
    status = item.status
    now = time.time()
    if status.status == "running":
        health = status.health.get("status", "")
        shown = f" (health: {health})" if health == "starting" else f" ({health})" if health else ""
        return f"Up {duration(now - status.started / 1e9)}{shown}"
    if status.status == "paused":
        return f"Up {duration(now - status.started / 1e9)} (Paused)"
    if status.status == "restarting":
        return f"Restarting ({status.code}) {age(status.finished / 1e9 if status.finished else now)}"
    if status.status == "exited":
        return f"Exited ({status.code}) {age(status.finished / 1e9)}"
    return status.status.capitalize()
