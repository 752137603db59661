"""`underlay base sbom`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Write the software bill of materials (SBOM) of an image"
SYNOPSIS = "base sbom [OPTIONS] IMAGE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "cyclonedx (the default) or spdx"),
    ("output", "o", "string", "file", "Write to a file"),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what is installed in an image."""
    import json

    text = json.dumps(engine.bases.bill(arguments[0], options["format"] or "cyclonedx", options["platform"]), indent=2)
    if options["output"]:
        try:
            with open(options["output"], "w", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            raise InvalidInput(f"{options['output']}: {error.strerror}") from None
        return 0
    sys.stdout.write(text + "\n")
    return 0
