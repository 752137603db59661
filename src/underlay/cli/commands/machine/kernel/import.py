"""`underlay machine kernel import`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Add a kernel for virtual machines from a file"
SYNOPSIS = "machine kernel import [OPTIONS] FILE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("force", "f", "bool", "", "Replace a kernel of the same release that has other content"),
    (
        "modules",
        "",
        "string",
        "path",
        "Where its modules are: a directory such as /lib/modules/VERSION, or a Debian package",
    ),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Add a Debian package or an image; print the kernel's release."""
    kernel = engine.machines.import_kernel(arguments[0], options["modules"], replace=options["force"])
    sys.stdout.write(kernel.release + "\n")
    return 0
