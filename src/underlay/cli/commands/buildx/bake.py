"""`underlay buildx bake`."""

from __future__ import annotations

import os
import sys
import tempfile

from ....errors import InvalidInput
from ...flags import parse
from ...flags.buildflags import BUILDER_FLAG, check_builder
from ...flags.buildflags import FLAGS as BUILD_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...bake.definition import Definition
    from ...bake.plan import Plan
    from ...flags import Flag, Options

SUMMARY = "Build from a file: docker-bake.hcl, docker-bake.json or a compose file"
SYNOPSIS = "buildx bake [OPTIONS] [TARGET...]"
FLAGS: tuple[Flag, ...] = (
    (
        "allow",
        "",
        "list",
        "list",
        "Allow extra privileged entitlement (network.host, security.insecure, device[=NAME]); "
        "fs, fs.read and fs.write are allowed always: a bake file is its user's",
    ),
    BUILDER_FLAG,
    ("call", "", "string", "string", "What to do: build, check, outline or targets (default build)"),
    ("check", "", "bool", "", "Shorthand for --call=check"),
    ("file", "f", "list", "list", "Build definition file (HCL, JSON or compose; - for standard input)"),
    ("list", "", "string", "string", "List targets or variables"),
    ("load", "", "bool", "", "Shorthand for --set=*.output=type=docker"),
    ("metadata-file", "", "string", "file", "Write the results of all targets to a file"),
    ("no-cache", "", "bool", "", "Do not use cache when building the images"),
    ("print", "", "bool", "", "Print the options without building"),
    ("progress", "", "string", "string", "Progress output: auto, plain, tty, rawjson or quiet (default auto)"),
    ("provenance", "", "string", "string", "Shorthand for --set=*.attest=type=provenance"),
    ("pull", "", "bool", "", "Always attempt to pull all referenced images"),
    ("push", "", "bool", "", "Shorthand for --set=*.output=type=registry"),
    ("sbom", "", "string", "string", "Shorthand for --set=*.attest=type=sbom"),
    ("set", "", "list", "list", "Override target value (e.g., target.key=value, *.args.name=value)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Build targets one after the other, those that others stand on first."""
    from ...bake import files
    from ...bake.plan import plan

    check_builder(options)
    definition = files.read(options["file"])
    if options["list"]:
        _list(definition, options["list"])
        return 0
    # Nothing asks for permission to read or write files: --allow=fs… has nothing to add.
    allowed = [one for one in options["allow"] if one.partition("=")[0] not in ("fs", "fs.read", "fs.write")]
    planned = plan(definition, arguments, [*options["set"], *_shorthands(options)])
    if options["print"]:
        sys.stdout.write(_printed(planned) + "\n")
        return 0
    _check_entitlements(planned, allowed)
    passed = [f"--allow={entitlement}" for entitlement in allowed]
    if options["progress"]:
        passed.append(f"--progress={options['progress']}")
    call = options["call"] or ("check" if options["check"] else "")
    if call:
        passed.append(f"--call={call}")
    return _build(engine, planned, passed, options["metadata-file"])


def _shorthands(options: Options) -> list[str]:
    """Return what flags stand for, as --set has it."""
    changes = [f"*.{name}=true" for name in ("no-cache", "pull") if options[name]]
    changes += [f"*.output+=type={kind}" for name, kind in (("load", "docker"), ("push", "registry")) if options[name]]
    for name in ("provenance", "sbom"):
        value = options[name]
        if value in ("true", "1"):
            changes.append(f"*.attest+=type={name}")
        elif value in ("false", "0"):
            changes.append(f"*.attest+=type={name},disabled=true")
        elif value:
            fields = value if "=" in value else f"{'mode' if name == 'provenance' else 'format'}={value}"
            changes.append(f"*.attest+=type={name},{fields}")
    return changes


def _check_entitlements(planned: Plan, allowed: list[str]) -> None:
    """Refuse what a file asks for and its user has not allowed: it may be another's. Raises InvalidInput."""
    given = {entitlement for one in allowed for entitlement in one.split(",")}
    for name, target in planned.targets.items():
        wanted = [*target.get("entitlements", []), *(["network.host"] if target.get("network") == "host" else [])]
        missing = [one for one in wanted if one not in given and one.partition("=")[0] not in given]
        if missing:
            raise InvalidInput(f"bake: target {name} wants {missing[0]}", f"--allow {missing[0]} allows it")


def _build(engine: Engine, planned: Plan, passed: list[str], metadata: str) -> int:
    from ....files import write_output
    from ....lean.jsontext import dumps, loads
    from ...bake.words import words as words_of
    from ..image import build

    made: dict[str, str] = {}
    results: dict[str, object] = {}
    worst = 0
    shows = not any(word in ("--progress=quiet", "--progress=rawjson", "--progress=json") for word in passed)
    for name in planned.order:
        if shows:
            sys.stderr.write(f"[bake] {name}\n")
        with words_of(planned.targets[name], made) as (words, image):
            given, places = parse("buildx bake", BUILD_FLAGS, [*words, *passed])
            with tempfile.TemporaryDirectory(prefix="underlay-bake-") as place:
                given.values["metadata-file"] = f"{place}/result"
                worst = max(worst, build.run(engine, given, places))
                made[name] = image()
                if os.path.exists(given["metadata-file"]):
                    with open(given["metadata-file"], encoding="utf-8") as file:
                        results[name] = loads(file.read())
    if metadata:
        write_output(metadata, dumps(results).encode() + b"\n")
    return worst


def _printed(planned: Plan) -> str:
    """Return what --print shows: the groups and targets as a bake file."""
    import json

    groups = {name: {"targets": members} for name, members in sorted(planned.groups.items())}
    value = {"group": groups} if groups else {}
    return json.dumps({**value, "target": dict(sorted(planned.targets.items()))}, indent=2, ensure_ascii=False)


def _list(definition: Definition, what: str) -> None:
    """Print a table of the targets, or of the variables with the values that they have now."""
    from ...bake.plan import described
    from ...output import table

    kind, _, form = what.partition(",")
    kind = kind.removeprefix("type=")
    if kind not in ("targets", "variables") or form not in ("", "format=json"):
        raise InvalidInput(f"invalid --list {what!r}", "targets or variables, with ,format=json for programs")
    rows = described(definition, kind)
    if form:
        from ....lean.jsontext import dumps

        sys.stdout.write(dumps(rows) + "\n")
        return
    headers = ("TARGET", "DESCRIPTION") if kind == "targets" else ("VARIABLE", "VALUE", "DESCRIPTION")
    sys.stdout.write(table([headers, *(tuple(row.values()) for row in rows)], 0))
