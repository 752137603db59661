"""`underlay buildx bake`."""

from __future__ import annotations

import sys

from ...flags import parse
from ...flags.buildflags import FLAGS as BUILD_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Build the targets of a file (docker-bake.json)"
SYNOPSIS = "buildx bake [OPTIONS] [TARGET...]"
FLAGS: tuple[Flag, ...] = (
    (
        "allow",
        "",
        "list",
        "list",
        "Allow extra privileged entitlement (network.host, security.insecure, device[=NAME])",
    ),
    ("file", "f", "list", "list", "Build definition file (JSON)"),
    ("load", "", "bool", "", "Shorthand for --set=*.output=type=docker"),
    ("no-cache", "", "bool", "", "Do not use cache when building the images"),
    ("print", "", "bool", "", "Print the options without building"),
    ("progress", "", "string", "string", "Progress output: auto, plain, tty, json or quiet (default auto)"),
    ("pull", "", "bool", "", "Always attempt to pull all referenced images"),
    ("push", "", "bool", "", "Shorthand for --set=*.output=type=registry"),
    ("set", "", "list", "list", "Override target value (e.g., target.key=value, *.args.name=value)"),
)
_PASSED = ("load", "no-cache", "pull", "push")


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Build targets one after the other, those that others stand on first."""
    from ....lean.jsontext import dumps
    from ... import bake
    from ..image import build

    plan = bake.plan(options["file"], arguments, options["set"])
    if options["print"]:
        sys.stdout.write(dumps({"group": {"default": {"targets": plan.asked}}, "target": plan.targets}) + "\n")
        return 0
    passed = [f"--{name}" for name in _PASSED if options[name]]
    passed += [f"--allow={entitlement}" for entitlement in options["allow"]]
    passed += [f"--progress={options['progress']}"] if options["progress"] else []
    made: dict[str, str] = {}
    for name in plan.order:
        sys.stderr.write(f"[bake] {name}\n")
        with bake.words(plan.targets[name], made) as (words, image):
            given, places = parse("buildx bake", BUILD_FLAGS, [*words, *passed])
            build.run(engine, given, places)
            made[name] = image()
    return 0
