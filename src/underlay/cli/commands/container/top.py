"""`underlay top`."""

from __future__ import annotations

import sys

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display the running processes of a container"
SYNOPSIS = "top CONTAINER [ps OPTIONS]"
FLAGS: tuple[Flag, ...] = ()
INTERSPERSED = False


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the processes in the columns of ps."""
    if not arguments:
        raise UsageError('"underlay top" requires at least 1 argument', "see `underlay top --help`")
    from ...output import table

    processes = engine.containers.top(arguments[0], arguments[1:])
    sys.stdout.write(table([processes.titles, *processes.rows], minimum=20))
    return 0
