"""`underlay buildx use`."""

from __future__ import annotations

from ...flags.buildflags import named_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Set the builder: there is one, which is used always"
SYNOPSIS = "buildx use NAME"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Refuse another builder than the one that there is. Raises UsageError."""
    named_builder(arguments[0])
    return 0
