"""`underlay volume ls`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List volumes"
SYNOPSIS = "volume ls [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("filter", "f", "list", "filter", "Provide filter values (dangling=…, driver=…, label=…, name=…)"),
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', or a Go template"),
    ("quiet", "q", "bool", "", "Only display volume names"),
)
_HEADERS = {
    "Driver": "DRIVER",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Mountpoint": "MOUNTPOINT",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Size": "SIZE",
}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the volumes that fit."""
    from ....engine.filters import volumes as volume_filters
    from ...output import listing

    filters: dict[str, list[str]] = {}
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"invalid filter '{text}'", "filters are key=value")
        filters.setdefault(key, []).append(value)
    rows = [
        {
            "Driver": "local",
            "Labels": ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
            "Label": lambda name, labels=volume.labels: labels.get(name, ""),
            "Links": "N/A",
            "Mountpoint": engine.volumes.mountpoint(volume.name),
            "Name": volume.name,
            "Scope": "local",
            "Size": "N/A",
        }
        for volume in volume_filters.listed(engine.volumes, filters)
    ]
    quiet = "{{.Name}}" if options["quiet"] and not options["format"] else ""
    sys.stdout.write(listing(rows, _HEADERS, "{{.Driver}}\t{{.Name}}", options["format"], quiet))
    return 0
