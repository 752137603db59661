"""`underlay doctor`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Check what this host lacks for which feature, and what to do"
SYNOPSIS = "doctor [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', 'TEMPLATE'"),
)
_HEADERS = {"Feature": "FEATURE", "State": "STATE", "Found": "FOUND", "Remedy": "WHAT TO DO"}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the features with their state; the exit code is 1 when containers cannot run at all."""
    from ...output import listing

    findings = engine.system.doctor()
    rows = [
        {"Feature": each.feature, "State": each.state, "Found": each.found, "Remedy": each.remedy} for each in findings
    ]
    if options["format"]:
        sys.stdout.write(listing(rows, _HEADERS, "", options["format"]))
    else:
        width = max(len(each.feature) for each in findings)
        for each in findings:
            sys.stdout.write(f"{each.feature:<{width}}  {each.state:<7}  {each.found}\n")
            if each.remedy:
                sys.stdout.write(f"{'':<{width}}           → {each.remedy}\n")
    return int(any(each.feature == "containers" and each.state == "missing" for each in findings))
