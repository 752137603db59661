"""`underlay base outdated`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....base.fleet.outdated import Outdated
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Check whether the base of an image is outdated"
SYNOPSIS = "base outdated [OPTIONS] IMAGE [IMAGE...]"
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("offline", "", "bool", "", "Do not contact registries"),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print how current the base of each image is; the exit code is 1 when one is outdated."""
    if not arguments:
        raise InvalidInput(
            '"underlay base outdated" requires at least 1 argument', "see `underlay base outdated --help`"
        )
    import msgspec

    from ...output import plain, render

    late = False
    for name in arguments:
        found = engine.bases.outdated(name, options["platform"], options["offline"])
        late |= found.outdated
        if options["format"]:
            value = {**msgspec.to_builtins(found), "outdated": found.outdated}
            sys.stdout.write(render(options["format"], value) + "\n")
        else:
            sys.stdout.write("\n".join(map(plain, _lines(found))) + "\n")
    return 1 if late else 0


def _lines(found: Outdated) -> list[str]:
    if not found.base:
        from ....base.identify.identify import LIKELY

        said = "it is made from nothing" if found.confidence >= LIKELY else "no base is known of it"
        return [f"{found.image}: {said}", *_life(found)]
    if found.moved is None:
        says = f"whether {found.base} has moved cannot be told"
    else:
        says = f"{found.base} is another image now" if found.moved else f"it is today's {found.base}"
    lines = [f"{found.image}: {says}" + (f" (asked: the {found.asked})" if found.moved is not None else "")]
    if found.moved and found.now:
        lines.append(f"  {found.base} is {found.now[:19]} now: `underlay base rebase {found.image}`")
    if found.problem:
        lines.append(f"  its registry was not asked: {found.problem}")
    return lines + _life(found)


def _life(found: Outdated) -> list[str]:
    if not found.release:
        return []
    words = {
        "supported": f"is supported until {found.ends}" if found.ends else "is supported",
        "near": f"is near its end: {found.ends}",
        "extended": f"has only extended support left, until {found.ends}",
        "ended": f"is past its end of life since {found.ends}" if found.ends else "is past its end of life",
    }.get(found.life, "has no end that is known")
    lines = [f"  {found.release} {words}"]
    if found.newest:
        lines.append(f"  the newest release is {found.newest}")
    return lines
