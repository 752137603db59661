"""`underlay network rm`."""

from __future__ import annotations

import sys

from ...errors import InvalidInput, NotFound, UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ..flags import Flag, Options

SUMMARY = "Remove one or more networks"
SYNOPSIS = "network rm NETWORK [NETWORK...]"
FLAGS: tuple[Flag, ...] = (("force", "f", "bool", "", "Do not error if the network does not exist"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove networks and print their names; one that cannot be removed does not keep the others."""
    if not arguments:
        raise InvalidInput('"underlay network rm" requires at least 1 argument', "see `underlay network rm --help`")
    failed = 0
    for name in arguments:
        try:
            engine.networks.remove(name)
        except UnderlayError as error:
            if not (options["force"] and isinstance(error, NotFound)):
                sys.stdout.flush()
                sys.stderr.write(f"underlay: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
                failed = 1
                continue
        sys.stdout.write(name + "\n")
    return failed
