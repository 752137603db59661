"""`underlay create`."""

from __future__ import annotations

import os
import sys

from ....errors import UsageError
from ...fetching import Fetching
from ...flags import runflags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create a new container"
SYNOPSIS = "create [OPTIONS] IMAGE [COMMAND] [ARG...]"
ARGUMENTS = (1, None)
INTERSPERSED = False
FLAGS: tuple[Flag, ...] = runflags.COMMON


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Record a container and print its id."""
    from ....engine.options import ContainerOptions
    from .run import write_cidfile

    container_options = ContainerOptions(**runflags.container_options_of(options, arguments))
    if options["cidfile"] and os.path.exists(options["cidfile"]):
        raise UsageError(f"container ID file found: delete {options['cidfile']} or name another")
    engine._store.emit = Fetching(engine, options["quiet"])
    container_id = engine.containers.create(container_options).id
    write_cidfile(options["cidfile"], container_id)
    sys.stdout.write(container_id + "\n")
    return 0
