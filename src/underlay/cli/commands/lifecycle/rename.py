"""`underlay rename`."""

from __future__ import annotations

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Rename a container"
SYNOPSIS = "rename CONTAINER NEW_NAME"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Give a container another name."""
    if len(arguments) != 2:
        raise UsageError('"underlay rename" requires exactly 2 arguments', "see `underlay rename --help`")
    engine.containers.rename(arguments[0], arguments[1])
    return 0
