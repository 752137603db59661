"""`underlay system check`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Verify all stored data, and repair it with --repair"
SYNOPSIS = "system check [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("quiet", "q", "bool", "", "Only set the exit code"),
    ("repair", "", "bool", "", "Recreate what can be recreated, and remove what cannot be repaired"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what is wrong. 0: nothing lost and nothing left to repair; 1: something is."""
    if options["repair"]:
        engine.containers.recover()
    report = engine.system.check(options["repair"])
    lost = sum(problem.lost for problem in report.problems)
    # What no image needs is no fault: a killed load may leave it, and a sweep takes it.
    open_ = [p for p in report.problems if not p.repaired and p.kind != "leftover"]
    if not options["quiet"]:
        from ...problems import shown

        for problem in report.problems:
            state = "repaired" if problem.repaired else "lost" if problem.lost else "found"
            sys.stdout.write(shown(f"{problem.kind} {problem.subject}: {problem.text} [{state}]") + "\n")
        kernels = f", {report.kernels} kernels" if report.kernels else ""
        sys.stdout.write(
            f"Checked {report.images} images, {report.layers} layers, {report.indexes} indexes, "
            f"{report.blobs} blobs{kernels}: {lost} lost, {len(open_) - lost} to repair\n"
        )
        if open_ and not options["repair"]:
            sys.stderr.write("hint: run `underlay system check --repair`\n")
    return int(bool(open_))
