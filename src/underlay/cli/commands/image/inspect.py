"""`underlay image inspect`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display detailed information on one or more images"
SYNOPSIS = "image inspect [OPTIONS] IMAGE [IMAGE...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("platform", "", "string", "string", "Inspect the image of this platform"),
    ("remote", "", "bool", "", "Inspect the image in its registry; no layers are downloaded"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print each image's facts; errors about missing ones are printed at the end."""
    from ...output import inspected

    inspect = engine.registries.inspect if options["remote"] else engine.images.inspect
    return inspected(arguments, lambda name: inspect(name, options["platform"]), options["format"])
