"""`underlay base index pull`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Pull an OCI artefact and add its builds to the index of base images"
SYNOPSIS = "base index pull [OPTIONS] NAME"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("verify", "", "string", "string", "Demand a signature: a public key (its file), policy, or identity=…"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Add the builds of an artefact that `base index push` made."""
    pulled = engine.bases.pull_index(arguments[0], options["verify"])
    sys.stdout.write(f"{pulled.builds} builds under {pulled.names} names: {pulled.new} new\n")
    return 0
