"""`underlay buildx use`."""

from __future__ import annotations

from ...flags.buildflags import BUILDER_FLAG, check_builder, named_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Set the builder: there is one, which is used always"
SYNOPSIS = "buildx use NAME"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    BUILDER_FLAG,
    ("default", "", "bool", "", "Set builder as default for current context: it always is"),
    ("global", "", "bool", "", "Builder persists context changes: it always does"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Refuse another builder than the one that there is. Raises UsageError."""
    check_builder(options)
    named_builder(arguments[0])
    return 0
