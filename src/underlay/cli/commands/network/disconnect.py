"""`underlay network disconnect`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Disconnect a container from a network"
SYNOPSIS = "network disconnect [OPTIONS] NETWORK CONTAINER"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = (("force", "f", "bool", "", "Do not error if the container does not exist"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Disconnect a container from a network, at once if it runs."""
    engine.networks.disconnect(arguments[0], arguments[1], options["force"])
    return 0
