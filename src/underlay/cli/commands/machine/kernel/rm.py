"""`underlay machine kernel rm`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .....engine.engine import Engine
    from ....flags import Flag, Options

SUMMARY = "Remove one or more kernels for virtual machines"
SYNOPSIS = "machine kernel rm [OPTIONS] KERNEL [KERNEL...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    (
        "force",
        "f",
        "bool",
        "",
        "Remove kernels of stopped containers, too, and do not error if a kernel does not exist",
    ),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove kernels and print their names."""
    from ....each import remove_each

    force: bool = options["force"]
    return remove_each(arguments, lambda name: engine.machines.remove_kernel(name, force), force)
