"""`underlay system start`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Start the containers that should run by their restart policies, as after a boot"
SYNOPSIS = "system start"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Start them, and print the names of those that were started."""
    from ....engine import booting
    from ...each import print_error

    done = booting.start_all(engine._store, engine.containers._launcher)
    for name in done.started:
        sys.stdout.write(name + "\n")
    for name, error in done.failed.items():
        error.message = f"{name}: {error.message}"
        print_error(error)
    return 1 if done.failed else 0
