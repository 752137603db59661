"""`underlay machine kernel ls`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "List the kernels for virtual machines"
SYNOPSIS = "machine kernel ls [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', or a Go template"),
    ("quiet", "q", "bool", "", "Only display releases"),
)
_HEADERS = {
    "Architecture": "ARCHITECTURE",
    "Digest": "DIGEST",
    "Modules": "MODULES",
    "Release": "RELEASE",
    "Size": "SIZE",
    "Source": "SOURCE",
}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the kernels in the store, the newest first."""
    from .....human import size
    from ....output import listing

    rows = [
        {
            "Architecture": kernel.architecture,
            "Digest": kernel.digest,
            "Modules": ",".join(kernel.modules),
            "Release": kernel.release,
            "Size": size(kernel.size),
            "Source": kernel.source,
        }
        for kernel in engine.machines.kernels()
    ]
    quiet = "{{.Release}}" if options["quiet"] and not options["format"] else ""
    row = "{{.Release}}\t{{.Architecture}}\t{{.Size}}\t{{.Source}}"
    sys.stdout.write(listing(rows, _HEADERS, row, options["format"], quiet))
    return 0
