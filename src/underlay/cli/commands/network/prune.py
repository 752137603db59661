"""`underlay network prune`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove all unused networks"
SYNOPSIS = "network prune [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("filter", "", "list", "filter", "Provide filter values (until=24h, label=…, label!=…)"),
    ("force", "f", "bool", "", "Do not prompt for confirmation"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove networks that no container is in, after a question."""
    from ... import prunefilters
    from ...confirm import confirmed

    filters = prunefilters.parse(options["filter"])
    warning = "WARNING! This will remove all custom networks not used by at least one container."
    if not options["force"] and not confirmed(warning):
        return 0
    gone = engine.networks.prune(filters.until, filters.labels).removed
    if gone:
        sys.stdout.write("Deleted Networks:\n" + "".join(f"{name}\n" for name in gone) + "\n")
    return 0
