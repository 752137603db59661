"""`underlay images`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ....engine.images.listing import ImageListing
    from ...flags import Flag, Options

SUMMARY = "List images"
SYNOPSIS = "images [OPTIONS] [REPOSITORY[:TAG]]"
ARGUMENTS = (0, 1)
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Show all images (the default: there are no intermediate images)"),
    ("digests", "", "bool", "", "Show digests"),
    ("filter", "f", "list", "filter", "Filter by reference, dangling, label, before, since, until"),
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', or a Go template"),
    ("no-trunc", "", "bool", "", "Don't truncate output"),
    ("quiet", "q", "bool", "", "Only show image IDs"),
)
_HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the images that fit."""
    from ....engine.filters.images import filtered
    from ....engine.images.listing import listed
    from ...output import listing

    filters = [filter_text.partition("=") for filter_text in options["filter"]]
    if any(not equals for _, equals, _ in filters):
        raise InvalidInput("invalid filter", "filters are key=value")
    pairs = [(key, value) for key, _, value in filters]
    if arguments:
        pairs.append(("reference", arguments[0]))
    kept = filtered(engine, listed(engine._store), pairs)
    if options["quiet"] or not options["digests"]:
        # The same tag under two digests is one row then.
        kept = list({(row.id, row.repository, row.tag): row for row in kept}.values())
    if options["quiet"]:
        kept = list({row.id: row for row in kept}.values())
    columns = ["Repository", "Tag", *(["Digest"] if options["digests"] else []), "ID", "CreatedSince", "Size"]
    text = listing(
        [row_of(row, options["no-trunc"]) for row in kept],
        _HEADERS,
        "\t".join(f"{{{{.{name}}}}}" for name in columns),
        options["format"],
        "{{.ID}}" if options["quiet"] and not options["format"] else "",
        whole=options["no-trunc"],
    )
    sys.stdout.write(text)
    return 0


def row_of(row: ImageListing, whole: bool = False) -> dict[str, Any]:
    """Return the row's values as docker words them, for templates and JSON."""
    from ....human import age, parse_rfc3339, short_id, size

    try:
        created = parse_rfc3339(row.image.created)
    except ValueError:
        created = None
    return {
        "Containers": "N/A",
        "CreatedAt": "N/A" if created is None else _local(created),
        "CreatedSince": "N/A" if created is None else age(created),
        "Digest": row.digest or "<none>",
        "ID": row.id if whole else short_id(row.id),
        "Repository": row.repository or "<none>",
        "SharedSize": "N/A",
        "Size": size(row.image.size),
        "Tag": row.tag or "<none>",
        "UniqueSize": "N/A",
        "VirtualSize": size(row.image.size),
    }


def _local(seconds: float) -> str:
    from time import localtime, strftime

    return strftime("%Y-%m-%d %H:%M:%S %z %Z", localtime(seconds))
