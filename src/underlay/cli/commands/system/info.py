"""`underlay info`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display the host's capabilities and how underlay uses them"
SYNOPSIS = "info [OPTIONS]"
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template such as '{{.Driver}}'"),
)
_TITLES = {
    "ServerVersion": "Server Version",
    "Driver": "Storage Driver",
    "DriverReason": "Storage Driver Reason",
    "RootDir": "Root Dir",
    "StateDir": "State Dir",
    "KernelVersion": "Kernel Version",
    "OperatingSystem": "Operating System",
    "NCPU": "CPUs",
    "MemTotal": "Total Memory",
    "CgroupVersion": "Cgroup Version",
    "CgroupControllers": "Cgroup Controllers",
    "DiskLimit": "Disk Limit",
    "DiskLimitReason": "Disk Limit Reason",
    "SwapLimit": "Swap Limit",
    "SecurityOptions": "Security Options",
    "SecurityModules": "Security Modules",
    "UserNamespaces": "User Namespaces",
}
_NESTED = {"ContainersRunning": "Running", "ContainersStopped": "Stopped"}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the facts, one a line, or through a template."""
    if arguments:
        raise InvalidInput('"underlay info" accepts no arguments', "see `underlay info --help`")
    from ...output import render

    facts = engine.system.info()
    if options["format"]:
        sys.stdout.write(render(options["format"], facts) + "\n")
        return 0
    warnings = facts.pop("Warnings")
    for name, value in facts.items():
        title = " " + _NESTED[name] if name in _NESTED else _TITLES.get(name, name)
        sys.stdout.write(f"{title}: {_shown(name, value)}\n")
    for text in warnings:
        sys.stdout.write(f"WARNING: {text}\n")
    return 0


def _shown(name: str, value: Any) -> str:
    if name == "MemTotal":
        return f"{value / (1 << 30):.4g}GiB"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "".join(f"\n  {key}: {_shown('', item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)
