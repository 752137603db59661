"""`underlay network rm`."""

from __future__ import annotations

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove one or more networks"
SYNOPSIS = "network rm NETWORK [NETWORK...]"
FLAGS: tuple[Flag, ...] = (("force", "f", "bool", "", "Do not error if the network does not exist"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove networks and print their names; one that cannot be removed does not keep the others."""
    if not arguments:
        raise InvalidInput('"underlay network rm" requires at least 1 argument', "see `underlay network rm --help`")
    from ...each import remove_each

    return remove_each(arguments, engine.networks.remove, options["force"])
