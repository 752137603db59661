"""`underlay import`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Import the contents of a tarball to create a file system image"
SYNOPSIS = "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("change", "c", "list", "list", "Apply a Dockerfile instruction to the image"),
    ("message", "m", "string", "string", "Set the message in the image's history"),
    ("platform", "", "string", "string", "Set the platform of the image"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Make an image of a root file system and print its id."""
    if len(arguments) > 2:
        raise InvalidInput('"underlay import" accepts at most 2 arguments', "see `underlay import --help`")
    source: str | int = arguments[0]
    if source == "-":
        source = 0
    from ...progress import Progress

    with Progress(engine):
        image = engine.images.import_(
            source,
            arguments[1] if len(arguments) > 1 else "",
            options["change"],
            options["message"],
            options["platform"],
        )
    sys.stdout.write(image.id + "\n")
    return 0
