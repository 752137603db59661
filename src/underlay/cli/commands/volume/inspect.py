"""`underlay volume inspect`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display detailed information on one or more volumes"
SYNOPSIS = "volume inspect [OPTIONS] VOLUME [VOLUME...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (("format", "f", "string", "string", "Format output: 'json' or a Go template"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print each volume's facts; errors about missing ones are printed at the end."""
    from ...output import inspected

    return inspected(arguments, engine.volumes.inspect, options["format"])
