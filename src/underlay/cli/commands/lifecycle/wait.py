"""`underlay wait`."""

from __future__ import annotations

import sys

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Block until one or more containers stop, then print their exit codes"
SYNOPSIS = "wait CONTAINER [CONTAINER...]"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the exit codes of containers as they end."""
    if not arguments:
        raise UsageError('"underlay wait" requires at least 1 argument', "see `underlay wait --help`")
    for name in arguments:
        sys.stdout.write(f"{engine.containers.wait(name)}\n")
        sys.stdout.flush()
    return 0
