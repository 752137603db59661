"""`underlay tags`."""

from __future__ import annotations

import sys

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List the tags of a repository in its registry"
SYNOPSIS = "tags [OPTIONS] REPOSITORY"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("filter", "f", "string", "string", "Show only tags that match a pattern, such as '1.*'"),
    ("format", "", "string", "string", 'Format output: "json"'),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the tags, one a line, as the registry orders them."""
    from fnmatch import fnmatchcase

    from ....oci import reference as references
    from ...output import pretty

    if options["format"] not in ("", "json"):
        raise UsageError(f"unknown format {options['format']!r}", "drop --format, or write --format json")
    name = arguments[0].removeprefix("docker://")
    tags = engine.registries.tags(name)
    if options["filter"]:
        tags = [tag for tag in tags if fnmatchcase(tag, options["filter"])]
    if options["format"] == "json":
        sys.stdout.write(pretty({"Repository": references.parse_exact(name).repository, "Tags": tags}) + "\n")
    else:
        sys.stdout.write("".join(f"{tag}\n" for tag in tags))
    return 0
