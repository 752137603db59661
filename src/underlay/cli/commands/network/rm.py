"""`underlay network rm`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove one or more networks"
SYNOPSIS = "network rm NETWORK [NETWORK...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (("force", "f", "bool", "", "Do not error if the network does not exist"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove networks and print their names; one that cannot be removed does not keep the others."""
    from ...each import remove_each

    return remove_each(arguments, engine.networks.remove, options["force"])
