"""`underlay rm`."""

from __future__ import annotations

import sys

from ....errors import NotFound, UnderlayError
from ...each import print_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove one or more containers"
SYNOPSIS = "rm [OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("force", "f", "bool", "", "Force the removal of a running container (uses SIGKILL)"),
    ("link", "l", "bool", "", "Remove the specified link (CONTAINER/ALIAS)"),
    ("volumes", "v", "bool", "", "Remove anonymous volumes associated with the container"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove containers and print their names."""
    failed = 0
    for name in arguments:
        try:
            if options["link"]:
                engine.containers.remove_link(name)
            else:
                engine.containers.remove(name, options["force"], options["volumes"])
            sys.stdout.write(name + "\n")
        except UnderlayError as error:
            print_error(error)
            # As docker, which ends well when what was to go by force is not there.
            failed = failed or int(not options["force"] or not isinstance(error, NotFound))
    return failed
