"""`underlay manifest rm`."""

from __future__ import annotations

from ....errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Delete one or more manifest lists from local storage"
SYNOPSIS = "manifest rm MANIFEST_LIST [MANIFEST_LIST...]"
FLAGS: tuple[Flag, ...] = ()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove drafts."""
    if not arguments:
        raise UsageError('"underlay manifest rm" requires at least 1 argument', "see `underlay manifest rm --help`")
    engine.registries.manifest_remove(arguments)
    return 0
