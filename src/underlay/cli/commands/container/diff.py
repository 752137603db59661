"""`underlay diff`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show what a container has changed of its image"
SYNOPSIS = "diff CONTAINER"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print a line for each change: A (added), C (changed) or D (deleted), and the path."""
    for kind, path in engine.containers.diff(arguments[0]):
        sys.stdout.write(f"{kind} {path}\n")
    return 0
