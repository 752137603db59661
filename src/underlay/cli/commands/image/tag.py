"""`underlay tag`."""

from __future__ import annotations

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create a name that refers to an image"
SYNOPSIS = "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Give an image another name."""
    if len(arguments) != 2:
        raise InvalidInput('"underlay tag" requires exactly 2 arguments', "see `underlay tag --help`")
    engine.images.tag(arguments[0], arguments[1])
    return 0
