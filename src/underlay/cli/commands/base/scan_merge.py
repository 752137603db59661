"""`underlay base scan merge`."""

from __future__ import annotations

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Put the files of several scans together"
SYNOPSIS = "base scan merge --output FILE SCAN [SCAN...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (("output", "o", "string", "file", "The file that takes them, made or continued (required)"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print nothing."""
    if not options["output"]:
        raise InvalidInput(
            "--output is missing: the file that takes the scans", "see `underlay base scan merge --help`"
        )
    engine.scans.merge(options["output"], arguments)
    return 0
