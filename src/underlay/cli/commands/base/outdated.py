"""`underlay base outdated`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....base.fleet.outdated import Outdated
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Check whether the base of an image is outdated"
SYNOPSIS = "base outdated [OPTIONS] IMAGE [IMAGE...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("offline", "", "bool", "", "Do not contact registries"),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print how current the base of each image is; the exit code is 1 when one is outdated."""
    import msgspec

    from ...output import plain, render

    late = False
    for name in arguments:
        report = engine.bases.outdated(name, options["platform"], options["offline"])
        late |= report.outdated
        if options["format"]:
            value = {**msgspec.to_builtins(report), "outdated": report.outdated}
            sys.stdout.write(render(options["format"], value) + "\n")
        else:
            sys.stdout.write("\n".join(map(plain, _lines(report))) + "\n")
    return 1 if late else 0


def _lines(report: Outdated) -> list[str]:
    if not report.base:
        from ....base.identify.identify import LIKELY

        base_text = "it is made from nothing" if report.confidence >= LIKELY else "its base is not known"
        return [f"{report.image}: {base_text}", *_life(report)]
    if report.moved is None:
        moved_text = f"cannot tell whether it is today's {report.base}"
    else:
        moved_text = f"{report.base} is another image now" if report.moved else f"it is today's {report.base}"
    lines = [f"{report.image}: {moved_text}" + (f" (asked: the {report.asked})" if report.moved is not None else "")]
    if report.moved and report.now:
        lines.append(f"  {report.base} is {report.now[:19]} now: `underlay base rebase {report.image}`")
    if report.problem:
        lines.append(f"  its registry was not asked: {report.problem}")
    return lines + _life(report)


def _life(report: Outdated) -> list[str]:
    if not report.release:
        return []
    words = {
        "supported": f"is supported until {report.ends}" if report.ends else "is supported",
        "near": f"is near its end: {report.ends}",
        "extended": f"has only extended support left, until {report.ends}",
        "ended": f"is past its end of life since {report.ends}" if report.ends else "is past its end of life",
    }.get(report.life, "has no known end of life")
    lines = [f"  {report.release} {words}"]
    if report.newest:
        lines.append(f"  the newest release is {report.newest}")
    return lines
