"""`underlay buildx ls`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "List builders: there is one"
SYNOPSIS = "buildx ls [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (("format", "", "string", "string", "Format output: 'table', 'json', or a Go template"),)
_HEADERS = {"Shown": "NAME/NODE", "DriverEndpoint": "DRIVER/ENDPOINT", "Status": "STATUS", "Platforms": "PLATFORMS"}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the builder, which is the program itself."""
    import sys

    from ....oci import platform
    from ...flags.buildflags import BUILDER, DRIVER
    from ...output import listing

    here = str(platform.host().brief)
    node = {"Name": BUILDER, "Endpoint": BUILDER, "Status": "running", "Platforms": [here]}
    row = {
        "Name": BUILDER,
        "Driver": DRIVER,
        "Dynamic": False,
        "Current": True,
        "Nodes": [node],
        "DriverEndpoint": DRIVER,
        "Status": "running",
        "Platforms": here,
    }
    default = "{{.Shown}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Platforms}}"
    if options["format"] in ("", "table"):
        row["Shown"] = f"{BUILDER}*"
    sys.stdout.write(listing([row], _HEADERS, default, options["format"]))
    return 0
