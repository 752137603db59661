"""`underlay commit`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create a new image from a container's changes"
SYNOPSIS = "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]"
ARGUMENTS = (1, 2)
FLAGS: tuple[Flag, ...] = (
    ("author", "a", "string", "string", 'Author (for example "John Hannibal Smith <hannibal@a-team.com>")'),
    ("change", "c", "list", "list", "Apply a Dockerfile instruction to the created image"),
    ("message", "m", "string", "string", "Commit message"),
    ("pause", "p", "bool", "", "Pause the container during the commit (default true)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Make the image, and print its id."""
    image = engine.containers.commit(
        arguments[0],
        arguments[1] if arguments[1:] else "",
        options["change"],
        options["message"] or "",
        options["author"] or "",
        "pause" not in options or options["pause"],
    )
    sys.stdout.write(f"{image}\n")
    return 0
