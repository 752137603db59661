"""`underlay manifest rm`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Delete one or more manifest lists from local storage"
SYNOPSIS = "manifest rm MANIFEST_LIST [MANIFEST_LIST...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove drafts."""
    engine.registries.manifest_remove(arguments)
    return 0
