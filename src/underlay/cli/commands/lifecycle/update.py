"""`underlay update`."""

from __future__ import annotations

from ....errors import ArgumentCount
from ...each import act_on_each
from ...flags import limitflags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Update configuration of one or more containers"
SYNOPSIS = "update [OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = limitflags.UPDATABLE


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Change containers one by one and print their names; each changes wholly or not at all."""
    if not options.given:
        raise ArgumentCount(
            "you must provide one or more flags when using this command", "see `underlay update --help`"
        )
    from ....engine.options import ContainerOptions

    container_options = ContainerOptions(**limitflags.options_of(options, limitflags.PLAIN, limitflags.SIZES))
    return act_on_each(arguments, lambda name: engine.containers.update(name, container_options))
