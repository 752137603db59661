"""`underlay version`."""

from __future__ import annotations

import sys

from .... import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show the version"
SYNOPSIS = "version [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template such as '{{.Version}}'"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the version of underlay, of Python and of the kernel."""
    import platform

    from ....oci.platform import host
    from ...output import render

    facts = {
        "Version": __version__,
        "Python": platform.python_version(),
        "Os": "linux",
        "Arch": platform.machine(),
        "Kernel": platform.release(),
    }
    if options["format"]:
        # Where docker has two programs underlay is one: scripts find it in both places.
        common = {"Version": __version__, "Os": "linux", "Arch": host().architecture}
        client = {"Platform": {"Name": "underlay"}, **common, "Context": "default"}
        server = {"Platform": {"Name": "underlay"}, **common, "KernelVersion": facts["Kernel"], "Experimental": False}
        sys.stdout.write(render(options["format"], {**facts, "Client": client, "Server": server}) + "\n")
        return 0
    for name, value in facts.items():
        sys.stdout.write(f"{name + ':':<10}{value}\n")
    return 0
