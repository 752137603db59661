"""`underlay base check`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Check the base images of images against a policy"
SYNOPSIS = "base check [OPTIONS] --policy FILE IMAGE [IMAGE...]|SCAN"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("policy", "", "string", "file", "Policy file (TOML)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the rules that are broken; the exit code is 1 when there are any."""
    if not options["policy"]:
        raise InvalidInput('"underlay base check" requires --policy', "see `underlay base check --help`")
    from ...policies import read_policy

    rules = read_policy(options["policy"])
    from ....base.scan import is_scan

    scanned = len(arguments) == 1 and is_scan(arguments[0])
    broken = engine.scans.check(arguments[0], rules) if scanned else engine.bases.check(arguments, rules)
    if options["format"]:
        import msgspec

        from ...output import render

        for broken_rule in broken:
            sys.stdout.write(render(options["format"], msgspec.to_builtins(broken_rule)) + "\n")
    else:
        from ...output import plain

        for broken_rule in broken:
            sys.stdout.write(
                plain(f"{broken_rule.image or 'all images'}: {broken_rule.text} ({broken_rule.rule})") + "\n"
            )
    return 1 if broken else 0
