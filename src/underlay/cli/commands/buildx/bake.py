"""`underlay buildx bake`."""

from __future__ import annotations

import os
import sys
import tempfile

from ...flags import parse
from ...flags.buildflags import BUILDER_FLAG, check_builder
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
    BUILDER_FLAG,
    ("file", "f", "list", "list", "Build definition file (JSON)"),
    ("load", "", "bool", "", "Shorthand for --set=*.output=type=docker"),
    ("metadata-file", "", "string", "file", "Write the results of all targets to a file"),
    ("no-cache", "", "bool", "", "Do not use cache when building the images"),
    ("print", "", "bool", "", "Print the options without building"),
    ("progress", "", "string", "string", "Progress output: auto, plain, tty, json or quiet (default auto)"),
    ("provenance", "", "string", "string", "Shorthand for --set=*.attest=type=provenance"),
    ("pull", "", "bool", "", "Always attempt to pull all referenced images"),
    ("push", "", "bool", "", "Shorthand for --set=*.output=type=registry"),
    ("sbom", "", "string", "string", "Shorthand for --set=*.attest=type=sbom"),
    ("set", "", "list", "list", "Override target value (e.g., target.key=value, *.args.name=value)"),
)
_PASSED = ("load", "no-cache", "pull", "push")


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Build targets one after the other, those that others stand on first."""
    from ....files import write_output
    from ....lean.jsontext import dumps, loads
    from ... import bake
    from ..image import build

    check_builder(options)
    plan = bake.plan(options["file"], arguments, options["set"])
    if options["print"]:
        sys.stdout.write(dumps({"group": {"default": {"targets": plan.asked}}, "target": plan.targets}) + "\n")
        return 0
    passed = [f"--{name}" for name in _PASSED if options[name]]
    passed += [f"--allow={entitlement}" for entitlement in options["allow"]]
    passed += [f"--{name}={options[name]}" for name in ("progress", "provenance", "sbom") if options[name]]
    made: dict[str, str] = {}
    results: dict[str, object] = {}
    for name in plan.order:
        sys.stderr.write(f"[bake] {name}\n")
        with bake.words(plan.targets[name], made) as (words, image):
            given, places = parse("buildx bake", BUILD_FLAGS, [*words, *passed])
            with tempfile.TemporaryDirectory(prefix="underlay-bake-") as place:
                given.values["metadata-file"] = f"{place}/result"
                build.run(engine, given, places)
                made[name] = image()
                if os.path.exists(given["metadata-file"]):
                    with open(given["metadata-file"], encoding="utf-8") as file:
                        results[name] = loads(file.read())
    if options["metadata-file"]:
        write_output(options["metadata-file"], dumps(results).encode() + b"\n")
    return 0
