"""`underlay ps`."""

from __future__ import annotations

import sys
import time

from ....human import age, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.containers.find import ContainerListing
    from ....engine.engine import Engine
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
    from ....engine.filters import containers as filters
    from ...output import listing

    count = 1 if options["latest"] else options["last"]
    pairs = [filters.parse(text) for text in options["filter"]]
    every = options["all"] or count is not None or any(key in ("status", "exited") for key, _ in pairs)
    engine.containers.recover()
    chosen = filters.Filters(engine, pairs)
    listings = [item for item in listed(engine._store, every) if chosen.passes(item)]
    if count is not None and count >= 0:
        listings = listings[:count]
    rows = [_row(engine, item, options) for item in listings]
    template = _TEMPLATE + ("\t{{.Size}}" if options["size"] else "")
    quiet = "{{.ID}}" if options["quiet"] else ""
    sys.stdout.write(listing(rows, _HEADERS, template, options["format"], quiet, whole=options["no-trunc"]))
    return 0


def _row(engine: Engine, item: ContainerListing, options: Options) -> dict[str, Any]:
    from ....engine.containers.inspect import shown_mounts
    from ....engine.filters import containers as filters
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
        "Status": filters.status_words(item),
        "State": item.status.status,
        "Ports": _ports(engine, row.id) if item.status.status == "running" else "",
        "Names": row.name,
        "Size": written,
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(intent["labels"].items())),
        "Label": lambda name: intent["labels"].get(name, ""),
        "Mounts": ",".join(mounts),
        "LocalVolumes": str(sum(1 for m in intent["mounts"] if m["Type"] == "volume")),
        "Networks": ",".join(filters.networks(engine, row.id, intent)),
    }


def _ports(engine: Engine, container_id: str) -> str:
    """Return where published ports are reached: `0.0.0.0:8080->80/tcp`; at the container's own address just `80/tcp`."""
    ports = engine.containers.ports(container_id)
    pairs = ((name, address) for name, addresses in ports.items() for address in addresses)
    return ", ".join(dict.fromkeys(name if address.endswith(":") else f"{address}->{name}" for name, address in pairs))
