"""`underlay port`."""

from __future__ import annotations

import sys

from ....errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List port mappings or a specific mapping for the container"
SYNOPSIS = "port CONTAINER [PRIVATE_PORT[/PROTO]]"
ARGUMENTS = (1, 2)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print where the container's ports are reached."""
    ports = engine.containers.ports(arguments[0])
    if len(arguments) == 1:
        for name, addresses in ports.items():
            sys.stdout.write("".join(f"{name} -> {address}\n" for address in addresses))
        return 0
    number, _, protocol = arguments[1].partition("/")
    published = ports.get(f"{number}/{protocol or 'tcp'}") or ()
    if not published:
        raise NotFound(f"no public port '{arguments[1]}' published for {arguments[0]}")
    sys.stdout.write("".join(f"{address}\n" for address in published))
    return 0
