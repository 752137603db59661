"""`underlay search`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput
from ....human import whole
from ...output import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ....engine.registries import FoundRepository
    from ...flags import Flag, Options

SUMMARY = "Search Docker Hub, or the catalogue or tags of another registry"
SYNOPSIS = "search [OPTIONS] TERM"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("filter", "f", "list", "filter", "Filter output: is-official=true|false, stars=N"),
    ("format", "", "string", "string", "Pretty-print search using a Go template"),
    ("limit", "", "int", "int", "Max number of search results (default 25)"),
    ("list-tags", "", "bool", "", "List the tags of the repository TERM"),
    ("no-trunc", "", "bool", "", "Don't truncate output"),
)
_HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "Tag": "TAG",
}
_DESCRIPTION = 45


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what is found."""
    if options["list-tags"]:
        tags = engine.registries.tags(arguments[0])
        if options["limit"]:
            tags = tags[: options["limit"]]
        table: list[dict[str, object]] = [{"Name": arguments[0], "Tag": tag} for tag in tags]
        sys.stdout.write(listing(table, _HEADERS, "{{.Name}}\t{{.Tag}}", options["format"]))
        return 0
    keep = _filters(options["filter"])
    repositories = [
        repository for repository in engine.registries.search(arguments[0], options["limit"] or 25) if keep(repository)
    ]
    repositories.sort(key=lambda repository: -repository.stars)
    table = [_row(repository, options["no-trunc"]) for repository in repositories]
    default = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
    sys.stdout.write(listing(table, _HEADERS, default, options["format"], whole=options["no-trunc"]))
    return 0


def _row(repository: FoundRepository, whole: bool) -> dict[str, object]:
    text = " ".join(repository.description.split())
    if not whole and len(text) > _DESCRIPTION:
        text = text[: _DESCRIPTION - 1] + "…"
    return {
        "Name": repository.name,
        "Description": text,
        "StarCount": repository.stars,
        "IsOfficial": "[OK]" if repository.official else "",
    }


class _filters:
    """A predicate from docker's filters."""

    def __init__(self, words: list[str]) -> None:
        self._official: bool | None = None
        self._stars = 0
        for word in words:
            key, _, value = word.partition("=")
            if key == "is-official" and value in ("true", "false", "1", "0"):
                self._official = value in ("true", "1")
            elif key == "stars" and whole(value) >= 0:
                self._stars = whole(value)
            else:
                raise InvalidInput(f"invalid filter '{word}'", "is-official=true|false and stars=N are known")

    def __call__(self, repository: FoundRepository) -> bool:
        return repository.stars >= self._stars and self._official in (None, repository.official)
