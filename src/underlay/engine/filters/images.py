"""Filters of the list of images: by reference, dangling, label, before, since and until (docker images, "Filtering")."""

from __future__ import annotations

from ...errors import Corrupt, InvalidInput
from ...store.rows import images as image_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..engine import Engine
    from ..images.listing import ImageListing

    Test = Callable[[ImageListing], bool]


def filtered(engine: Engine, rows: list[ImageListing], filters: Sequence[tuple[str, str]]) -> list[ImageListing]:
    """Return the rows that fit: one of the values of each key, except that labels must all fit, as docker has it.

    `filters` are pairs of key and value. Raises InvalidInput for an unknown key or a bad value, NotFound for an image
    that `before` or `since` name.
    """
    by_key: dict[str, list[str]] = {}
    for key, value in filters:
        by_key.setdefault(key, []).append(value)
    for key, values in by_key.items():
        if key not in _TESTS:
            raise InvalidInput(f"invalid filter '{key}'", f"known are {', '.join(KEYS)}")
        test = _TESTS[key](engine, values)
        rows = [row for row in rows if test(row)]
    return rows


def _references(engine: Engine, values: list[str]) -> Test:
    """Match as docker does: the familiar name, with or without its tag, against a shell pattern."""
    from ...oci import reference

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


def _dangling(engine: Engine, values: list[str]) -> Test:
    wanted = set()
    for value in values:
        if value not in ("true", "false", "1", "0"):
            raise InvalidInput(f"invalid filter 'dangling={value}'", "use true or false")
        wanted.add(value in ("true", "1"))
    dangling = engine.images.dangling()
    return lambda row: (row.id in dangling) in wanted


def _labels(engine: Engine, values: list[str]) -> Test:
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
    from ...human import parse_rfc3339

    try:
        return parse_rfc3339(row.image.created)
    except ValueError:
        return row.image.added / 1e9


def _before(engine: Engine, values: list[str]) -> Test:
    limit = min(_age(_as_row(engine, value)) for value in values)
    return lambda row: _age(row) < limit


def _since(engine: Engine, values: list[str]) -> Test:
    limit = max(_age(_as_row(engine, value)) for value in values)
    return lambda row: _age(row) > limit


def _as_row(engine: Engine, name: str) -> ImageListing:
    from ..images.listing import ImageListing

    return ImageListing(image_rows.resolve(engine._store.meta, name))


def _until(engine: Engine, values: list[str]) -> Test:
    from .moments import moment

    limit = min(map(moment, values))
    return lambda row: _age(row) < limit


_TESTS: dict[str, Callable[[Engine, list[str]], Test]] = {
    "before": _before,
    "dangling": _dangling,
    "label": _labels,
    "reference": _references,
    "since": _since,
    "until": _until,
}
KEYS = tuple(_TESTS)
