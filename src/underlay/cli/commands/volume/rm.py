"""`underlay volume rm`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove one or more volumes"
SYNOPSIS = "volume rm [OPTIONS] VOLUME [VOLUME...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (("force", "f", "bool", "", "Do not error if a volume does not exist"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove volumes and print their names."""
    from ...each import remove_each

    return remove_each(arguments, engine.volumes.remove, options["force"])
