"""`underlay system install`."""

from __future__ import annotations

import os
import sys

from ....errors import UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Have containers started after a boot, by a unit of systemd"
SYNOPSIS = "system install [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("print", "", "bool", "", "Print the unit instead of writing it"),
    ("user", "", "bool", "", "For the containers of this user, by the user's own systemd"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Write and enable the unit, and print its path."""
    from ....engine.units import boot

    user = options["user"]
    if options["print"]:
        sys.stdout.write(boot.text(user))
        return 0
    check_rights(user)
    sys.stdout.write(boot.install(user) + "\n")
    if user:
        sys.stderr.write(
            "underlay: containers start at the first login; `loginctl enable-linger` has them start at boot\n"
        )
    return 0


def check_rights(user: bool) -> None:
    """Refuse what only root may do; raises UnderlayError."""
    if not user and os.geteuid() != 0:
        raise UnderlayError("units of the host are root's", "use --user for the containers of this user")
