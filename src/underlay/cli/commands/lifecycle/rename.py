"""`underlay rename`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Rename a container"
SYNOPSIS = "rename CONTAINER NEW_NAME"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Give a container another name."""
    engine.containers.rename(arguments[0], arguments[1])
    return 0
