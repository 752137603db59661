"""`underlay logout`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Log out from a registry; Docker Hub if no server is given"
SYNOPSIS = "logout [SERVER]"
ARGUMENTS = (0, 1)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Forget the credential of a registry."""
    server = arguments[0] if arguments else ""
    shown = server or "Docker Hub"
    if engine.registries.logout(server):
        sys.stdout.write(f"Removing login credentials for {shown}\n")
    else:
        sys.stdout.write(f"Not logged in to {shown}\n")
    path = engine.registries.kept_elsewhere(server)
    if path:
        sys.stderr.write(f"WARNING! podman keeps a login of {shown} in '{path}', which is used: see `podman logout`.\n")
    return 0
