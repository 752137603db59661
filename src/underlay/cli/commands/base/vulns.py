"""`underlay base vulns`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ....base.advisories.exposure import Exposed, Exposure
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List known vulnerabilities of the packages of an image"
SYNOPSIS = "base vulns [OPTIONS] IMAGE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("exit-code", "", "bool", "", "Exit with code 1 if vulnerabilities are found"),
    ("exploited", "", "bool", "", "Show only vulnerabilities that are known to be exploited (KEV)"),
    ("fixable", "", "bool", "", "Show only vulnerabilities that have a fix"),
    (
        "format",
        "f",
        "string",
        "string",
        "Format output: table, json, sarif, cyclonedx, openvex, junit or a Go template",
    ),
    (
        "from",
        "",
        "string",
        "string",
        "Show only vulnerabilities from the base image (base) or from your layers (yours)",
    ),
    ("ignore-file", "", "string", "file", "Vulnerabilities that are accepted until a day, with the reason (TOML)"),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
    ("severity", "", "string", "string", "Lowest severity to show: low, medium, high or critical"),
    ("vex", "", "list", "file", "OpenVEX documents whose statements clear vulnerabilities"),
)
# So that 1 means findings and nothing else.
FAILURE = 2
_LEVELS = ("low", "medium", "high", "critical")


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what was found, the worst first."""
    if options["severity"] and options["severity"] not in _LEVELS:
        raise InvalidInput(f"invalid value for --severity: {options['severity']!r}", f"one of {', '.join(_LEVELS)}")
    if options["from"] not in ("", "base", "yours"):
        raise InvalidInput(f"invalid value for --from: {options['from']!r}", "base or yours")
    import msgspec

    from ....base.advisories import documents

    form = options["format"] or "table"
    if form not in ("table", "json", *documents.FORMS) and "{{" not in form:
        known = ", ".join(("table", "json", *documents.FORMS))
        raise InvalidInput(f"unknown format {form!r}", f"one of {known}, or a Go template such as '{{{{len .found}}}}'")
    exposure = engine.bases.vulnerabilities(
        arguments[0], options["platform"], options["ignore-file"], tuple(options["vex"])
    )
    if options["exploited"] and "KEV" not in exposure.lists:
        raise InvalidInput(
            "--exploited needs the list of known exploited vulnerabilities (KEV)",
            "import it: `underlay base advisories import known_exploited_vulnerabilities.json`",
        )
    least = _LEVELS.index(options["severity"]) if options["severity"] else -1
    wanted = _wanted(exposure.findings, options)
    chosen = tuple(finding for finding in wanted if _rank(finding) >= least)
    unrated = sum(_rank(finding) < 0 for finding in wanted) if least >= 0 else 0
    ignored = tuple(finding for finding in _wanted(exposure.ignored, options) if _rank(finding) >= least)
    everything = len(exposure.findings) + len(exposure.ignored)
    exposure = msgspec.structs.replace(exposure, findings=chosen, ignored=ignored)
    if form == "table":
        sys.stdout.write(_table(exposure, everything, unrated))
    elif form in documents.FORMS:
        sys.stdout.write(documents.write(form, exposure) + "\n")
    else:
        from ...output import render

        sys.stdout.write(render(form, msgspec.to_builtins(exposure)) + "\n")
    return 1 if chosen and options["exit-code"] else 0


def _rank(finding: Exposed) -> int:
    """Return the place of a severity among those that can be asked for, -1 for any other."""
    return _LEVELS.index(finding.severity) if finding.severity in _LEVELS else -1


def _wanted(findings: Iterable[Exposed], options: Options) -> list[Exposed]:
    return [
        finding
        for finding in findings
        if (not options["fixable"] or finding.fixed)
        and (not options["exploited"] or finding.exploited)
        and (not options["from"] or finding.origin == options["from"])
    ]


def _table(exposure: Exposure, everything: int, unrated: int) -> str:
    rows: list[tuple[str, ...]] = [
        ("VULNERABILITY", "SEVERITY", "PACKAGE", "VERSION", "FIXED", "FROM", "NEWER BASE", "EXPLOITED")
    ]
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
                _exploited(finding),
            )
        )
    if not exposure.lists:
        rows = [row[:-1] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(rows) == 1:
        which = "of this kind is known" if everything else "is known"
        lines = [f"{exposure.image}: nothing {which} against its {exposure.checked} packages"]
    if unrated:
        lines.append(f"not shown: {unrated} of unknown severity")
    lines += [f"ignored: {finding.id} in {finding.package}: {finding.because}" for finding in exposure.ignored]
    lines += exposure.notes
    from ...output import plain

    return "\n".join(map(plain, [*lines, *(f"not checked: {gap}" for gap in exposure.gaps)])) + "\n"


def _exploited(finding: Exposed) -> str:
    """Return that a vulnerability is known to be exploited, else how likely it will be."""
    if finding.exploited:
        return f"since {finding.exploited}"
    return "" if finding.epss is None else f"{finding.epss:.1%} likely"
