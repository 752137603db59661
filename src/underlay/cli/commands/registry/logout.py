"""`underlay logout`."""

from __future__ import annotations

import sys

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Log out from a registry; Docker Hub if no server is given"
SYNOPSIS = "logout [SERVER]"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Forget the credential of a registry."""
    if len(arguments) > 1:
        raise UsageError('"underlay logout" requires at most 1 argument', "see `underlay logout --help`")
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
