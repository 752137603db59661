"""`underlay container inspect`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display detailed information on one or more containers"
SYNOPSIS = "container inspect [OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("size", "s", "bool", "", "Display total file sizes"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print containers as a JSON list, or each through a template."""
    from ...output import inspected

    def find(name: str) -> dict[str, Any]:
        return engine.containers.inspect(name, size=options["size"])

    return inspected(arguments, find, options["format"])
