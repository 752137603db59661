"""`underlay image prune`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove unused images"
SYNOPSIS = "image prune [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Remove all unused images, not just dangling ones"),
    ("filter", "", "list", "filter", "Provide filter values (until=…, label=…, label!=…)"),
    ("force", "f", "bool", "", "Do not prompt for confirmation"),
)
_WARNING = {
    False: "WARNING! This will remove all dangling images.",
    True: "WARNING! This will remove all images without at least one container associated to them.",
}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove what is not used, after a question."""
    until: float | None = None
    labels: list[str] = []
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if key == "until" and equals:
            from ....engine.filters.moments import moment

            until = moment(value) if until is None else min(until, moment(value))
        elif key == "label" and equals:
            labels.append(value)
        elif key == "label!" and equals:
            labels.append("!" + value)
        elif key == "dangling" and value in ("true", "false", "1", "0"):
            options.values["all"] = options["all"] or value in ("false", "0")
        else:
            raise InvalidInput(f"invalid filter '{key}'", "known are until, label, label!")
    if not options["force"]:
        sys.stdout.write(f"{_WARNING[options['all']]}\nAre you sure you want to continue? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() != "y":
            return 0
    from ....engine.images.remove import prune

    removed = prune(engine._store, options["all"], until, labels)
    from ....human import size

    if removed.untagged or removed.deleted:
        sys.stdout.write("Deleted Images:\n")
        sys.stdout.write("".join(f"untagged: {name}\n" for name in removed.untagged))
        sys.stdout.write("".join(f"deleted: {digest}\n" for digest in removed.deleted))
        sys.stdout.write("\n")
    sys.stdout.write(f"Total reclaimed space: {size(removed.reclaimed)}\n")
    return 0
