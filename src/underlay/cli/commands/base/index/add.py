"""`underlay base index add`."""

from __future__ import annotations

import sys

from .....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....base.index.learn import Learned
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Add repositories or tags to the index of base images"
SYNOPSIS = "base index add [OPTIONS] REPOSITORY[:TAG] [REPOSITORY[:TAG]...]"
FLAGS: tuple[Flag, ...] = (
    (
        "dockerfiles",
        "",
        "string",
        "string",
        "Add the Dockerfiles of a directory or a Git repository, as images of REPOSITORY",
    ),
    ("scan", "", "string", "file", "Add the images of a scan that others of it stand on"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Read manifests and configurations of all tags and platforms; never layers."""
    if options["dockerfiles"]:
        return _dockerfiles(engine, options["dockerfiles"], arguments)
    if options["scan"]:
        return _scan(engine, options["scan"], arguments)
    if not arguments:
        raise InvalidInput(
            '"underlay base index add" requires at least 1 argument', "see `underlay base index add --help`"
        )
    learned = engine.bases.learn(arguments)
    from ....problems import shown

    for problem in learned.problems:
        sys.stderr.write(f"underlay: {shown(str(problem))}\n")
    _tell(learned)
    return 1 if learned.problems else 0


def _tell(learned: Learned) -> None:
    sys.stdout.write(
        f"{learned.tags} tags: {learned.new} new builds, {learned.moved} tags have moved; "
        f"{learned.builds} builds under {learned.names} names\n"
    )


def _scan(engine: Engine, path: str, arguments: list[str]) -> int:
    """Read a scan; no registry is asked."""
    from ....output import plain, table

    if arguments:
        raise InvalidInput("--scan takes no REPOSITORY", "the file has the names")
    learned, found = engine.scans.learn(path)
    if found:
        rows = [[", ".join(map(plain, each.names[:3])), str(each.images)] for each in found]
        sys.stdout.write(table([["BASE", "IMAGES"], *rows]))
    _tell(learned)
    return 0


def _dockerfiles(engine: Engine, place: str, arguments: list[str]) -> int:
    """Read Dockerfiles; no registry is asked."""
    from ....problems import shown

    if len(arguments) > 1:
        raise InvalidInput("--dockerfiles takes at most one REPOSITORY", "all its Dockerfiles are tags of it")
    count, problems = engine.bases.learn_dockerfiles(place, arguments[0] if arguments else "")
    for problem in problems:
        sys.stderr.write(f"underlay: {shown(problem)}\n")
    sys.stdout.write(f"{count} Dockerfiles\n")
    return 1 if problems else 0
