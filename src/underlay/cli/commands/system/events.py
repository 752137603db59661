"""`underlay events`."""

from __future__ import annotations

import sys
from time import time

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ....engine.engine import Engine
    from ....journal import Entry
    from ...flags import Flag, Options

SUMMARY = "Show what happens to containers, images, networks and volumes, as it happens"
SYNOPSIS = "events [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    (
        "filter",
        "f",
        "list",
        "filter",
        "Filter output based on conditions provided (type=…, event=…, container=…, label=…)",
    ),
    ("format", "", "string", "string", "Format output: json, or a Go template"),
    ("since", "", "string", "string", "Show all events created since timestamp"),
    ("until", "", "string", "string", "Stream events until this timestamp"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print a line for each event until `--until`, or until it is interrupted."""
    from ....engine.filters.moments import moment
    from ...output import harmless, render

    filters: dict[str, list[str]] = {}
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f'invalid argument "{text}" for "-f, --filter" flag: invalid filter \'{text}\'')
        filters.setdefault(key, []).append(value)
    until = moment(options["until"]) if options["until"] else 0.0
    now = time()
    since = moment(options["since"]) if options["since"] else 0.0 if until and until <= now else now
    form = options["format"] or ""
    for entry in engine.system.events(since, until, filters, follow=not until or until > now):
        sys.stdout.write((_rendered(entry, form, render) if form else harmless(_line(entry))) + "\n")
        sys.stdout.flush()
    return 0


def _rendered(entry: Entry, form: str, render: Callable[[str, object], str]) -> str:
    if form == "json" or form.replace(" ", "") == "{{json.}}":
        return render("json", _shown(entry))
    fields = {"Status": entry["action"], "ID": entry["id"], "From": entry["attributes"].get("image", "")}
    fields |= {"Scope": "local", "Time": str(entry["time"] // 1_000_000_000), "TimeNano": str(entry["time"])}
    return render(form, {**_shown(entry), **fields})


def _shown(entry: Entry) -> dict[str, object]:
    """Return an event with docker's members, as in its JSON."""
    shown: dict[str, object] = {}
    if entry["type"] == "container":
        shown = {"status": entry["action"], "id": entry["id"], "from": entry["attributes"].get("image", "")}
    return {
        **shown,
        "Type": entry["type"],
        "Action": entry["action"],
        "Actor": {"ID": entry["id"], "Attributes": entry["attributes"]},
        "scope": "local",
        "time": entry["time"] // 1_000_000_000,
        "timeNano": entry["time"],
    }


def _line(entry: Entry) -> str:
    from datetime import datetime

    seconds, nanoseconds = divmod(entry["time"], 1_000_000_000)
    moment = datetime.fromtimestamp(seconds).astimezone()
    zone = moment.strftime("%z")
    when = f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}{zone[:3]}:{zone[3:]}"
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(entry["attributes"].items()))
    return f"{when} {entry['type']} {entry['action']} {entry['id']}" + (f" ({attributes})" if attributes else "")
