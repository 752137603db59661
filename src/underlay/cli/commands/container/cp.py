"""`underlay cp`."""

from __future__ import annotations

import sys

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Copy files and directories between a container and this host"
SYNOPSIS = "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       underlay cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = (
    ("archive", "a", "bool", "", "Keep user and group ids, devices and set-id bits"),
    ("follow-link", "L", "bool", "", "Follow a symbolic link in SRC_PATH"),
    ("quiet", "q", "bool", "", "Do not say what was copied; so it is without a terminal"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy, and say on a terminal how much it was."""
    from ....engine.containers.files import copying
    from ....human import size

    source, destination = arguments
    if source == destination == "-":
        raise UsageError("source or destination must be a container")
    (container, path), (other, target) = copying.parse(source), copying.parse(destination)
    copying.refuse("" if source == "-" else container, "" if destination == "-" else other)
    keywords = {"archive": options["archive"], "follow": options["follow-link"]}
    if container:
        if destination == "-" and sys.stdout.isatty():
            raise UsageError("cowardly refusing to copy a tar archive to the terminal", "redirect it to a file")
        copied = engine.containers.copy_out(
            container, path, sys.stdout.fileno() if destination == "-" else target, **keywords
        )
    else:
        copied = engine.containers.copy_in(other, sys.stdin.buffer if source == "-" else path, target, **keywords)
    if copied.left_out:
        sys.stderr.write(f"{copied.left_out} device(s) were left out: --archive copies them\n")
    if sys.stderr.isatty() and not options["quiet"] and destination != "-":
        sys.stderr.write(f"Successfully copied {size(copied.size)} to {destination}\n")
    return 0
