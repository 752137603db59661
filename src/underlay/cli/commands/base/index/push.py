"""`underlay base index push`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Push the index of base images as an OCI artefact"
SYNOPSIS = "base index push NAME"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Push the index of bases to a registry; print its digest."""
    sys.stdout.write(engine.bases.push_index(arguments[0]) + "\n")
    return 0
