"""`underlay config show`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show the settings, and where each comes from"
SYNOPSIS = "config show [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', 'TEMPLATE'"),
)
_HEADERS = {"Name": "NAME", "Value": "VALUE", "From": "FROM", "Variable": "VARIABLE", "Description": "DESCRIPTION"}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the settings."""
    from .... import settings
    from ...output import listing

    paths = engine._store.paths
    actual = {"root": paths.root, "state": paths.state, "form": engine._store.form_setting}
    actual["network"] = engine.default_network
    rows = []
    for name, setting in settings.SETTINGS.items():
        value, place = settings.found(name)
        shown = actual.get(name, value)
        # A flag before the command wins over everything.
        if place != settings.DEFAULT and name in ("root", "state", "form") and shown != value:
            place = settings.FLAG
        rows.append(
            {"Name": name, "Value": shown, "From": place, "Variable": setting.variable, "Description": setting.text}
        )
    sys.stdout.write(listing(rows, _HEADERS, "{{.Name}}\t{{.Value}}\t{{.From}}", options["format"]))
    return 0
