"""`underlay base report`."""

from __future__ import annotations

import sys
import time

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Report on the base images in use, and what to fix first"
SYNOPSIS = "base report [OPTIONS] [IMAGE...|SCAN]"
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "text (the default), json or html"),
    ("output", "o", "string", "file", "Write to a file"),
    ("policy", "", "string", "file", "Policy file (TOML)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the page, over all images that have a name unless some are named, or those of a scan; 1 when one that is named,
    or is in the scan, cannot be seen."""
    if options["format"] not in ("", "text", "json", "html"):
        raise InvalidInput(
            '"underlay base report" knows the formats text, json and html', "see `underlay base report --help`"
        )
    from ....base.fleet import page, report
    from ...policies import read_policy

    rules = read_policy(options["policy"]) if options["policy"] else None
    from ....base.scan import is_scan

    if len(arguments) == 1 and is_scan(arguments[0]):
        fleet_report = engine.scans.report(arguments[0], rules)
    else:
        fleet_report = engine.bases.report(arguments, rules)
    code = 1 if arguments and not all(image.chain for image in fleet_report.images) else 0
    if options["format"] == "json":
        import msgspec

        text = msgspec.json.encode(fleet_report).decode() + "\n"
    else:
        text = page.html(fleet_report, time.time()) if options["format"] == "html" else report.text(fleet_report)
    if options["output"]:
        try:
            with open(options["output"], "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise InvalidInput(f"{options['output']}: {error.strerror}") from None
        return code
    from ...output import plain

    sys.stdout.write("\n".join(map(plain, text.split("\n"))))
    return code
