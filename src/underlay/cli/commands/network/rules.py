"""`underlay network rules`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Print the firewall rules in nft syntax"
SYNOPSIS = "network rules"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the table with all that is in it."""
    if arguments:
        raise InvalidInput('"underlay network rules" accepts no arguments', "see `underlay network rules --help`")
    sys.stdout.write(engine.networks.rules())
    return 0
