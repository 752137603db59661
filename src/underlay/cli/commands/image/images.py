"""`underlay images`."""

from __future__ import annotations

import sys

from ....errors import Corrupt, InvalidInput
from ....store.rows import images as image_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
    from ....engine.images.listing import listed
    from ...output import listing

    filters = [filter_text.partition("=") for filter_text in options["filter"]]
    if any(not equals for _, equals, _ in filters):
        raise InvalidInput("invalid filter", "filters are key=value")
    pairs = [(key, value) for key, _, value in filters]
    if arguments:
        pairs.append(("reference", arguments[0]))
    kept = _filtered(engine, listed(engine._store), pairs)
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


def _filtered(engine: Engine, rows: list[ImageListing], filters: list[tuple[str, str]]) -> list[ImageListing]:
    """Return the rows that fit: one of the values of each key, except that labels must all fit, as docker has
    it."""
    by_key: dict[str, list[str]] = {}
    for key, value in filters:
        by_key.setdefault(key, []).append(value)
    for key, values in by_key.items():
        if key not in _TESTS:
            raise InvalidInput(f"invalid filter '{key}'", f"known are {', '.join(sorted(_TESTS))}")
        test = _TESTS[key](engine, values)
        rows = [row for row in rows if test(row)]
    return rows


def _references(engine: Engine, values: list[str]) -> Callable[[ImageListing], bool]:
    """Match as docker does: the familiar name, with or without its tag, against a shell pattern."""
    from ....oci import reference

    patterns = []
    for value in values:
        try:
            patterns.append(reference.parse_exact(value).familiar)
        except InvalidInput:
            patterns.append(value)

    def test(row: ImageListing) -> bool:
        if not row.repository:
            return False
        whole = f"{row.repository}:{row.tag}" if row.tag else row.repository
        shown = f"{row.repository}@{row.digest}"
        return any(_path_match(pattern, name) for pattern in patterns for name in (row.repository, whole, shown))

    return test


def _path_match(pattern: str, text: str) -> bool:
    """Match a shell pattern whose `*` and `?` do not cross `/`, as Go's path.Match."""
    parts, words = pattern.split("/"), text.split("/")
    if len(parts) != len(words):
        return False
    from fnmatch import fnmatchcase

    return all(fnmatchcase(word, part) for part, word in zip(parts, words, strict=True))


def _dangling(engine: Engine, values: list[str]) -> Callable[[ImageListing], bool]:
    wanted = set()
    for value in values:
        if value not in ("true", "false", "1", "0"):
            raise InvalidInput(f"invalid filter 'dangling={value}'", "use true or false")
        wanted.add(value in ("true", "1"))
    dangling = engine.images.dangling()
    return lambda row: (row.id in dangling) in wanted


def _labels(engine: Engine, values: list[str]) -> Callable[[ImageListing], bool]:
    known: dict[str, dict[str, str]] = {}

    def test(row: ImageListing) -> bool:
        if row.id not in known:
            try:
                known[row.id] = (image_rows.config(engine._store.paths, row.id).get("config") or {}).get("Labels") or {}
            except Corrupt:
                known[row.id] = {}  # removed since, or damaged, which `system check` tells
        labels = known[row.id]
        for value in values:
            key, equals, wanted = value.partition("=")
            if key not in labels or (equals and labels[key] != wanted):
                return False
        return True

    return test


def _age(row: ImageListing) -> float:
    from ....human import parse_rfc3339

    try:
        return parse_rfc3339(row.image.created)
    except ValueError:
        return row.image.added / 1e9


def _before(engine: Engine, values: list[str]) -> Callable[[ImageListing], bool]:
    limit = min(_age(_as_row(engine, value)) for value in values)
    return lambda row: _age(row) < limit


def _since(engine: Engine, values: list[str]) -> Callable[[ImageListing], bool]:
    limit = max(_age(_as_row(engine, value)) for value in values)
    return lambda row: _age(row) > limit


def _as_row(engine: Engine, name: str) -> ImageListing:
    from ....engine.images.listing import ImageListing

    return ImageListing(image_rows.resolve(engine._store.meta, name))


def _until(engine: Engine, values: list[str]) -> Callable[[ImageListing], bool]:
    from ...moments import moment

    limit = min(map(moment, values))
    return lambda row: _age(row) < limit


_TESTS: dict[str, Callable[[Engine, list[str]], Callable[[ImageListing], bool]]] = {
    "before": _before,
    "dangling": _dangling,
    "label": _labels,
    "reference": _references,
    "since": _since,
    "until": _until,
}
