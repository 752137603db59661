"""`underlay web export`."""

from __future__ import annotations

import sys

from ....errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Write the pages of images as a site of files"
SYNOPSIS = "web export [OPTIONS] DIRECTORY [IMAGE...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("files", "", "bool", "", "Add a page for each directory of the images and of their layers (many)"),
    ("quiet", "q", "bool", "", "Print nothing but errors"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Write the site, and print where it is."""
    try:
        from ....web import export
    except ImportError as error:
        raise Unsupported(f"the site needs Jinja2: {error}", "pip install 'underlay[web]'") from None
    directory, *names = arguments

    def report(text: str) -> None:
        if not options["quiet"]:
            from ...output import plain

            sys.stderr.write(f"underlay: {plain(text)}\n")

    count = export.export(engine, directory, names, report, options["files"])
    if not options["quiet"]:
        sys.stdout.write(f"{directory}/index.html: {count} image{'' if count == 1 else 's'}\n")
    return 0
