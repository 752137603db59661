"""`underlay pause`."""

from __future__ import annotations

import sys

from ....errors import UnderlayError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Pause all processes within one or more containers"
SYNOPSIS = "pause CONTAINER [CONTAINER...]"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Pause containers and print their names."""
    if not arguments:
        raise UsageError('"underlay pause" requires at least 1 argument', "see `underlay pause --help`")
    failed = 0
    for name in arguments:
        try:
            engine.containers.pause(name)
            sys.stdout.write(name + "\n")
        except UnderlayError as error:
            sys.stdout.flush()
            sys.stderr.write(f"underlay: {error.message}\n")
            failed = 1
    return failed
