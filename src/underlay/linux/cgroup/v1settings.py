"""The OCI resources as values of version 1's control files (kernel: admin-guide/cgroup-v1)."""

from __future__ import annotations

from ...errors import Unsupported
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
    from .settings import DirectoryOf

_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps_device"),
    ("throttleWriteBpsDevice", "write_bps_device"),
    ("throttleReadIOPSDevice", "read_iops_device"),
    ("throttleWriteIOPSDevice", "write_iops_device"),
)


def settings(root: Section, directory_of: DirectoryOf) -> list[Setting]:
    """Return what the resources ask for but devices; raises Unsupported, InvalidInput, Conflict with the JSON path."""
    result = _memory(root.section("memory"), directory_of)
    result += _cpu(root.section("cpu"), directory_of)
    result += _cpuset(root.section("cpu"), directory_of)
    result += pids_settings(root.section("pids"), directory_of)
    result += _block(root.section("blockIO"), directory_of)
    result += hugepage_settings(root, directory_of, "limit_in_bytes", "rsvd.limit_in_bytes")
    result += _network(root.section("network"), directory_of)
    result += rdma_settings(root, directory_of)
    for name in root.section("unified").names():
        raise Unsupported(f"linux.resources.unified[{name!r}] is not supported with cgroup v1, which has no such file")
    return result


def _memory(memory: Section, directory_of: DirectoryOf) -> list[Setting]:
    result: list[Setting] = []

    def add(name: str, field: str, value: object, verify: bool = False) -> None:
        where = memory.path(field)
        result.append(Setting(file(directory_of("memory", where), name, where), value, where, verify=verify))

    limit, swap = memory.number("limit"), memory.number("swap")
    if limit:
        add("memory.limit_in_bytes", "limit", limit)
        check_usage(memory, directory_of("memory", memory.where) + "/memory.usage_in_bytes")
        if limit < 0 and not swap:
            swap = -1  # without a limit of memory none of both together makes sense
    # Without accounting of swap memory alone is limited, as docker does with a warning.
    if swap and common.exists(directory_of("memory", memory.path("swap")) + "/memory.memsw.limit_in_bytes"):
        add("memory.memsw.limit_in_bytes", "swap", swap)
    if memory.number("reservation"):
        add("memory.soft_limit_in_bytes", "reservation", memory.number("reservation"))
    swappiness = memory.number("swappiness", -1, 100)
    if swappiness is not None and swappiness >= 0:  # -1 is docker's "as the host has it"
        add("memory.swappiness", "swappiness", swappiness)
    _oom_killer(memory, directory_of, result)
    if memory.flag("useHierarchy") is not None:
        where = memory.path("useHierarchy")
        path = file(directory_of("memory", where), "memory.use_hierarchy", where)
        if common.integer(path) != int(bool(memory.flag("useHierarchy"))):
            add("memory.use_hierarchy", "useHierarchy", int(bool(memory.flag("useHierarchy"))))
    for field, name in (("kernel", "memory.kmem.limit_in_bytes"), ("kernelTCP", "memory.kmem.tcp.limit_in_bytes")):
        value = memory.number(field)
        # Gone or without effect since Linux 5.16, where there is nothing to be unlimited either.
        if value and (value > 0 or common.exists(directory_of("memory", memory.path(field)) + "/" + name)):
            add(name, field, value, verify=value > 0)
    return result


def _oom_killer(memory: Section, directory_of: DirectoryOf, result: list[Setting]) -> None:
    off = memory.flag("disableOOMKiller")
    if off is None:
        return
    where = memory.path("disableOOMKiller")
    path = directory_of("memory", where) + "/memory.oom_control"
    if off or common.keyed(path).get("oom_kill_disable"):
        # The file is read as several lines and written as one digit.
        result.append(Setting(path, int(off), where, lambda text: "1" if "oom_kill_disable 1" in text else "0"))


def _cpu(cpu: Section, directory_of: DirectoryOf) -> list[Setting]:
    result = []
    fields = (
        ("shares", "cpu.shares", cpu.number("shares", 0), True),
        ("period", "cpu.cfs_period_us", cpu.number("period", 0), True),
        ("quota", "cpu.cfs_quota_us", cpu.number("quota", -(1 << 63)), True),
        ("burst", "cpu.cfs_burst_us", cpu.number("burst", 0), False),
        ("realtimePeriod", "cpu.rt_period_us", cpu.number("realtimePeriod", 0), True),
        ("realtimeRuntime", "cpu.rt_runtime_us", cpu.number("realtimeRuntime"), True),
        ("idle", "cpu.idle", cpu.number("idle", 0, 1), False),
    )
    for field, name, value, zero_is_unset in fields:
        where = cpu.path(field)
        if value is None or (not value and zero_is_unset):
            continue
        directory = directory_of("cpu", where)
        if not value and not common.exists(f"{directory}/{name}"):
            continue  # no burst and no idling is what a kernel without them does
        if field == "shares":
            cpu.number("shares", 2, 1 << 18)  # beyond, the kernel would quietly take the nearest
        result.append(Setting(file(directory, name, where), max(value, -1), where))
    return result


def _cpuset(cpu: Section, directory_of: DirectoryOf) -> list[Setting]:
    result = []
    for field in ("cpus", "mems"):
        if cpu.text(field):
            where = cpu.path(field)
            result.append(Setting(f"{directory_of('cpuset', where)}/cpuset.{field}", cpu.text(field), where))
    return result


def _block(block: Section, directory_of: DirectoryOf) -> list[Setting]:
    result = []

    def weight_file(name: str, where: str) -> str:
        """BFQ has files of its own; CFQ's, gone with Linux 5.0, are the plain ones."""
        directory = directory_of("blkio", where)
        for path in (f"{directory}/blkio.bfq.{name}", f"{directory}/blkio.{name}"):
            if common.exists(path):
                return path
        raise Unsupported(f"{where} is not supported: this kernel's I/O schedulers have no blkio.{name}")

    for field, name in (("weight", "weight"), ("leafWeight", "leaf_weight")):
        if block.number(field, 0):
            where = block.path(field)
            result.append(Setting(weight_file(name, where), block.number(field, 10, 1000), where))
    for device, entry in devices_of(block, "weightDevice"):
        for field, name in (("weight", "weight_device"), ("leafWeight", "leaf_weight_device")):
            if entry.number(field, 0):
                value = f"{device} {entry.number(field, 10, 1000)}"
                path = weight_file(name, entry.path(field))
                result.append(Setting(path, value, entry.path(field), line_of(device, f"{device} 0")))
    for field, name in _THROTTLES:
        for device, entry in devices_of(block, field):
            value = f"{device} {entry.required('rate')}"
            path = file(directory_of("blkio", entry.where), f"blkio.throttle.{name}", entry.where)
            result.append(Setting(path, value, entry.where, line_of(device, f"{device} 0")))
    return result


def _network(network: Section, directory_of: DirectoryOf) -> list[Setting]:
    result = []
    if network.number("classID", 0, (1 << 32) - 1):
        where = network.path("classID")
        result.append(Setting(directory_of("net_cls", where) + "/net_cls.classid", network.number("classID"), where))
    for entry in network.items("priorities"):
        name = entry.text("name")
        path = directory_of("net_prio", entry.where) + "/net_prio.ifpriomap"
        value = f"{name} {entry.required('priority')}"
        result.append(Setting(path, value, entry.where, line_of(name, f"{name} 0")))
    return result
