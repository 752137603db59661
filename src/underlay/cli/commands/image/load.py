"""`underlay load`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Load images from a tar archive, a directory or standard input"
SYNOPSIS = "load [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("input", "i", "string", "string", "Read from a file or a directory, instead of standard input"),
    (
        "platform",
        "",
        "list",
        "stringSlice",
        "Load only the given platforms, such as linux/amd64,linux/arm64/v8",
    ),
    (
        "keep-compressed",
        "",
        "bool",
        "",
        "Keep the layers' original compressed bytes, so that save writes identical layers",
    ),
    ("quiet", "q", "bool", "", "Suppress the progress"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Load all images of an archive and name them."""
    from ....engine.images.archives import load
    from ...progress import Progress

    source: str | int = options["input"] or 0
    if source == 0 and sys.stdin.isatty():
        raise InvalidInput("requested load from stdin, but stdin is empty", "use --input, or redirect an archive to it")
    keep = None  # the environment decides
    if options.given & {"keep-compressed"}:
        keep = options["keep-compressed"]
    with Progress(engine, options["quiet"]):
        loaded = load(engine._store, source, options["platform"], keep)
    for image in loaded:
        for name, lost in image.moved:
            sys.stdout.write(f"The image {name} already exists, renaming the old one with ID {lost} to empty string\n")
        for name in image.names:
            sys.stdout.write(f"Loaded image: {name}\n")
        if not image.names:
            sys.stdout.write(f"Loaded image ID: {image.id}\n")
    return 0
