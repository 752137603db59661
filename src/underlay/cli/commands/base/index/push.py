"""`underlay base index push`."""

from __future__ import annotations

import sys

from .....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Push the index of base images as an OCI artefact"
SYNOPSIS = "base index push NAME"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Push the index of bases to a registry; print its digest."""
    if len(arguments) != 1:
        raise InvalidInput(
            '"underlay base index push" requires exactly 1 argument', "see `underlay base index push --help`"
        )
    sys.stdout.write(engine.bases.push_index(arguments[0]) + "\n")
    return 0
