"""Flags for resource limits: those that `update` has too, and the rest of `run` and `create`."""

from __future__ import annotations

from ...errors import InvalidInput, UsageError
from ...human import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import Flag, Options

UPDATABLE: tuple[Flag, ...] = (
    ("blkio-weight", "", "int", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
    ("cpu-period", "", "int", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "", "int", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-rt-period", "", "int", "int", "Limit CPU real-time period in microseconds"),
    ("cpu-rt-runtime", "", "int", "int", "Limit CPU real-time runtime in microseconds"),
    ("cpu-shares", "c", "int", "int", "CPU shares (relative weight)"),
    ("cpus", "", "string", "decimal", "Number of CPUs"),
    ("cpuset-cpus", "", "string", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("memory", "m", "string", "bytes", "Memory limit"),
    ("memory-reservation", "", "string", "bytes", "Memory soft limit"),
    ("memory-swap", "", "string", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    ("pids-limit", "", "int", "int", "Tune container pids limit (set -1 for unlimited)"),
    ("restart", "", "string", "string", "Restart policy to apply when a container exits"),
)
FLAGS: tuple[Flag, ...] = (
    *UPDATABLE,
    ("blkio-weight-device", "", "list", "list", "Block IO weight (relative device weight)"),
    ("cgroup-parent", "", "string", "string", "Optional parent cgroup for the container"),
    ("device-cgroup-rule", "", "list", "list", "Add a rule to the cgroup allowed devices list"),
    ("device-read-bps", "", "list", "list", "Limit read rate (bytes per second) from a device"),
    ("device-read-iops", "", "list", "list", "Limit read rate (IO per second) from a device"),
    ("device-write-bps", "", "list", "list", "Limit write rate (bytes per second) to a device"),
    ("device-write-iops", "", "list", "list", "Limit write rate (IO per second) to a device"),
    ("kernel-memory", "", "string", "bytes", "Kernel memory limit (deprecated, not supported)"),
    ("memory-swappiness", "", "int", "int", "Tune container memory swappiness (0 to 100) (default -1)"),
    ("oom-kill-disable", "", "bool", "", "Disable OOM Killer"),
)
# Flag → option, where the value is taken as it is.
PLAIN = {
    "blkio-weight": "blkio_weight",
    "cpu-period": "cpu_period",
    "cpu-quota": "cpu_quota",
    "cpu-rt-period": "cpu_rt_period",
    "cpu-rt-runtime": "cpu_rt_runtime",
    "cpu-shares": "cpu_shares",
    "cpuset-cpus": "cpuset_cpus",
    "cpuset-mems": "cpuset_mems",
    "pids-limit": "pids_limit",
    "restart": "restart",
    "blkio-weight-device": "blkio_weight_device",
    "cgroup-parent": "cgroup_parent",
    "device-cgroup-rule": "device_cgroup_rules",
    "device-read-bps": "device_read_bps",
    "device-read-iops": "device_read_iops",
    "device-write-bps": "device_write_bps",
    "device-write-iops": "device_write_iops",
    "memory-swappiness": "memory_swappiness",
    "oom-kill-disable": "oom_kill_disable",
}
SIZES = {
    "memory": "memory",
    "memory-reservation": "memory_reservation",
    "memory-swap": "memory_swap",
}


def options_of(options: Options, plain: dict[str, str], sizes: dict[str, str]) -> dict[str, Any]:
    """Return the given flags among `plain` and `sizes`, and the number of processors, as options; raises UsageError."""
    given_limits: dict[str, Any] = {}
    for flag in options.given:
        if flag in plain:
            given_limits[plain[flag]] = options[flag]
        elif flag in sizes:
            given_limits[sizes[flag]] = _size(flag, options[flag])
    if "cpus" in options:
        try:
            given_limits["cpus"] = decimal(options["cpus"])
            if given_limits["cpus"] >= 1e6:
                raise ValueError
        except ValueError:
            raise UsageError(
                f'invalid argument "{options["cpus"]}" for "--cpus" flag: failed to parse as a rational number'
            ) from None
    weight = given_limits.get("blkio_weight", 0)
    if not 0 <= weight < 1 << 16:
        what = "invalid syntax" if weight < 0 else "value out of range"
        raise UsageError(
            f'invalid argument "{weight}" for "--blkio-weight" flag: strconv.ParseUint: parsing "{weight}": {what}'
        )
    return given_limits


def check(options: Options) -> None:
    """Raise UsageError in docker's words for a limit of a device that is none; nothing is loaded unless there is one."""
    if "kernel-memory" in options:
        raise UsageError("--kernel-memory is deprecated and not supported", "--memory counts the kernel's memory, too")
    flags = ("blkio-weight-device", "device-read-bps", "device-write-bps", "device-read-iops", "device-write-iops")
    for flag in (*flags, "device-cgroup-rule"):
        for text in options[flag]:
            from ...engine.containers.specification import grammar

            try:
                if flag == "device-cgroup-rule":
                    grammar.device_rule(text)
                elif flag == "blkio-weight-device":
                    grammar.weight_device(text)
                else:
                    grammar.throttle(text, flag.endswith("iops"))
            except InvalidInput as error:
                raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: {error.message}') from None


def _size(flag: str, text: str) -> int:
    from ...human import parse_size

    if flag == "memory-swap" and text == "-1":
        return -1
    try:
        return parse_size(text)
    except ValueError:
        raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: invalid size: \'{text}\'') from None
