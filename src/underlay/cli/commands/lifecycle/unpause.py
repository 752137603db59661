"""`underlay unpause`."""

from __future__ import annotations

from ...each import act_on_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Unpause all processes within one or more containers"
SYNOPSIS = "unpause CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Let paused containers go on and print their names."""
    return act_on_each(arguments, engine.containers.unpause)
