"""`underlay unpause`."""

from __future__ import annotations

import sys

from ....errors import UnderlayError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Unpause all processes within one or more containers"
SYNOPSIS = "unpause CONTAINER [CONTAINER...]"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Let paused containers go on and print their names."""
    if not arguments:
        raise UsageError('"underlay unpause" requires at least 1 argument', "see `underlay unpause --help`")
    failed = 0
    for name in arguments:
        try:
            engine.containers.unpause(name)
            sys.stdout.write(name + "\n")
        except UnderlayError as error:
            sys.stdout.flush()
            sys.stderr.write(f"underlay: {error.message}\n")
            failed = 1
    return failed
