"""`underlay volume create`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create a volume"
SYNOPSIS = "volume create [OPTIONS] [VOLUME]"
ARGUMENTS = (0, 1)
FLAGS: tuple[Flag, ...] = (
    ("driver", "d", "string", "string", "Specify volume driver name (only local is supported)"),
    ("label", "", "list", "list", "Set metadata for a volume"),
    ("name", "", "string", "string", "Specify volume name"),
    ("opt", "o", "list", "map", "Set driver specific options: type, device and o as mount has them, or size"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Make a volume and print its name."""
    if arguments and options["name"]:
        raise InvalidInput(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
        )
    from ....engine.containers.specification import mount_flags
    from ...flags import runflags

    mount_flags.check_driver(options["driver"])
    labels = {}
    for text in options["label"]:
        key, _, value = text.partition("=")
        if not key:
            raise InvalidInput(f"invalid label '{text}': empty name")
        labels[key] = value
    name = arguments[0] if arguments else options["name"]
    sys.stdout.write(engine.volumes.create(name, labels, runflags.pairs(options["opt"])) + "\n")
    return 0
