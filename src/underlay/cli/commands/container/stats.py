"""`underlay stats`."""

from __future__ import annotations

import sys
import time

from ....errors import Conflict, NotFound, UnderlayError
from ....human import binary_size, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.containers.stats import Stats
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display a live stream of container(s) resource usage statistics"
SYNOPSIS = "stats [OPTIONS] [CONTAINER...]"
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Show all containers (default shows just running)"),
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', 'TEMPLATE'"),
    ("no-stream", "", "bool", "", "Disable streaming stats and only pull the first result"),
    ("no-trunc", "", "bool", "", "Do not truncate output"),
)
_HEADERS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_TEMPLATE = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
_FIRST, _EACH = 0.5, 1.0  # seconds: between the two samples that the first rate needs, and between two tables
_CLEAR = "\033[2J\033[H"


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print a table of what containers use, once or each second until it is interrupted or none is left."""
    from ....engine.containers.find import find
    from ...output import listing

    for name in arguments:
        find(engine._store, name)
    before: dict[str, Stats] = {}
    _rows(engine, options, arguments, before)
    pause = _FIRST
    while True:
        time.sleep(pause)
        pause = _EACH
        rows = _rows(engine, options, arguments, before)
        text = listing(rows, _HEADERS, _TEMPLATE, options["format"], whole=options["no-trunc"])
        if options["no-stream"]:
            sys.stdout.write(text)
            return 0
        sys.stdout.write(_CLEAR + text)
        sys.stdout.flush()
        if arguments and not rows:
            return 0


def _rows(engine: Engine, options: Options, names: list[str], before: dict[str, Stats]) -> list[dict[str, str]]:
    """Take a sample of each container and return them as rows, rates since the samples in `before`, which are replaced."""
    from ....engine.containers.find import find, listed

    if names:
        wanted = [(name, name) for name in names]
    else:
        wanted = [(item.row.id, item.row.id) for item in listed(engine._store, options["all"])]
    rows = []
    for shown, name in wanted:
        try:
            row = find(engine._store, name)
        except NotFound:
            continue  # it has been removed
        try:
            stats = engine.containers.stats(row.id)
        except Conflict:
            stats = None
        except UnderlayError:
            continue
        values = _values(stats, before.get(row.id)) if stats is not None else _nothing()
        short = row.id if options["no-trunc"] else row.id[:12]
        rows.append({"Container": shown if names else short, "ID": short, "Name": row.name, **values})
        if stats is not None:
            before[row.id] = stats
    return rows


def _values(stats: Stats, before: Stats | None) -> dict[str, str]:
    return {
        "CPUPerc": f"{stats.cpu_percent(before) if before is not None else 0:.2f}%",
        "MemUsage": f"{binary_size(stats.memory)} / {binary_size(stats.memory_limit)}",
        "MemPerc": f"{stats.memory_percent:.2f}%",
        "NetIO": f"{size(stats.received)} / {size(stats.sent)}",
        "BlockIO": f"{size(stats.read)} / {size(stats.written)}",
        "PIDs": str(stats.pids),
    }


def _nothing() -> dict[str, str]:
    """A container that does not run, as docker shows it."""
    return {
        "CPUPerc": "--",
        "MemUsage": "-- / --",
        "MemPerc": "--",
        "NetIO": "--",
        "BlockIO": "--",
        "PIDs": "--",
    }
