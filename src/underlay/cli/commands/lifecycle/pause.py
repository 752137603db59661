"""`underlay pause`."""

from __future__ import annotations

from ...each import act_on_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Pause all processes within one or more containers"
SYNOPSIS = "pause CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Pause containers and print their names."""
    return act_on_each(arguments, engine.containers.pause)
