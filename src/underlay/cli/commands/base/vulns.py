"""`underlay base vulns`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....base.advisories.exposure import Exposure
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List known vulnerabilities of the packages of an image"
SYNOPSIS = "base vulns [OPTIONS] IMAGE"
FLAGS: tuple[Flag, ...] = (
    ("exit-code", "", "bool", "", "Exit with code 1 if vulnerabilities are found"),
    ("fixable", "", "bool", "", "Show only vulnerabilities that have a fix"),
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    (
        "from",
        "",
        "string",
        "string",
        "Show only vulnerabilities from the base image (base) or from your layers (yours)",
    ),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
    ("severity", "", "string", "string", "Lowest severity to show: low, medium, high or critical"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what was found, the worst first."""
    if len(arguments) != 1:
        raise InvalidInput('"underlay base vulns" requires exactly 1 argument', "see `underlay base vulns --help`")
    levels = ("low", "medium", "high", "critical")
    if options["severity"] and options["severity"] not in levels:
        raise InvalidInput(f"--severity: {options['severity']!r}", f"one of {', '.join(levels)}")
    if options["from"] not in ("", "base", "yours"):
        raise InvalidInput(f"--from: {options['from']!r}", "base or yours")
    import msgspec

    found = engine.bases.vulnerabilities(arguments[0], options["platform"])
    least = levels.index(options["severity"]) if options["severity"] else -1
    wanted = [
        each
        for each in found.findings
        if (not options["fixable"] or each.fixed) and (not options["from"] or each.origin == options["from"])
    ]
    rated = [each for each in wanted if each.severity in levels]
    chosen = tuple(wanted if least < 0 else (each for each in rated if levels.index(each.severity) >= least))
    unrated = len(wanted) - len(rated) if least >= 0 else 0
    everything, found = len(found.findings), msgspec.structs.replace(found, findings=chosen)
    code = 1 if chosen and options["exit-code"] else 0
    if options["format"]:
        import msgspec

        from ...output import render

        sys.stdout.write(render(options["format"], msgspec.to_builtins(found)) + "\n")
        return code
    sys.stdout.write(_table(found, everything, unrated))
    return code


def _table(found: Exposure, everything: int, unrated: int) -> str:
    rows = [("VULNERABILITY", "SEVERITY", "PACKAGE", "VERSION", "FIXED", "FROM", "NEWER BASE")]
    newer = {True: "fixes it", False: "does not", None: ""}
    for each in found.findings:
        rows.append(
            (
                each.id,
                each.severity,
                each.package,
                each.version,
                each.fixed or "-",
                {"base": found.base, "yours": "yours"}.get(each.origin, "-"),
                newer[each.newer_fixes],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(rows) == 1:
        which = "of this kind is known" if everything else "is known"
        lines = [f"{found.image}: nothing {which} against its {found.checked} packages"]
    if unrated:
        lines.append(f"not shown: {unrated} of unknown severity")
    from ...output import plain

    return "\n".join(map(plain, [*lines, *(f"not checked: {gap}" for gap in found.gaps)])) + "\n"
