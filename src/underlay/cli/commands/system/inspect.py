"""`underlay inspect`: a container, an image or a volume, whichever has the name."""

from __future__ import annotations

from ....errors import InvalidInput, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Return low-level information on containers, images and volumes"
SYNOPSIS = "inspect [OPTIONS] NAME|ID [NAME|ID...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("size", "s", "bool", "", "Display total file sizes if the type is container"),
    ("type", "", "string", "string", "Only inspect objects of the given type: container, image or volume"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the facts of each object; errors about missing ones are printed at the end."""
    kind = options["type"]
    if kind not in ("", "container", "image", "volume"):
        raise InvalidInput(f'unknown type: "{kind}"', "--type is container, image or volume")
    from ...output import inspected

    def find(name: str) -> dict[str, Any]:
        if kind in ("", "container"):
            try:
                return engine.containers.inspect(name, size=options["size"])
            except NotFound:
                if kind == "container":
                    raise
        if kind in ("", "image"):
            try:
                return engine.images.inspect(name)
            except (NotFound, InvalidInput):
                if kind == "image":
                    raise
        try:
            return engine.volumes.inspect(name)
        except NotFound:
            if kind == "volume":
                raise
            raise NotFound(f"No such object: {name}") from None

    return inspected(arguments, find, options["format"])
