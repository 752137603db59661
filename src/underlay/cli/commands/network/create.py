"""`underlay network create`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create a network"
SYNOPSIS = "network create [OPTIONS] NETWORK"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("attachable", "", "bool", "", "Enable manual container attachment (always possible)"),
    ("aux-address", "", "list", "map", "Auxiliary IPv4 or IPv6 addresses that no container is given (name=address)"),
    ("driver", "d", "string", "string", "Driver to manage the Network: bridge, macvlan or ipvlan (default bridge)"),
    ("gateway", "", "list", "strings", "IPv4 or IPv6 Gateway for the subnet"),
    ("internal", "", "bool", "", "Restrict external access to the network"),
    ("ip-range", "", "list", "strings", "Allocate container ip from a sub-range"),
    ("ipam-driver", "", "string", "string", "IP Address Management Driver (default, the only one)"),
    ("ipam-opt", "", "list", "map", "Set IPAM driver specific options (not supported: the default driver has none)"),
    ("ipv4", "", "bool", "", "Enable or disable IPv4 address assignment (default true)"),
    ("ipv6", "", "bool", "", "Enable or disable IPv6 address assignment"),
    ("label", "", "list", "list", "Set metadata on a network"),
    ("opt", "o", "list", "map", "Set driver specific options (mtu=, parent= for macvlan and ipvlan)"),
    ("scope", "", "string", "string", "Control the network's scope (local, the only one)"),
    ("subnet", "", "list", "strings", "Subnet in CIDR format that represents a network segment"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Record a network and print its id."""
    if options["ipam-driver"] not in ("", "default"):
        raise Unsupported(f"IPAM driver {options['ipam-driver']!r} is not supported", "leave --ipam-driver out")
    if options["ipam-opt"]:
        raise Unsupported(f"--ipam-opt {options['ipam-opt'][0]}: the IPAM driver default has no options")
    if options["scope"] not in ("", "local"):
        raise Unsupported(f"scope {options['scope']!r} is not supported", "networks are those of one host: local")
    network = engine.networks.create(
        arguments[0],
        options["driver"] or "bridge",
        options["subnet"],
        options["gateway"],
        options["ip-range"],
        options["ipv6"],
        options["internal"],
        options["attachable"],
        _pairs(options["label"], "--label", False),
        _pairs(options["opt"], "--opt", True),
        options["ipv4"] or "ipv4" not in options,
        _pairs(options["aux-address"], "--aux-address", True),
    )
    sys.stdout.write(network.id + "\n")
    return 0


def _pairs(texts: list[str], flag: str, needed: bool) -> dict[str, str]:
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or (needed and not equals):
            raise InvalidInput(f'invalid argument "{text}" for "{flag}" flag', "write name=value")
        values[key] = value
    return values
