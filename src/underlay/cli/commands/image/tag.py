"""`underlay tag`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create a name that refers to an image"
SYNOPSIS = "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Give an image another name."""
    engine.images.tag(arguments[0], arguments[1])
    return 0
