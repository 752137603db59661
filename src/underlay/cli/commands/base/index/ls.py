"""`underlay base index ls`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "List the names in the index of base images"
SYNOPSIS = "base index ls [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', or a Go template"),
    ("own", "", "bool", "", "Only list names that were added on this host"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the names that were added here, then those that came with the code."""
    from ....output import listing

    rows = [
        {
            "Name": known.name,
            "ID": known.image_id[7:19],
            "Since": known.day,
            "Builds": str(known.builds),
            "Source": known.source,
        }
        for known in engine.bases.names(shipped=not options["own"])
    ]
    headers = {"Name": "NAME", "ID": "IMAGE ID", "Since": "SINCE", "Builds": "BUILDS", "Source": "SOURCE"}
    row = "{{.Name}}\t{{.ID}}\t{{.Since}}\t{{.Builds}}\t{{.Source}}"
    sys.stdout.write(listing(rows, headers, row, options["format"], ""))
    return 0
