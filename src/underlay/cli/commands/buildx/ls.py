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
_HEADERS = {"Name": "NAME/NODE", "DriverEndpoint": "DRIVER/ENDPOINT", "Status": "STATUS", "Platforms": "PLATFORMS"}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the builder, which is the program itself."""
    import sys

    from ....oci import platform
    from ...flags.buildflags import BUILDER
    from ...output import listing

    here = str(platform.host().brief)
    rows = [{"Name": f"{BUILDER}*", "DriverEndpoint": "underlay", "Status": "running", "Platforms": here}]
    default = "{{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Platforms}}"
    sys.stdout.write(listing(rows, _HEADERS, default, options["format"]))
    return 0
