"""`underlay system uninstall`."""

from __future__ import annotations

import sys

from .install import check_rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove the unit of systemd that starts containers after a boot"
SYNOPSIS = "system uninstall [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (("user", "", "bool", "", "The unit of this user"),)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Disable and remove the unit, and print its path; containers are left as they are."""
    from ....engine.units import boot

    check_rights(options["user"])
    sys.stdout.write(boot.uninstall(options["user"]) + "\n")
    return 0
