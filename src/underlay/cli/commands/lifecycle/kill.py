"""`underlay kill`."""

from __future__ import annotations

from ...each import act_on_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Kill one or more running containers"
SYNOPSIS = "kill [OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (("signal", "s", "string", "string", "Signal to send to the container"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Send a signal to containers and print their names."""
    return act_on_each(arguments, lambda name: engine.containers.kill(name, options["signal"] or "KILL"))
