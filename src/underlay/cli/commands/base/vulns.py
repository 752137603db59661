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
        raise InvalidInput(f"invalid value for --severity: {options['severity']!r}", f"one of {', '.join(levels)}")
    if options["from"] not in ("", "base", "yours"):
        raise InvalidInput(f"invalid value for --from: {options['from']!r}", "base or yours")
    import msgspec

    exposure = engine.bases.vulnerabilities(arguments[0], options["platform"])
    least = levels.index(options["severity"]) if options["severity"] else -1
    wanted = [
        finding
        for finding in exposure.findings
        if (not options["fixable"] or finding.fixed) and (not options["from"] or finding.origin == options["from"])
    ]
    rated = [finding for finding in wanted if finding.severity in levels]
    chosen = tuple(wanted if least < 0 else (finding for finding in rated if levels.index(finding.severity) >= least))
    unrated = len(wanted) - len(rated) if least >= 0 else 0
    everything, exposure = len(exposure.findings), msgspec.structs.replace(exposure, findings=chosen)
    code = 1 if chosen and options["exit-code"] else 0
    if options["format"]:
        import msgspec

        from ...output import render

        sys.stdout.write(render(options["format"], msgspec.to_builtins(exposure)) + "\n")
        return code
    sys.stdout.write(_table(exposure, everything, unrated))
    return code


def _table(exposure: Exposure, everything: int, unrated: int) -> str:
    rows = [("VULNERABILITY", "SEVERITY", "PACKAGE", "VERSION", "FIXED", "FROM", "NEWER BASE")]
    newer = {True: "fixes it", False: "does not", None: ""}
    for finding in exposure.findings:
        rows.append(
            (
                finding.id,
                finding.severity,
                finding.package,
                finding.version,
                finding.fixed or "-",
                {"base": exposure.base, "yours": "yours"}.get(finding.origin, "-"),
                newer[finding.newer_fixes],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(rows) == 1:
        which = "of this kind is known" if everything else "is known"
        lines = [f"{exposure.image}: nothing {which} against its {exposure.checked} packages"]
    if unrated:
        lines.append(f"not shown: {unrated} of unknown severity")
    from ...output import plain

    return "\n".join(map(plain, [*lines, *(f"not checked: {gap}" for gap in exposure.gaps)])) + "\n"
