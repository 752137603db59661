"""`underlay network inspect`."""

from __future__ import annotations

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display detailed information on one or more networks"
SYNOPSIS = "network inspect [OPTIONS] NETWORK [NETWORK...]"
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("verbose", "v", "bool", "", "Verbose output for diagnostics (as docker's, no more for networks of one host)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print each network's facts; errors about missing ones are printed at the end."""
    if not arguments:
        raise InvalidInput(
            '"underlay network inspect" requires at least 1 argument', "see `underlay network inspect --help`"
        )
    from ...output import inspected

    return inspected(arguments, engine.networks.inspect, options["format"])
