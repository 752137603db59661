"""`underlay base advisories import`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Import security advisories (OSV), or a list of known exploits (KEV) or of their likelihood (EPSS)"
SYNOPSIS = "base advisories import PATH"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Take OSV records, so that vulnerabilities can be looked for without a network."""
    counts = engine.bases.import_advisories(arguments[0])
    for name, count in counts.lists.items():
        sys.stdout.write(f"{name}: {count} vulnerabilities\n")
        return 0
    for family, head in sorted(counts.families.items()):
        sys.stdout.write(f"{family}: {head.records} advisories\n")
    sys.stdout.write(
        f"{counts.read} records read: {counts.withdrawn} withdrawn, {counts.others} of others, {counts.broken} broken\n"
    )
    return 0
