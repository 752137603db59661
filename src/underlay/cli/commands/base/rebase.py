"""`underlay base rebase`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Replace the base of an image by a newer one, without a rebuild"
SYNOPSIS = "base rebase [OPTIONS] IMAGE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("base", "", "string", "string", "Use this image as the current base instead of identifying it"),
    ("dry-run", "", "bool", "", "Show what would be done and the hazards, and change nothing"),
    ("force", "", "bool", "", "Rebase in spite of hazards"),
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("onto", "", "string", "string", "The new base (default: the image that the base's tag refers to now)"),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
    ("tag", "t", "list", "list", "Name of the new image (default: the name of the image)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Move the image; what speaks against it stops the move, unless it is forced."""
    rebased = engine.bases.rebase(
        arguments[0],
        options["onto"],
        options["tag"],
        options["base"],
        options["platform"],
        options["dry-run"],
        options["force"],
    )
    from ...output import plain, render

    if options["format"]:
        import msgspec

        sys.stdout.write(render(options["format"], msgspec.to_builtins(rebased)) + "\n")
        return 1 if rebased.hazards and options["dry-run"] else 0
    if rebased.current:
        sys.stdout.write(f"{rebased.image} stands on today's {rebased.new_base}: nothing to do\n")
        return 0
    verb = "was moved" if rebased.done else "would be moved"
    sys.stdout.write(
        f"{rebased.image} {verb} from {rebased.old_base} ({_layers(rebased.old_layers)}) onto {rebased.new_base} "
        f"({_layers(rebased.new_layers)}), with its {_layers(rebased.kept_layers)} above\n"
    )
    for hazard in rebased.hazards:
        sys.stdout.write(f"  unsafe: {plain(hazard.text)}\n" + (f"    {hazard.remedy}\n" if hazard.remedy else ""))
    for change in rebased.changes:
        sys.stdout.write(f"  changes: {plain(change)}\n")
    if rebased.done:
        sys.stdout.write(f"  {', '.join(rebased.names)} is {rebased.id}\n")
    return 1 if rebased.hazards and not rebased.done else 0


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"
