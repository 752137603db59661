"""`underlay buildx imagetools create`."""

from __future__ import annotations

import sys

from ....errors import UsageError
from ...flags.buildflags import BUILDER_FLAG, check_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create an image in a registry from images that registries have"
SYNOPSIS = "buildx imagetools create [OPTIONS] SOURCE [SOURCE...]"
FLAGS: tuple[Flag, ...] = (
    BUILDER_FLAG,
    ("tag", "t", "list", "list", "Name of the new image"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy one image, or put several into an index, under each of the names."""
    check_builder(options)
    if not arguments or not options["tag"]:
        raise UsageError(
            '"underlay buildx imagetools create" requires a source and a --tag',
            "see `underlay buildx imagetools create --help`",
        )
    for name in options["tag"]:
        if len(arguments) == 1:
            digest = engine.registries.copy(arguments[0], name, "", True).digest
        else:
            digest = engine.registries.combine(name, arguments)
        sys.stdout.write(f"{name}@{digest}\n")
    return 0
