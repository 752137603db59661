"""`underlay top`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display the running processes of a container"
SYNOPSIS = "top CONTAINER [ps OPTIONS]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = ()
INTERSPERSED = False


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the processes in the columns of ps."""
    from ...output import table

    processes = engine.containers.top(arguments[0], arguments[1:])
    sys.stdout.write(table([processes.titles, *processes.rows], minimum=20))
    return 0
