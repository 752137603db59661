"""`underlay network reload`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Rebuild the firewall rules for the running containers"
SYNOPSIS = "network reload"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Make the table anew, and say how many containers it is for."""
    count = engine.networks.reload()
    sys.stdout.write(f"The firewall was made anew, for {count} container{'s' * (count != 1)} in networks\n")
    return 0
