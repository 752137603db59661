"""`underlay ps`."""

from __future__ import annotations

import sys
import time

from ....errors import InvalidInput
from ....human import age, duration, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.containers.find import ContainerListing
    from ....engine.engine import Engine
    from ....store.rows.intent import Intent
    from ...flags import Flag, Options

SUMMARY = "List containers"
SYNOPSIS = "ps [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Show all containers (default shows just running)"),
    ("filter", "f", "list", "filter", "Filter output based on conditions provided"),
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', 'TEMPLATE'"),
    ("last", "n", "int", "int", "Show n last created containers (includes all states)"),
    ("latest", "l", "bool", "", "Show the latest created container (includes all states)"),
    ("no-trunc", "", "bool", "", "Don't truncate output"),
    ("quiet", "q", "bool", "", "Only display container IDs"),
    ("size", "s", "bool", "", "Display total file sizes"),
)
_HEADERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "LocalVolumes": "LOCAL VOLUMES",
}
_TEMPLATE = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List containers in docker's columns."""
    from ....engine.containers.find import listed
    from ...output import listing

    count = 1 if options["latest"] else options["last"]
    filters = [_filter(text) for text in options["filter"]]
    every = options["all"] or count is not None or any(key in ("status", "exited") for key, _ in filters)
    engine.containers.recover()
    listings = [item for item in listed(engine._store, every) if _passes(engine, item, filters)]
    if count is not None and count >= 0:
        listings = listings[:count]
    rows = [_row(engine, item, options) for item in listings]
    template = _TEMPLATE + ("\t{{.Size}}" if options["size"] else "")
    quiet = "{{.ID}}" if options["quiet"] else ""
    sys.stdout.write(listing(rows, _HEADERS, template, options["format"], quiet, whole=options["no-trunc"]))
    return 0


def _row(engine: Engine, item: ContainerListing, options: Options) -> dict[str, Any]:
    from ....engine.containers.inspect import shown_mounts
    from ...output import quoted

    row, intent = item.row, item.intent
    full = options["no-trunc"]
    program, *words = intent["spec"]["process"]["args"]
    command = " ".join([program, *(f"'{word}'" if " " in word else word for word in words)])
    if not full and len(command) > 20:
        command = command[:19] + "…"
    mounts = [m.get("Name") or m["Source"] for m in shown_mounts(intent)]
    if not full:
        mounts = [name if len(name) <= 15 else name[:14] + "…" for name in mounts]
    written = ""
    if options["size"] or "Size" in options["format"]:
        from ....engine.containers.inspect import sizes

        own, whole = sizes(engine._store, row)
        written = f"{size(own)} (virtual {size(whole)})"
    return {
        "ID": row.id if full else row.id[:12],
        "Image": intent["image"]["name"],
        "Command": quoted(command),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(row.created / 1e9)),
        "RunningFor": age(row.created / 1e9),
        "Status": status_words(item),
        "State": item.status.status,
        "Ports": _ports(engine, row.id) if item.status.status == "running" else "",
        "Names": row.name,
        "Size": written,
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(intent["labels"].items())),
        "Label": lambda name: intent["labels"].get(name, ""),
        "Mounts": ",".join(mounts),
        "LocalVolumes": str(sum(1 for m in intent["mounts"] if m["Type"] == "volume")),
        "Networks": ",".join(_networks(engine, row.id, intent)),
    }


def _ports(engine: Engine, container_id: str) -> str:
    """Return where published ports are reached: `0.0.0.0:8080->80/tcp`; at the container's own address just `80/tcp`."""
    ports = engine.containers.ports(container_id)
    pairs = ((name, address) for name, addresses in ports.items() for address in addresses)
    return ", ".join(dict.fromkeys(name if address.endswith(":") else f"{address}->{name}" for name, address in pairs))


def _networks(engine: Engine, container_id: str, intent: Intent) -> list[str]:
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


_HEALTH = ("starting", "healthy", "unhealthy", "none")
_STATES = ("created", "running", "paused", "restarting", "exited", "dead", "removing")


def _filter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    known = ("id", "name", "label", "status", "exited", "ancestor", "before", "since", "volume", "network", "health")
    if not equals:
        raise InvalidInput(f'invalid argument "{text}" for "-f, --filter" flag: invalid filter \'{text}\'')
    if key not in known:
        raise InvalidInput(f"invalid filter '{key}'", "known filters: " + ", ".join(known))
    if key == "status" and value not in _STATES:
        raise InvalidInput(f"invalid filter 'status={value}'", "states: " + ", ".join(_STATES))
    if key == "health" and value not in _HEALTH:
        raise InvalidInput(f"invalid filter 'health={value}'", "health: " + ", ".join(_HEALTH))
    return key, value


def _passes(engine: Engine, item: ContainerListing, filters: list[tuple[str, str]]) -> bool:
    """Filters of one kind are alternatives, except labels; kinds must all hold (docker ps, "Filtering")."""
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
        import re

        try:
            return re.search(value, row.name) is not None or re.search(value, "/" + row.name) is not None
        except re.error:
            raise InvalidInput(f"invalid filter 'name={value}': not a regular expression") from None
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
        from ....engine.containers.find import find

        other = find(engine._store, value).created
        return row.created < other if key == "before" else row.created > other
    if key == "volume":
        return any(value in (m.get("Name"), m["Destination"]) for m in intent["mounts"])
    if "network" not in intent:
        return bool((intent["options"].get("network") or "none") == value)
    if intent.get("cni"):
        return value in _networks(engine, row.id, intent)
    return any(value == network.name or network.id.startswith(value) for network in engine.networks.of(row.id))


def _descends(engine: Engine, item: ContainerListing, name: str) -> bool:
    from ....errors import NotFound

    try:
        image = engine.images.get(name)
    except NotFound:
        return bool(item.intent["image"]["name"] == name)
    have = item.intent["image"]["diff_ids"]
    return item.row.image == image.id or bool(
        bool(image.diff_ids) and have[: len(image.diff_ids)] == list(image.diff_ids)
    )
