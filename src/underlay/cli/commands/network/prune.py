"""`underlay network prune`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove all unused networks"
SYNOPSIS = "network prune [OPTIONS]"
FLAGS: tuple[Flag, ...] = (
    ("filter", "", "list", "filter", "Provide filter values (until=24h, label=…, label!=…)"),
    ("force", "f", "bool", "", "Do not prompt for confirmation"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove networks that no container is in, after a question."""
    from ...confirm import confirmed
    from ...moments import moment

    if arguments:
        raise InvalidInput('"underlay network prune" accepts no arguments', "see `underlay network prune --help`")
    until = None
    labels = []
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if not equals or key not in ("until", "label", "label!"):
            raise InvalidInput(f"invalid filter '{text}'", "known are until, label and label!, each with =")
        if key == "until":
            until = moment(value)
        else:
            labels.append(f"!{value}" if key == "label!" else value)
    warning = "WARNING! This will remove all custom networks not used by at least one container."
    if not options["force"] and not confirmed(warning):
        return 0
    gone = engine.networks.prune(until, labels).removed
    if gone:
        sys.stdout.write("Deleted Networks:\n" + "".join(f"{name}\n" for name in gone) + "\n")
    return 0
