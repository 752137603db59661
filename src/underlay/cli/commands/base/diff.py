"""`underlay base diff`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show what has changed between two scans"
SYNOPSIS = "base diff [OPTIONS] SCAN SCAN"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = (("format", "f", "string", "string", "table (the default), json or a Go template"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the differences; 1 when there are some, as diff does."""
    found = engine.scans.compare(*arguments)
    from ...output import render, table

    if options["format"] == "json":
        import json

        sys.stdout.write(json.dumps([each._asdict() for each in found]) + "\n")
    elif options["format"] not in ("", "table"):
        sys.stdout.write("".join(render(options["format"], each._asdict()) + "\n" for each in found))
    elif found:
        lines = [[each.image, each.kind, each.before, each.after] for each in found]
        sys.stdout.write(table([["IMAGE", "CHANGE", "BEFORE", "AFTER"], *lines]))
    return 1 if found else 0
