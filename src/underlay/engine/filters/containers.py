"""Which containers a list has: docker's filters, and a container's state in docker's words (docker ps, "Filtering")."""

from __future__ import annotations

import time

from ...errors import InvalidInput, NotFound
from ...human import age, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.rows.intent import Intent
    from ..containers.find import ContainerListing
    from ..engine import Engine

_HEALTH = ("starting", "healthy", "unhealthy", "none")
_STATES = ("created", "running", "paused", "restarting", "exited", "dead", "removing")


KEYS = ("id", "name", "label", "status", "exited", "ancestor", "before", "since", "volume", "network", "health")


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


def passes(engine: Engine, item: ContainerListing, filters: Sequence[tuple[str, str]]) -> bool:
    """Return whether a container is in the list: values of one key are alternatives, except labels; keys must all hold."""
    by_kind: dict[str, list[str]] = {}
    for key, value in filters:
        by_kind.setdefault(key, []).append(value)
    for key, values in by_kind.items():
        answers = [_holds(engine, item, key, value) for value in values]
        if not (all(answers) if key == "label" else any(answers)):
            return False
    return True


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
        return item.status.status == "exited" and str(item.status.code) == value
    if key == "label":
        name, equals, wanted = value.partition("=")
        return bool(name in intent["labels"] and (not equals or intent["labels"][name] == wanted))
    if key == "ancestor":
        return _descends(engine, item, value)
    if key in ("before", "since"):
        from ..containers.find import find

        other = find(engine._store, value).created
        return row.created < other if key == "before" else row.created > other
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
