"""`underlay info`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Display the host's capabilities and how underlay uses them"
SYNOPSIS = "info [OPTIONS]"
ARGUMENTS = (0, 0)
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
    "CgroupDriver": "Cgroup Driver",
    "CgroupVersion": "Cgroup Version",
    "LoggingDriver": "Logging Driver",
    "CgroupControllers": "Cgroup Controllers",
    "DiskLimit": "Disk Limit",
    "DiskLimitReason": "Disk Limit Reason",
    "SwapLimit": "Swap Limit",
    "SecurityOptions": "Security Options",
    "SecurityModules": "Security Modules",
    "UserNamespaces": "User Namespaces",
}
_NESTED = {"ContainersRunning": "Running", "ContainersPaused": "Paused", "ContainersStopped": "Stopped"}
# Members that docker's scripts look for, and a reader knows from others.
_HIDDEN = frozenset(
    "DockerRootDir DefaultRuntime Runtimes LiveRestoreEnabled Swarm ID SystemTime OSVersion IndexServerAddress Plugins "
    "Labels Debug ExperimentalBuild InitBinary HttpProxy HttpsProxy NoProxy MemoryLimit OomKillDisable CpuCfsPeriod "
    "CpuCfsQuota CPUShares CPUSet PidsLimit".split()
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the facts, one a line, or through a template."""
    from ...output import render

    facts = engine.system.info()
    if options["format"]:
        sys.stdout.write(render(options["format"], facts) + "\n")
        return 0
    warnings = facts.pop("Warnings")
    for name, value in facts.items():
        if name in _HIDDEN:
            continue
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
        return " ".join(str(item).removeprefix("name=").partition(",")[0] for item in value)
    return str(value)
