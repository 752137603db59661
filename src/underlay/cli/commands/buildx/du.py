"""`underlay buildx du`."""

from __future__ import annotations

import sys
from time import time

from ...flags.buildflags import BUILDER_FLAG, check_builder
from ..image.builder_prune import unused_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....builder.cache.prune import CacheEntry
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show disk usage of the build cache"
SYNOPSIS = "buildx du [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    BUILDER_FLAG,
    ("filter", "", "list", "filter", "Provide filter values (until=24h: not used for 24 hours)"),
    ("format", "", "string", "string", "Format output: 'table', 'json', or a Go template"),
    ("verbose", "", "bool", "", "Show each entry with what it is of"),
)
_HEADERS = {"ID": "ID", "Reclaimable": "RECLAIMABLE", "Size": "SIZE", "LastUsed": "LAST ACCESSED"}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the entries of the build cache and what they take."""
    from ....human import size
    from ...output import listing

    check_builder(options)
    cached = engine.builds.cached()
    if options["filter"]:
        before = time() - unused_for(options["filter"])
        cached = [entry for entry in cached if entry.used / 1e9 <= before]
    own = sum(entry.size for entry in cached if not entry.shared)
    if options["verbose"]:
        sys.stdout.write("".join(_described(entry) + "\n" for entry in cached))
    else:
        default = "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsed}}"
        sys.stdout.write(listing([_row(entry) for entry in cached], _HEADERS, default, options["format"]))
    if not options["format"]:
        shared = sum(entry.size for entry in cached if entry.shared)
        sys.stdout.write(f"Shared:\t\t{size(shared)}\nReclaimable:\t{size(own)}\nTotal:\t\t{size(own + shared)}\n")
    return 0


def _row(entry: CacheEntry) -> dict[str, str]:
    from ....human import age, size

    return {
        "ID": entry.id,
        "Type": entry.kind,
        "Description": entry.description,
        "Shared": str(entry.shared).lower(),
        "Reclaimable": str(not entry.shared).lower(),
        "Size": size(entry.size),
        "LastUsed": age(entry.used / 1e9),
        "UsageCount": str(entry.uses),
    }


def _described(entry: CacheEntry) -> str:
    row = _row(entry)
    names = {"ID": "ID", "Type": "Type", "Description": "Description", "Shared": "Shared", "Size": "Size"}
    return "".join(f"{name + ':':<13} {row[key]}\n" for key, name in names.items())
