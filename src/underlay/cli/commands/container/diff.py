"""`underlay diff`."""

from __future__ import annotations

import sys

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show what a container has changed of its image"
SYNOPSIS = "diff CONTAINER"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print a line for each change: A (added), C (changed) or D (deleted), and the path."""
    if len(arguments) != 1:
        raise UsageError('"underlay diff" requires exactly 1 argument', "see `underlay diff --help`")
    for kind, path in engine.containers.diff(arguments[0]):
        sys.stdout.write(f"{kind} {path}\n")
    return 0
