"""`underlay network inspect`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display detailed information on one or more networks"
SYNOPSIS = "network inspect [OPTIONS] NETWORK [NETWORK...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("verbose", "v", "bool", "", "Verbose output for diagnostics (as docker's, no more for networks of one host)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print each network's facts; errors about missing ones are printed at the end."""
    from ...output import inspected

    return inspected(arguments, engine.networks.inspect, options["format"])
