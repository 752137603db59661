"""`underlay base index update`."""

from __future__ import annotations

import sys

from .....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Update the index of base images from registries, or from a published index"
SYNOPSIS = "base index update [OPTIONS] [REPOSITORY[:TAG]...]"
FLAGS: tuple[Flag, ...] = (
    ("from", "", "string", "string", "Take a published index instead (an OCI artefact)"),
    ("platform", "", "string", "string", "Read this platform only"),
    (
        "verify",
        "",
        "string",
        "string",
        "With --from, demand a signature: a public key (its file), policy, or identity=…",
    ),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Read manifests and configurations of names, by default of those in the index and of official ones; never layers."""
    if options["from"]:
        if arguments or options["platform"]:
            raise InvalidInput("--from takes a whole index", "leave out repositories and --platform")
        pulled = engine.bases.pull_index(options["from"], options["verify"])
        sys.stdout.write(f"{pulled.builds} builds under {pulled.names} names: {pulled.new} new\n{pulled.digest}\n")
        return 0
    if options["verify"]:
        raise InvalidInput("--verify is for a published index", "name it with --from")
    from .....human import duration
    from ....problems import shown

    plan = engine.bases.plan_index_update(arguments, options["platform"])
    known = (
        f"{plan.tags} tags known so far, a question each: about {duration(plan.seconds)}" if plan.tags else "all tags"
    )
    sys.stderr.write(
        f"{'goes on: ' if plan.goes_on else ''}asking for {plan.repositories} repositories: {known}, "
        "and two or three more questions for each new build\n"
    )
    updated = engine.bases.update_index(arguments, options["platform"])
    for problem in updated.problems:
        sys.stderr.write(f"underlay: {shown(str(problem))}\n")
    sys.stdout.write(
        f"{updated.tags} tags: {updated.new} new builds, {updated.moved} tags have moved; "
        f"{updated.builds} builds under {updated.names} names\n"
    )
    return 1 if updated.problems else 0
