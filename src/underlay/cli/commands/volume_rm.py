"""`underlay volume rm`."""

from __future__ import annotations

import sys

from ...errors import InvalidInput, NotFound, UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ..flags import Flag, Options

SUMMARY = "Remove one or more volumes"
SYNOPSIS = "volume rm [OPTIONS] VOLUME [VOLUME...]"
FLAGS: tuple[Flag, ...] = (("force", "f", "bool", "", "Do not mind volumes that are not there"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove volumes and print their names."""
    if not arguments:
        raise InvalidInput('"underlay volume rm" requires at least 1 argument', "see `underlay volume rm --help`")
    failed = 0
    for name in arguments:
        try:
            engine.volumes.remove(name)
        except UnderlayError as error:
            if not (options["force"] and isinstance(error, NotFound)):
                sys.stdout.flush()
                sys.stderr.write(f"underlay: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
                failed = 1
                continue
        sys.stdout.write(name + "\n")
    return failed
