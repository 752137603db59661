"""`underlay builder prune`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput
from ...flags.buildflags import BUILDER_FLAG, check_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove build cache"
SYNOPSIS = "builder prune [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Remove all unused build cache, also entries whose layers images use"),
    BUILDER_FLAG,
    ("filter", "", "list", "filter", "Provide filter values (until=24h: not used for 24 hours)"),
    ("force", "f", "bool", "", "Do not prompt for confirmation"),
    ("keep-storage", "", "string", "bytes", "Amount of disk space to keep for cache"),
    ("verbose", "", "bool", "", "Show what each removed entry was of"),
)
_WARNING = {
    False: "WARNING! This will remove all dangling build cache.",
    True: "WARNING! This will remove all build cache.",
}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove what builds have kept, after a question."""
    from ....human import parse_size, size
    from ...confirm import confirmed

    check_builder(options)
    older = unused_for(options["filter"])
    try:
        keep = parse_size(options["keep-storage"]) if options["keep-storage"] else 0
    except ValueError as error:
        raise InvalidInput(f"--keep-storage: {error}") from None
    if not options["force"] and not confirmed(_WARNING[options["all"]]):
        return 0
    described = {entry.id: entry.description for entry in engine.builds.cached()} if options["verbose"] else {}
    pruned = engine.builds.prune(options["all"], older, keep)
    if pruned.removed:
        removed = [
            f"{cache_id}\t{described[cache_id]}" if cache_id in described else cache_id for cache_id in pruned.removed
        ]
        sys.stdout.write("Deleted build cache objects:\n" + "\n".join(removed) + "\n\n")
    sys.stdout.write(f"Total reclaimed space: {size(pruned.reclaimed)}\n")
    return 0


def unused_for(filters: list[str]) -> float:
    """Return the seconds that --filter until=… names, 0 without one. Raises InvalidInput."""
    from ....human import parse_duration

    older = 0.0
    for text in filters:
        key, equals, value = text.partition("=")
        if key not in ("until", "unused-for") or not equals:
            raise InvalidInput(f"invalid filter '{key}'", "known is until")
        try:
            older = max(older, parse_duration(value))
        except ValueError as error:
            raise InvalidInput(f"invalid filter '{text}': {error}") from None
    return older
