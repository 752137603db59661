"""`underlay history`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show the history of an image"
SYNOPSIS = "history [OPTIONS] IMAGE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', or a Go template"),
    ("human", "H", "bool", "", "Print sizes and dates in human readable format (default true)"),
    ("no-trunc", "", "bool", "", "Don't truncate output"),
    ("platform", "", "string", "string", "Show the history of the image of this platform"),
    ("quiet", "q", "bool", "", "Only show image IDs"),
)
_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_CREATED_BY_WIDTH = 45  # characters, docker's


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the steps, newest first."""
    from ....human import age, parse_rfc3339, short_id, size, truncate
    from ...output import listing

    human = options["human"] or "human" not in options
    whole = options["no-trunc"]
    rows = []
    for step in engine.images.history(arguments[0], options["platform"]):
        try:
            since = age(parse_rfc3339(step.created)) if human else step.created
        except ValueError:
            since = "N/A"
        # docker puts a command that spans lines on one.
        text = step.created_by.replace("\t", " ") if whole else " ".join(step.created_by.split())
        rows.append(
            {
                "Comment": step.comment,
                "CreatedAt": step.created,
                "CreatedBy": text if whole else truncate(text, _CREATED_BY_WIDTH),
                "CreatedSince": since,
                "ID": (step.id if whole else short_id(step.id)) or "<missing>",
                "Size": size(step.size) if human else str(step.size),
            }
        )
    default = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    quiet = "{{.ID}}" if options["quiet"] and not options["format"] else ""
    sys.stdout.write(listing(rows, _HEADERS, default, options["format"], quiet, whole=options["no-trunc"]))
    return 0
