"""`underlay system prune`."""

from __future__ import annotations

import sys
from time import time

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove unused data: stopped containers, networks, images, build cache"
SYNOPSIS = "system prune [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Remove all unused images and all build cache, not just dangling ones"),
    ("filter", "", "list", "filter", "Provide filter values (until=24h, label=…, label!=…)"),
    ("force", "f", "bool", "", "Do not prompt for confirmation"),
    ("volumes", "", "bool", "", "Prune anonymous volumes"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove it all, after a question, and say what went."""
    from ....human import size
    from ... import prunefilters
    from ...confirm import confirmed

    filters = prunefilters.parse(options["filter"])
    if options["volumes"] and filters.until is not None:
        raise InvalidInput('the "until" filter is not supported with "--volumes"')
    if not options["force"] and not confirmed(_warning(options)):
        return 0
    space = 0
    containers = engine.containers.prune(filters.until, filters.labels)
    parts = [
        ("Deleted Containers:", containers),
        ("Deleted Networks:", engine.networks.prune(filters.until, filters.labels)),
    ]
    if options["volumes"]:
        parts.append(("Deleted Volumes:", engine.volumes.prune(False, filters.labels)))
    parts.append(("Deleted Images:", engine.images.prune(options["all"], filters.until, filters.labels)))
    if not filters.labels:  # build cache has no labels
        older = 0.0 if filters.until is None else max(0.0, time() - filters.until)
        parts.append(("Deleted build cache objects:", engine.builds.prune(options["all"], older)))
    for title, pruned in parts:
        space += pruned.reclaimed
        if pruned.removed:
            sys.stdout.write(f"{title}\n" + "".join(f"{name}\n" for name in pruned.removed) + "\n")
    sys.stdout.write(f"Total reclaimed space: {size(space)}\n")
    return 0


def _warning(options: Options) -> str:
    items = ["all stopped containers", "all networks not used by at least one container"]
    if options["volumes"]:
        items.append("all anonymous volumes not used by at least one container")
    if options["all"]:
        items += ["all images without at least one container associated to them", "all build cache"]
    else:
        items += ["all dangling images", "unused build cache"]
    text = "WARNING! This will remove:\n" + "".join(f"  - {item}\n" for item in items)
    if options["filter"]:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(
            f"  - {item}\n" for item in options["filter"]
        )
    return text
