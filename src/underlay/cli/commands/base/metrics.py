"""`underlay base metrics`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Print figures of a scan for Prometheus"
SYNOPSIS = "base metrics SCAN"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the figures."""
    sys.stdout.write(engine.scans.metrics(arguments[0]))
    return 0
