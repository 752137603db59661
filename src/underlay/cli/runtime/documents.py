"""`spec` and `features` of the runtime."""

from __future__ import annotations

import os
import sys

from ...errors import Conflict, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import Spec
    from ..flags import Flag, Options
    from .main import Settings

FLAGS: dict[str, tuple[Flag, ...]] = {
    "spec": (
        ("bundle", "b", "string", "dir", "Directory to write config.json into (default: the current one)"),
        ("rootless", "", "bool", "", "For a user without privileges: with a user namespace"),
    ),
    "features": (),
}
SYNOPSIS = {"spec": "[OPTIONS]", "features": ""}


def run(name: str, settings: Settings, options: Options, arguments: list[str]) -> int:
    """Run one of the commands of this module."""
    import json

    from ...runtime import documents

    if arguments:
        raise UsageError(f"{name} takes no argument")
    if name == "features":
        sys.stdout.write(json.dumps(documents.features(), indent=2) + "\n")
        return 0
    path = os.path.join(options["bundle"] or ".", "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(_specification(options["rootless"]), indent=2) + "\n")
    except FileExistsError:
        raise Conflict(f"{path} exists", "remove it first, or write another bundle") from None
    return 0


def _specification(rootless: bool) -> Spec:
    from ...runtime import documents

    return documents.specification((os.geteuid(), os.getegid()) if rootless else None)
