"""`underlay migrate`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Take over images, volumes and containers of docker or podman"
SYNOPSIS = "migrate [OPTIONS] docker|podman"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("containers", "", "bool", "", "Create the containers with the same options, and their networks; none is started"),
    ("dry-run", "", "bool", "", "Only list what would be taken, and what cannot be"),
    ("images", "", "bool", "", "Take the images that have names"),
    ("volumes", "", "bool", "", "Take the volumes with the owners and attributes of their files"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """List what became of each object; without --images, --volumes or --containers all three are taken.

    What the other engine has stays as it is. The exit code is 1 when something could not be taken.
    """
    from ....engine.migration import takeover
    from ....engine.migration.client import Client
    from ...problems import shown

    if arguments[0] not in ("docker", "podman"):
        raise InvalidInput(f"nothing is known of {arguments[0]}", "docker and podman are")
    client = Client(arguments[0])
    kinds = {"images": takeover.images, "volumes": takeover.volumes, "containers": takeover.containers}
    chosen = [kind for kind in kinds if options[kind]] or list(kinds)
    failed = 0
    for kind in chosen:
        for result in kinds[kind](engine, client, options["dry-run"]):
            sys.stdout.write(f"{result.kind} {shown(result.name)}: {result.state}\n")
            for note in result.notes:
                sys.stdout.write(f"  {shown(note)}\n")
            sys.stdout.flush()
            failed |= result.state == takeover.LEFT
    return int(failed)
