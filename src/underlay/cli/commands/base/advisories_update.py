"""`underlay base advisories update`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Download security advisories, for use offline"
SYNOPSIS = "base advisories update [OPTIONS] [ECOSYSTEM...]"
FLAGS: tuple[Flag, ...] = (
    ("source", "", "string", "url", "URL of exports in OSV's layout (default: OSV's own exports)"),
    ("whole", "", "bool", "", "Download everything again, not only the changes"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Fetch the advisories of ecosystems, by default those of the images that are here."""
    if any(not name for name in arguments):
        raise InvalidInput(
            '"underlay base advisories update" takes names of ecosystems',
            "see `underlay base advisories update --help`",
        )
    for updated in engine.bases.update_advisories(arguments, options["source"], options["whole"]):
        sys.stdout.write(
            f"{updated.family}: {updated.records} advisories ({updated.how}, {updated.fetched} bytes fetched)\n"
        )
    return 0
