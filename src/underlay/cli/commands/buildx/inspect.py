"""`underlay buildx inspect`."""

from __future__ import annotations

import sys

from ...flags.buildflags import BUILDER, BUILDER_FLAG, DRIVER, named_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Inspect the builder"
SYNOPSIS = "buildx inspect [OPTIONS] [NAME]"
ARGUMENTS = (0, 1)
FLAGS: tuple[Flag, ...] = (
    ("bootstrap", "", "bool", "", "Ensure builder has booted before inspecting: it always has, being this program"),
    BUILDER_FLAG,
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what the builder is. Raises UsageError for another one."""
    from ....oci import platform

    named_builder(arguments[0] if arguments else options["builder"])
    here = platform.host().brief
    sys.stdout.write(
        f"Name:   {BUILDER}\nDriver: {DRIVER}\n\nNodes:\nName:      {BUILDER}\nEndpoint:  {BUILDER}\n"
        f"Status:    running\nPlatforms: {here}\n"
    )
    return 0
