"""`underlay network ls`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List networks"
SYNOPSIS = "network ls [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("filter", "f", "list", "filter", "Provide filter values (dangling=, driver=, id=, label=, name=, scope=, type=)"),
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', or a Go template"),
    ("no-trunc", "", "bool", "", "Do not truncate the output"),
    ("quiet", "q", "bool", "", "Only display network IDs"),
)
_HEADERS = {
    "CreatedAt": "CREATED AT",
    "Driver": "DRIVER",
    "ID": "NETWORK ID",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "Name": "NAME",
    "Scope": "SCOPE",
}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the networks that fit, with those that are always there."""
    from ....engine.filters import networks as tests
    from ....human import rfc3339
    from ...output import listing

    filters: dict[str, list[str]] = {}
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"invalid filter '{text}'", f"known are {', '.join(tests.KEYS)}, each with =")
        tests.check(key, value)
        filters.setdefault(key, []).append(value)
    used = engine.networks.in_use() if "dangling" in filters else set()
    networks: list[tuple[str, str, str, dict[str, str], dict[str, Any]]] = [
        (name, name, driver, {}, {}) for name, driver in (("host", "host"), ("none", "null"))
    ]
    for name, network_id in engine.networks.of_plugins():
        networks.append((name, network_id, "cni", {}, {}))
        used.add(network_id)  # who else uses it is unknown
    for network in engine.networks.list():
        more = {
            "CreatedAt": rfc3339(network.created).replace("T", " ").replace("Z", " +0000 UTC"),
            "IPv4": str(network.pool(32) is not None).lower(),
            "IPv6": str(network.pool(128) is not None).lower(),
            "Internal": str(network.internal).lower(),
        }
        networks.append((network.name, network.id, network.driver, network.labels, more))
    rows = [
        {
            "CreatedAt": "",
            "IPv4": "true",
            "IPv6": "false",
            "Internal": "false",
            **more,
            "Driver": driver,
            "ID": network_id if options["no-trunc"] else network_id[:12],
            "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
            "Label": lambda name, labels=labels: labels.get(name, ""),
            "Name": name,
            "Scope": "local",
        }
        for name, network_id, driver, labels, more in sorted(networks, key=lambda network_fields: network_fields[0])
        if tests.passes(filters, name, network_id, driver, labels, used)
    ]
    quiet = "{{.ID}}" if options["quiet"] and not options["format"] else ""
    row = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
    sys.stdout.write(listing(rows, _HEADERS, row, options["format"], quiet, whole=options["no-trunc"]))
    return 0
