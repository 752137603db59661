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
_TESTS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_BUILTIN = ("bridge", "host", "none")


_VALUES = {"dangling": ("true", "false", "1", "0"), "type": ("builtin", "custom")}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List the networks that fit, with those that are always there."""
    from ....human import rfc3339
    from ...output import listing

    filters: dict[str, list[str]] = {}
    for text in options["filter"]:
        key, equals, value = text.partition("=")
        if not equals or key not in _TESTS:
            raise InvalidInput(f"invalid filter '{text}'", f"known are {', '.join(_TESTS)}, each with =")
        known = _VALUES.get(key)
        if known and value not in known:
            raise InvalidInput(f"invalid filter '{key}={value}'", f"known values are {', '.join(known)}")
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
        if _fits(filters, name, network_id, driver, labels) and _is_dangling(filters, name, network_id, used)
    ]
    quiet = "{{.ID}}" if options["quiet"] and not options["format"] else ""
    row = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
    sys.stdout.write(listing(rows, _HEADERS, row, options["format"], quiet, whole=options["no-trunc"]))
    return 0


def _fits(filters: dict[str, list[str]], name: str, network_id: str, driver: str, labels: dict[str, str]) -> bool:
    """Labels must all fit, other filters one of their values, as docker has it."""
    for text in filters.get("label", ()):
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return (
        ("driver" not in filters or driver in filters["driver"])
        and ("id" not in filters or any(part in network_id for part in filters["id"]))
        and ("name" not in filters or any(part in name for part in filters["name"]))
        and ("scope" not in filters or "local" in filters["scope"])
        and ("type" not in filters or ("builtin" if name in _BUILTIN else "custom") in filters["type"])
    )


def _is_dangling(filters: dict[str, list[str]], name: str, network_id: str, used: set[str]) -> bool:
    """Return whether a network fits what is asked about no container being in it; those that are always there do not."""
    wanted = filters.get("dangling")
    return not wanted or (name not in _BUILTIN and network_id not in used) == (wanted[-1] in ("true", "1"))
