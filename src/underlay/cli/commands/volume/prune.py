"""`underlay volume prune`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove unused local volumes"
SYNOPSIS = "volume prune [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Remove all unused volumes, not just anonymous ones"),
    ("filter", "", "list", "filter", "Provide filter values (label=…, label!=…)"),
    ("force", "f", "bool", "", "Do not prompt for confirmation"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove what no container uses, after a question."""
    from ....human import size
    from ...confirm import confirmed

    every = options["all"]
    labels: list[str] = []
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if key == "label" and equals:
            labels.append(value)
        elif key == "label!" and equals:
            labels.append("!" + value)
        elif key == "all" and value in ("true", "false", "1", "0"):
            every = every or value in ("true", "1")
        else:
            raise InvalidInput(f"invalid filter '{key}'", "known are label, label!, all")
    kind = "all" if every else "anonymous"
    warning = f"WARNING! This will remove {kind} local volumes not used by at least one container."
    if not options["force"] and not confirmed(warning):
        return 0
    pruned = engine.volumes.prune(every, labels)
    if pruned.removed:
        sys.stdout.write("Deleted Volumes:\n" + "".join(f"{name}\n" for name in pruned.removed) + "\n")
    sys.stdout.write(f"Total reclaimed space: {size(pruned.reclaimed)}\n")
    return 0
