"""`underlay machine kernel fetch`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Download a kernel for virtual machines with this host's apt"
SYNOPSIS = "machine kernel fetch [OPTIONS] [PACKAGE]"
ARGUMENTS = (0, 1)
FLAGS: tuple[Flag, ...] = (
    ("platform", "", "string", "string", "Platform of the machines (such as linux/arm64), by default this host's"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Download a package, by default the newest of a kernel for virtual machines; print the kernel's release."""
    kernel = engine.machines.fetch_kernel(arguments[0] if arguments else "", options["platform"])
    sys.stdout.write(kernel.release + "\n")
    return 0
