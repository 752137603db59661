"""`underlay manifest create`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create a local manifest list for annotating and pushing to a registry"
SYNOPSIS = "manifest create [OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]"
ARGUMENTS = (2, None)
FLAGS: tuple[Flag, ...] = (
    ("amend", "a", "bool", "", "Amend an existing manifest list"),
    ("insecure", "", "bool", "", "Allow communication with an insecure registry"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Begin a list of manifests that registries have."""
    name = engine.registries.manifest_create(arguments[0], arguments[1:], options["amend"], options["insecure"])
    sys.stdout.write(f"Created manifest list {name}\n")
    return 0
