"""`underlay manifest annotate`."""

from __future__ import annotations

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Add additional information to an entry of a local manifest list"
SYNOPSIS = "manifest annotate [OPTIONS] MANIFEST_LIST MANIFEST"
ARGUMENTS = (2, 2)
FLAGS: tuple[Flag, ...] = (
    ("arch", "", "string", "string", "Set architecture"),
    ("os", "", "string", "string", "Set operating system"),
    ("os-features", "", "list", "stringSlice", "Set operating system feature"),
    ("os-version", "", "string", "string", "Set operating system version"),
    ("variant", "", "string", "string", "Set architecture variant"),
)
_MEMBERS = {"arch": "architecture", "os": "os", "os-version": "os.version", "variant": "variant"}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Change the platform of one entry."""
    changes: dict[str, Any] = {member: options[flag] for flag, member in _MEMBERS.items() if options[flag]}
    if options["os-features"]:
        changes["os.features"] = [word for text in options["os-features"] for word in text.split(",")]
    if not changes:
        raise InvalidInput("nothing to annotate", "see `underlay manifest annotate --help`")
    engine.registries.manifest_annotate(arguments[0], arguments[1], changes)
    return 0
