"""`underlay network rules`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Print the firewall rules in nft syntax"
SYNOPSIS = "network rules"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the table with all that is in it."""
    sys.stdout.write(engine.networks.rules())
    return 0
