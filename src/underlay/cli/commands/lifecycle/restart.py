"""`underlay restart`."""

from __future__ import annotations

from ...each import act_on_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Restart one or more containers"
SYNOPSIS = "restart [OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("signal", "s", "string", "string", "Signal to send to the container"),
    ("time", "t", "int", "int", "Seconds to wait before killing the container"),
    ("timeout", "", "int", "int", "Seconds to wait before killing the container"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Restart containers and print their names."""
    timeout = options["timeout"] if "timeout" in options else options["time"]

    return act_on_each(arguments, lambda name: engine.containers.restart(name, timeout, options["signal"]))
