"""`underlay base index update`."""

from __future__ import annotations

import sys

from .....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Update the index of base images from registries, or from a published index"
SYNOPSIS = "base index update [OPTIONS] [REPOSITORY[:TAG]...]"
FLAGS: tuple[Flag, ...] = (
    ("from", "", "string", "string", "Take a published index instead (an OCI artefact)"),
    ("platform", "", "string", "string", "Read this platform only"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Read manifests and configurations of names, by default of those in the index; never layers."""
    if options["from"]:
        if arguments or options["platform"]:
            raise InvalidInput("--from takes a whole index", "leave out repositories and --platform")
        pulled = engine.bases.pull_index(options["from"])
        sys.stdout.write(f"{pulled.builds} builds under {pulled.names} names: {pulled.new} new\n")
        return 0
    from ....problems import shown

    if not arguments and (count := len(engine.bases.names())):
        sys.stderr.write(f"reading {count} tags: a request each, and two more for each new build\n")
    updated = engine.bases.update_index(arguments, options["platform"])
    for problem in updated.problems:
        sys.stderr.write(f"underlay: {shown(str(problem))}\n")
    sys.stdout.write(
        f"{updated.tags} tags: {updated.new} new builds, {updated.moved} tags have moved; "
        f"{updated.builds} builds under {updated.names} names\n"
    )
    return 1 if updated.problems else 0
