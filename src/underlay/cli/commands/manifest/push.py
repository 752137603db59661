"""`underlay manifest push`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Push a manifest list to a repository"
SYNOPSIS = "manifest push [OPTIONS] MANIFEST_LIST"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("insecure", "", "bool", "", "Allow push to an insecure registry"),
    ("purge", "p", "bool", "", "Remove the local manifest list after push"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Push a draft and print its digest."""
    sys.stdout.write(engine.registries.manifest_push(arguments[0], options["purge"], options["insecure"]) + "\n")
    return 0
