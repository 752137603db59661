"""`underlay base index export`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Export the index of base images to a file"
SYNOPSIS = "base index export FILE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Write the index of bases to a file that is made."""
    sys.stdout.write(f"{engine.bases.export_index(arguments[0])} builds\n")
    return 0
