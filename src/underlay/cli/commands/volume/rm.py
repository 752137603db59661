"""`underlay volume rm`."""

from __future__ import annotations

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove one or more volumes"
SYNOPSIS = "volume rm [OPTIONS] VOLUME [VOLUME...]"
FLAGS: tuple[Flag, ...] = (("force", "f", "bool", "", "Do not error if a volume does not exist"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove volumes and print their names."""
    if not arguments:
        raise InvalidInput('"underlay volume rm" requires at least 1 argument', "see `underlay volume rm --help`")
    from ...each import remove_each

    return remove_each(arguments, engine.volumes.remove, options["force"])
