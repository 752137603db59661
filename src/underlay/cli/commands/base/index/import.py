"""`underlay base index import`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Import an exported file into the index of base images"
SYNOPSIS = "base index import FILE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Add the builds of a file that `base index export` made."""
    imported = engine.bases.import_index(arguments[0])
    sys.stdout.write(f"{imported.builds} builds under {imported.names} names: {imported.new} new\n")
    return 0
