"""`underlay rm`."""

from __future__ import annotations

import sys

from ....errors import NotFound, UnderlayError, UsageError
from ...each import print_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove one or more containers"
SYNOPSIS = "rm [OPTIONS] CONTAINER [CONTAINER...]"
FLAGS: tuple[Flag, ...] = (
    ("force", "f", "bool", "", "Force the removal of a running container (uses SIGKILL)"),
    ("volumes", "v", "bool", "", "Remove anonymous volumes associated with the container"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove containers and print their names."""
    if not arguments:
        raise UsageError('"underlay rm" requires at least 1 argument', "see `underlay rm --help`")
    failed = 0
    for name in arguments:
        try:
            engine.containers.remove(name, options["force"], options["volumes"])
            sys.stdout.write(name + "\n")
        except UnderlayError as error:
            if options["force"] and isinstance(error, NotFound):
                continue  # docker, too, ends well when what was to go is not there
            print_error(error)
            failed = 1
    return failed
