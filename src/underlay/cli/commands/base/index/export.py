"""`underlay base index export`."""

from __future__ import annotations

import sys

from .....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Export the index of base images to a file"
SYNOPSIS = "base index export FILE"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Write the index of bases to a file that is made."""
    if len(arguments) != 1:
        raise InvalidInput(
            '"underlay base index export" requires exactly 1 argument', "see `underlay base index export --help`"
        )
    sys.stdout.write(f"{engine.bases.export_index(arguments[0])} builds\n")
    return 0
