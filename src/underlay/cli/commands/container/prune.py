"""`underlay container`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove all stopped containers"
SYNOPSIS = "container prune [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("filter", "", "list", "filter", "Provide filter values (until=24h, label=…, label!=…)"),
    ("force", "f", "bool", "", "Do not prompt for confirmation"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove all containers that are not running, after a question."""
    from ....human import size
    from ... import prunefilters
    from ...confirm import confirmed

    filters = prunefilters.parse(options["filter"])
    warning = "WARNING! This will remove all stopped containers."
    if not options["force"] and not confirmed(warning):
        return 0
    pruned = engine.containers.prune(filters.until, filters.labels)
    if pruned.removed:
        sys.stdout.write("Deleted Containers:\n" + "".join(f"{name}\n" for name in pruned.removed) + "\n")
    sys.stdout.write(f"Total reclaimed space: {size(pruned.reclaimed)}\n")
    return 0
