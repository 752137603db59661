"""`underlay base who`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List the images of a scan that have a package, or stand on a base"
SYNOPSIS = "base who [OPTIONS] SCAN WHAT"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "table (the default), json or a Go template"),
    ("quiet", "q", "bool", "", "Print only names"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the images, by name; 1 when there is none, as grep does."""
    found = engine.scans.who(*arguments)
    from ...output import plain, render, table

    if options["quiet"]:
        sys.stdout.write("".join(plain(name) + "\n" for name in dict.fromkeys(each.name for each in found)))
    elif options["format"] not in ("", "table"):
        rows = [{**each._asdict()} for each in found]
        if options["format"] == "json":
            import json

            sys.stdout.write(json.dumps(rows) + "\n")
        else:
            sys.stdout.write("".join(render(options["format"], row) + "\n" for row in rows))
    elif found:
        origin = {True: "base", False: "yours", None: ""}
        lines = [[each.name, each.base or "unknown", each.version, origin[each.from_base]] for each in found]
        sys.stdout.write(table([["IMAGE", "BASE", "VERSION", "FROM"], *lines]))
    return 0 if found else 1
