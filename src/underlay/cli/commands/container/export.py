"""`underlay export`."""

from __future__ import annotations

import sys

from ....errors import UsageError
from ....files import Replacement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Export a container's file system as a tar archive"
SYNOPSIS = "export [OPTIONS] CONTAINER"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (("output", "o", "string", "string", "Write to a file, instead of standard output"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Write the archive; what failed leaves no file."""
    path = options["output"]
    if not path:
        if sys.stdout.isatty():
            raise UsageError("cowardly refusing to save to a terminal", "use --output, or redirect the output")
        engine.containers.export(arguments[0], sys.stdout.fileno())
        return 0
    with Replacement(path, named_by_user=True) as target:
        engine.containers.export(arguments[0], target)
    return 0
