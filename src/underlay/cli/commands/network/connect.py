"""`underlay network connect`."""

from __future__ import annotations

from ....errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Connect a container to a network"
SYNOPSIS = "network connect [OPTIONS] NETWORK CONTAINER"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = (
    ("alias", "", "list", "strings", "Add network-scoped alias for the container"),
    ("driver-opt", "", "list", "strings", "Driver options for the endpoint (not supported)"),
    ("gw-priority", "", "int", "int", "Priority as default gateway (not supported: the first that leads out is it)"),
    ("ip", "", "string", "string", "IPv4 address (e.g., 172.30.100.104)"),
    ("ip6", "", "string", "string", "IPv6 address (e.g., 2001:db8::33)"),
    ("link", "", "list", "list", "Add link to another container (not supported: use a network and container names)"),
    ("link-local-ip", "", "list", "ipSlice", "Add a link-local address for the container (not supported)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Connect a container to a network, at once if it runs."""
    if options["link"]:
        raise Unsupported("--link is not supported", "containers of a network find each other by name")
    for flag in ("driver-opt", "gw-priority", "link-local-ip"):
        if options[flag]:
            raise Unsupported(f"--{flag} is not supported", "leave it out")
    engine.networks.connect(arguments[0], arguments[1], options["ip"], options["ip6"], options["alias"])
    return 0
