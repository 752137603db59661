"""`underlay container inspect`."""

from __future__ import annotations

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display detailed information on one or more containers"
SYNOPSIS = "container inspect [OPTIONS] CONTAINER [CONTAINER...]"
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("size", "s", "bool", "", "Display total file sizes"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print containers as a JSON list, or each through a template."""
    if not arguments:
        raise UsageError('"underlay container inspect" requires at least 1 argument')
    from ...output import inspected

    def find(name: str) -> dict[str, Any]:
        value = engine.containers.inspect(name)
        if options["size"]:
            from ....engine.containers.inspect import written

            value["SizeRw"] = written(engine._store, value["Id"])
        return value

    return inspected(arguments, find, options["format"])
