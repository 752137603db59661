"""`underlay base index add`."""

from __future__ import annotations

import sys

from .....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Add repositories or tags to the index of base images"
SYNOPSIS = "base index add REPOSITORY[:TAG] [REPOSITORY[:TAG]...]"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Read manifests and configurations of all tags and platforms; never layers."""
    if not arguments:
        raise InvalidInput(
            '"underlay base index add" requires at least 1 argument', "see `underlay base index add --help`"
        )
    learned = engine.bases.learn(arguments)
    from ....main import shown

    for problem in learned.problems:
        sys.stderr.write(f"underlay: {shown(str(problem))}\n")
    sys.stdout.write(
        f"{learned.tags} tags: {learned.new} new builds, {learned.moved} tags have moved; "
        f"{learned.builds} builds under {learned.names} names\n"
    )
    return 1 if learned.problems else 0
