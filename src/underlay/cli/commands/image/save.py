"""`underlay save`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Save one or more images to a tar archive or a directory"
SYNOPSIS = "save [OPTIONS] IMAGE [IMAGE...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("output", "o", "string", "string", "Write to a file or directory, instead of standard output"),
    (
        "format",
        "",
        "string",
        "string",
        "docker-archive (default; an OCI layout as well), oci-archive or oci-dir",
    ),
    (
        "platform",
        "",
        "list",
        "stringSlice",
        "Save only the given platforms, such as linux/amd64,linux/arm64/v8",
    ),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Write the images."""
    if not options["output"] and sys.stdout.isatty():
        raise InvalidInput("cowardly refusing to save to a terminal", "use --output, or redirect the output")
    from ...progress import Progress

    sys.stdout.flush()
    with Progress(engine):
        engine.images.save(
            arguments, options["output"] or 1, options["format"] or "docker-archive", options["platform"]
        )
    return 0
