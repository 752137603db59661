"""`underlay base advisories update`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Fetch advisories, for looking without a network"
SYNOPSIS = "base advisories update [OPTIONS] [ECOSYSTEM...]"
FLAGS: tuple[Flag, ...] = (
    ("source", "", "string", "url", "Where exports in OSV's layout are (default: OSV's own place)"),
    ("whole", "", "bool", "", "Take all anew, not only what has changed"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Fetch the advisories of ecosystems, by default those of the images that are here."""
    if any(not each for each in arguments):
        raise InvalidInput(
            '"underlay base advisories update" takes names of ecosystems',
            "see `underlay base advisories update --help`",
        )
    for found in engine.bases.update_advisories(arguments, options["source"], options["whole"]):
        sys.stdout.write(f"{found.family}: {found.records} advisories ({found.how}, {found.fetched} bytes fetched)\n")
    return 0
