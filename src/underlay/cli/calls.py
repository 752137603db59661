"""What `build --call` answers in place of a build: checks, an outline, targets; for people or as JSON."""

from __future__ import annotations

import sys

from ..errors import UsageError
from ..lean.jsontext import dumps
from .output import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..builder.outline import Described
    from ..builder.request import BuildRequest
    from ..engine.engine import Engine

_METHODS = ("build", "check", "outline", "targets")


def answer(engine: Engine, request: BuildRequest, call: str) -> int:
    """Write the answer to a call, as `check` or `targets,format=json`; returns the exit code. Raises UsageError."""
    method, *rest = (word.strip() for word in call.split(","))
    method = {"lint": "check"}.get(method.removeprefix("subrequests."), method)
    form = "text"
    for word in rest:
        key, _, value = word.partition("=")
        if key != "format" or value not in ("text", "json"):
            raise UsageError(f"invalid --call {call!r}: unexpected {word!r}", "format=text or format=json")
        form = value
    if method == "check":
        return _check(engine, request, form)
    if method == "outline":
        _outline(engine, request, form)
    elif method == "targets":
        _targets(engine.builds.targets(request), form)
    else:
        raise UsageError(f"invalid --call {call!r}: unknown method {method!r}", f"one of {', '.join(_METHODS)}")
    return 0


def _check(engine: Engine, request: BuildRequest, form: str) -> int:
    """Report docker's build checks; returns 1 when they find something."""
    findings, failure = engine.builds.check(request)
    if form == "json":
        warnings = [
            {
                "ruleName": finding.rule,
                "description": finding.description,
                "detail": finding.message,
                "location": {
                    "sourceIndex": 0,
                    "ranges": [{"start": {"line": finding.line}, "end": {"line": finding.last_line}}],
                },
            }
            for finding in findings
        ]
        sys.stdout.write(dumps({"warnings": warnings}) + "\n")
    elif not findings and failure is None:
        sys.stdout.write("Check complete, no warnings found.\n")
    elif findings:
        count = len(findings)
        sys.stdout.write(f"Check complete, {count} warning{'s have' if count > 1 else ' has'} been found!\n")
        for finding in findings:
            bar = "-" * 20
            sys.stdout.write(f"\nWARNING: {finding.rule}\n{finding.message}\n")
            sys.stdout.write(f"{finding.source.name}:{finding.line}\n{bar}\n")
            sys.stdout.write(f"{finding.source.excerpt(finding.line, finding.last_line)}\n{bar}\n")
    if failure is not None:
        raise failure
    return int(bool(findings))


def _targets(targets: list[Described], form: str) -> None:
    if form == "json":
        rows = [{"name": one.name, "default": bool(one.value), "description": one.description} for one in targets]
        sys.stdout.write(dumps({"targets": rows}) + "\n")
        return
    names = [(one.name + (" (default)" if one.value else "")).strip() for one in targets]
    lines = [("TARGET", "DESCRIPTION"), *((name, one.description) for name, one in zip(names, targets, strict=True))]
    sys.stdout.write(_table(lines))


def _outline(engine: Engine, request: BuildRequest, form: str) -> None:
    outline = engine.builds.outline(request)
    if form == "json":
        value = {
            "name": outline.target.name,
            "description": outline.target.description,
            "args": [
                {"name": one.name, "description": one.description, "value": one.value} for one in outline.arguments
            ],
            "secrets": [{"name": one.name, "required": one.required} for one in outline.secrets],
            "ssh": [{"name": one.name, "required": one.required} for one in outline.agents],
        }
        sys.stdout.write(dumps(value) + "\n")
        return
    if outline.target.name:
        sys.stdout.write(f"TARGET:      {outline.target.name}\n")
    if outline.target.description:
        sys.stdout.write(f"DESCRIPTION: {outline.target.description}\n")
    rows = [(one.name, one.value, one.description) for one in outline.arguments]
    for headers, lines in (
        (("BUILD ARG", "VALUE", "DESCRIPTION"), rows),
        (("SECRET", "REQUIRED"), [(one.name, str(one.required).lower()) for one in outline.secrets]),
        (("SSH", "REQUIRED"), [(one.name, str(one.required).lower()) for one in outline.agents]),
    ):
        if lines:
            sys.stdout.write("\n" + _table([headers, *lines]))


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "".join(line.rstrip() + "\n" for line in table(lines, 0).splitlines())
