"""The OCI resources as values of version 2's control files (kernel: admin-guide/cgroup-v2)."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from . import common
from .settings import (
    Section,
    Setting,
    check_usage,
    devices_of,
    file,
    hugepage_settings,
    line_of,
    pids_settings,
    rdma_settings,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import DirectoryOf

_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)
# Files of the group itself that are limits; the others move, freeze or kill processes.
_GROUP_LIMITS = ("cgroup.max.depth", "cgroup.max.descendants")


def weight_of_shares(shares: int) -> int:
    """Return the cpu.weight (1 to 10000) for version 1 shares (2 to 262144), by the runtime specification's formula."""
    return max(1, min(10000, 1 + (shares - 2) * 9999 // 262142))


def weight_of_block(weight: int) -> int:
    """Return the io.weight (1 to 10000) for a blkio weight (10 to 1000), as runc and crun convert it."""
    return 1 + (weight - 10) * 9999 // 990


def settings(root: Section, directory_of: DirectoryOf) -> list[Setting]:
    """Return what the resources ask for but devices; raises Unsupported, InvalidInput, Conflict with the JSON path."""
    result = _memory(root.section("memory"), directory_of)
    result += _cpu(root.section("cpu"), directory_of)
    result += pids_settings(root.section("pids"), directory_of)
    result += _block(root.section("blockIO"), directory_of)
    result += hugepage_settings(root, directory_of, "max", "rsvd.max")
    result += rdma_settings(root, directory_of)
    network = root.section("network")
    if network.number("classID", 0) or network.items("priorities"):
        raise Unsupported(f"{network.where} is not supported with cgroup v2: it has neither net_cls nor net_prio")
    return result + _unified(root.section("unified"), directory_of)


def _bytes(value: int) -> str:
    return "max" if value < 0 else str(value)


def _memory(memory: Section, directory_of: DirectoryOf) -> list[Setting]:
    for field in ("kernel", "kernelTCP"):
        if (memory.number(field) or 0) > 0:
            raise Unsupported(f"{memory.path(field)} is not supported with cgroup v2: memory.limit counts it, too")
    swappiness = memory.number("swappiness", -1, 100)
    if swappiness is not None and swappiness >= 0:  # -1 is docker's "as the host has it"
        raise Unsupported(f"{memory.path('swappiness')} is not supported with cgroup v2")
    if memory.flag("disableOOMKiller"):
        raise Unsupported(f"{memory.path('disableOOMKiller')} is not supported with cgroup v2")
    if memory.flag("useHierarchy") is False:
        raise Unsupported(f"{memory.path('useHierarchy')}: false is not supported with cgroup v2")
    result = []
    limit, swap = memory.number("limit") or 0, memory.number("swap") or 0
    if limit:
        directory = directory_of("memory", memory.path("limit"))
        check_usage(memory, directory + "/memory.current")
        result.append(Setting(directory + "/memory.max", _bytes(limit), memory.path("limit")))
        if limit < 0 and not swap:
            swap = -1  # without a limit of memory none of both together makes sense
    if swap:
        result += _swap(memory, directory_of("memory", memory.path("swap")), limit, swap)
    if memory.number("reservation"):
        where = memory.path("reservation")
        value = _bytes(memory.number("reservation") or 0)
        result.append(Setting(directory_of("memory", where) + "/memory.low", value, where))
    return result


def _swap(memory: Section, directory: str, limit: int, swap: int) -> list[Setting]:
    """Version 1 counts memory and swap together, version 2 swap alone."""
    where, path = memory.path("swap"), directory + "/memory.swap.max"
    if not common.exists(path):
        return []  # without accounting of swap memory alone is limited, as docker does with a warning
    if swap > 0:
        limit = limit or common.integer(directory + "/memory.max")
        if limit <= 0:
            raise InvalidInput(f"{where} is set, but memory is not limited")
        if swap < limit:
            raise InvalidInput(f"{where} is less than {memory.path('limit')}")
        swap -= limit
    return [Setting(path, _bytes(swap), where)]


def _cpu(cpu: Section, directory_of: DirectoryOf) -> list[Setting]:
    for field in ("realtimePeriod", "realtimeRuntime"):
        if cpu.number(field):
            raise Unsupported(f"{cpu.path(field)} is not supported with cgroup v2")
    result = []
    if cpu.number("shares", 0):
        where = cpu.path("shares")
        weight = weight_of_shares(cpu.number("shares", 2, 1 << 18) or 0)
        result.append(Setting(directory_of("cpu", where) + "/cpu.weight", weight, where))
    quota, period = cpu.number("quota", -(1 << 63)), cpu.number("period", 0)
    if quota or period:
        where = cpu.path("quota" if quota else "period")
        path = directory_of("cpu", where) + "/cpu.max"
        present = common.read(path).split() or ["max", "100000"]
        first = ("max" if quota < 0 else str(quota)) if quota else present[0]
        result.append(Setting(path, f"{first} {period or present[-1]}", where))
    for field, name in (("burst", "cpu.max.burst"), ("idle", "cpu.idle")):
        value = cpu.number(field, 0) if field == "burst" else cpu.number(field, 0, 1)
        if value is not None:
            directory = directory_of("cpu", cpu.path(field))
            # No burst and no idling is what a kernel without them does.
            if value or common.exists(f"{directory}/{name}"):
                result.append(Setting(file(directory, name, cpu.path(field)), value, cpu.path(field)))
    for field in ("cpus", "mems"):
        if cpu.text(field):
            where = cpu.path(field)
            result.append(Setting(f"{directory_of('cpuset', where)}/cpuset.{field}", cpu.text(field), where))
    return result


def _block(block: Section, directory_of: DirectoryOf) -> list[Setting]:
    result = []

    def add_weight(key: str, weight: int, where: str) -> None:
        """BFQ's file takes the numbers of version 1; io.weight, of the cost controller, has its own range."""
        directory = directory_of("io", where)
        path, value = directory + "/io.bfq.weight", weight
        if not common.exists(path):
            path, value = file(directory, "io.weight", where), weight_of_block(weight)
        reset = "default 100" if key == "default" else f"{key} default"
        result.append(Setting(path, f"{key} {value}", where, line_of(key, reset)))

    if block.number("weight", 0):
        add_weight("default", block.number("weight", 10, 1000) or 0, block.path("weight"))
    if block.number("leafWeight", 0):
        raise Unsupported(f"{block.path('leafWeight')} is not supported with cgroup v2")
    for device, entry in devices_of(block, "weightDevice"):
        if entry.number("leafWeight", 0):
            raise Unsupported(f"{entry.path('leafWeight')} is not supported with cgroup v2")
        if entry.number("weight", 0):
            add_weight(device, entry.number("weight", 10, 1000) or 0, entry.path("weight"))
    for field, key in _THROTTLES:
        for device, entry in devices_of(block, field):
            value = f"{device} {key}={entry.required('rate') or 'max'}"
            path = file(directory_of("io", entry.where), "io.max", entry.where)
            reset = f"{device} rbps=max wbps=max riops=max wiops=max"
            result.append(Setting(path, value, entry.where, line_of(device, reset)))
    return result


def _unified(unified: Section, directory_of: DirectoryOf) -> list[Setting]:
    """Return the files that are named themselves; those of several lines are written line by line, as runc does."""
    result = []
    for name in unified.names():
        where = f"linux.resources.unified[{name!r}]"
        controller = name.partition(".")[0]
        if "/" in name or "." not in name or (controller == "cgroup" and name not in _GROUP_LIMITS):
            raise Unsupported(f"{where} is not a limit")
        path = file(directory_of("" if controller == "cgroup" else controller, where), name, where)
        for line in unified.text(name).splitlines() or ["\n"]:
            result.append(Setting(path, line, where, _undo_unknown(line)))
    return result


def _undo_unknown(line: str) -> Callable[[str], str]:
    """Return the undo of a file of unknown form: the line with the same first word where there is one, else all of it."""
    key = line.split(maxsplit=1)[0] if line.strip() else ""
    return lambda text: line_of(key, text.strip())(text)
