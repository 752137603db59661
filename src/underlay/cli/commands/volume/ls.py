"""`underlay volume ls`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ....store.rows.volumes import Volume
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
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the volumes that fit."""
    from ...output import listing

    filters: dict[str, list[str]] = {}
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"invalid filter '{text}'", "filters are key=value")
        if key not in ("dangling", "driver", "label", "name"):
            raise InvalidInput(f"invalid filter '{key}'", "known are dangling, driver, label, name")
        filters.setdefault(key, []).append(value)
    dangling = None
    if "dangling" in filters:
        wanted = {_BOOLEANS.get(value) for value in filters["dangling"]}
        if None in wanted:
            raise InvalidInput("invalid filter 'dangling'", "use dangling=true or dangling=false")
        dangling = wanted.pop() if len(wanted) == 1 else None
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
        for volume in engine.volumes.list(dangling)
        if all(_TESTS[key](volume, values) for key, values in filters.items() if key in _TESTS)
    ]
    quiet = "{{.Name}}" if options["quiet"] and not options["format"] else ""
    sys.stdout.write(listing(rows, _HEADERS, "{{.Driver}}\t{{.Name}}", options["format"], quiet))
    return 0


def _labels(volume: Volume, values: list[str]) -> bool:
    """Labels must all fit, other filters one of their values, as docker has it."""
    for value in values:
        key, equals, wanted = value.partition("=")
        if key not in volume.labels or (equals and volume.labels[key] != wanted):
            return False
    return True


def _name(volume: Volume, values: list[str]) -> bool:
    import re

    try:
        return any(value == volume.name or re.search(value, volume.name) is not None for value in values)
    except re.error:
        raise InvalidInput(f"invalid filter 'name={values[-1]}': not a regular expression") from None


def _driver(volume: Volume, values: list[str]) -> bool:
    return "local" in values


_TESTS: dict[str, Any] = {"driver": _driver, "label": _labels, "name": _name}
