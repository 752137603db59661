"""What a group has used, read from its files in one go and in one shape, that of runc's `events --stats`.

- cpu {usage {total, kernel, user, percpu}, throttling {periods, throttledPeriods, throttledTime}}: nanoseconds
- memory {cache, usage, swap, kernel, kernelTCP: {limit, usage, max, failcnt}, raw}: bytes; swap counts memory with it
- pids {current, limit}: 0 for no limit
- blkio {ioServiceBytesRecursive, ioServicedRecursive}: lists of {major, minor, op, value}
- hugetlb {size: {usage, max, failcnt}}
- in cpu, memory and blkio with version 2: psi {some, full: {avg10, avg60, avg300, total}}
"""

from __future__ import annotations

import os

from . import common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NotRequired, TypedDict

    Pressure = dict[str, dict[str, float]]

    class Times(TypedDict):
        """`cpu.usage`: nanoseconds; `percpu` by processor, empty with version 2."""

        total: int
        kernel: int
        user: int
        percpu: list[int]

    class Throttling(TypedDict):
        """`cpu.throttling`: periods, and nanoseconds."""

        periods: int
        throttledPeriods: int
        throttledTime: int

    class Cpu(TypedDict):
        """`cpu`."""

        usage: Times
        throttling: Throttling
        psi: NotRequired[Pressure]

    class Use(TypedDict):
        """A kind of memory: bytes, and how often the limit was met."""

        limit: int
        usage: int
        max: int
        failcnt: int

    class Memory(TypedDict):
        """`memory`."""

        cache: int
        usage: Use
        swap: Use
        kernel: Use
        kernelTCP: Use
        raw: dict[str, int]
        psi: NotRequired[Pressure]

    class Entry(TypedDict):
        """What was read, written or discarded on a device."""

        major: int
        minor: int
        op: str
        value: int

    class Block(TypedDict):
        """`blkio`."""

        ioServiceBytesRecursive: list[Entry]
        ioServicedRecursive: list[Entry]
        psi: NotRequired[Pressure]

    class Figures(TypedDict, total=False):
        """All of it; empty where there is no group."""

        cpu: Cpu
        memory: Memory
        pids: dict[str, int]
        blkio: Block
        hugetlb: dict[str, dict[str, int]]


_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # ns
_NO_LIMIT = (1 << 64) - 1  # how runc says "max"


def v1(directories: dict[str, str]) -> Figures:
    """Return the figures of a version 1 group, whose directories by controller are `places` (kernel: cgroup-v1)."""
    memory, cpu, account = directories.get("memory", ""), directories.get("cpu", ""), directories.get("cpuacct", "")
    spent, throttled = common.keyed(account + "/cpuacct.stat"), common.keyed(cpu + "/cpu.stat")
    raw = common.keyed(memory + "/memory.stat")
    return {
        "cpu": {
            "usage": {
                "total": common.integer(account + "/cpuacct.usage"),
                "kernel": spent.get("system", 0) * _TICK,
                "user": spent.get("user", 0) * _TICK,
                "percpu": [int(word) for word in common.read(account + "/cpuacct.usage_percpu").split()],
            },
            "throttling": {
                "periods": throttled.get("nr_periods", 0),
                "throttledPeriods": throttled.get("nr_throttled", 0),
                "throttledTime": throttled.get("throttled_time", 0),
            },
        },
        "memory": {
            "cache": raw.get("cache", 0),
            "usage": _v1_memory(memory, "memory"),
            "swap": _v1_memory(memory, "memory.memsw"),
            "kernel": _v1_memory(memory, "memory.kmem"),
            "kernelTCP": _v1_memory(memory, "memory.kmem.tcp"),
            "raw": raw,
        },
        "pids": _pids(directories.get("pids", "")),
        "blkio": _v1_block(directories.get("blkio", "")),
        "hugetlb": _huge(directories.get("hugetlb", ""), "usage_in_bytes", "max_usage_in_bytes"),
    }


def _v1_memory(directory: str, prefix: str) -> Use:
    return {
        "limit": common.integer(f"{directory}/{prefix}.limit_in_bytes"),
        "usage": common.integer(f"{directory}/{prefix}.usage_in_bytes"),
        "max": common.integer(f"{directory}/{prefix}.max_usage_in_bytes"),
        "failcnt": common.integer(f"{directory}/{prefix}.failcnt"),
    }


def _v1_block(directory: str) -> Block:
    return {
        "ioServiceBytesRecursive": _v1_entries(directory, "io_service_bytes"),
        "ioServicedRecursive": _v1_entries(directory, "io_serviced"),
    }


def _v1_entries(directory: str, name: str) -> list[Entry]:
    entries: list[Entry] = []
    # BFQ counts what its own queues serve, the throttle counts everything: the first that has seen anything tells.
    for prefix in ("bfq", "throttle"):
        for line in common.read(f"{directory}/blkio.{prefix}.{name}_recursive").splitlines():
            words = line.split()
            if len(words) == 3:
                entries.append(_entry(words[0], words[1], words[2]))
        if entries:
            break
    return entries


def _entry(device: str, operation: str, value: str) -> Entry:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}


def v2(directory: str) -> Figures:
    """Return the figures of a version 2 group (kernel: cgroup-v2)."""
    times = common.keyed(directory + "/cpu.stat")
    raw, events = common.keyed(directory + "/memory.stat"), common.keyed(directory + "/memory.events")
    usage, limit = common.integer(directory + "/memory.current"), _maximum(directory + "/memory.max")
    swap_limit = _maximum(directory + "/memory.swap.max")
    figures: Figures = {
        "cpu": {
            "usage": {
                "total": times.get("usage_usec", 0) * 1000,
                "kernel": times.get("system_usec", 0) * 1000,
                "user": times.get("user_usec", 0) * 1000,
                "percpu": [],
            },
            "throttling": {
                "periods": times.get("nr_periods", 0),
                "throttledPeriods": times.get("nr_throttled", 0),
                "throttledTime": times.get("throttled_usec", 0) * 1000,
            },
        },
        "memory": {
            "cache": raw.get("file", 0),
            "usage": {
                "limit": limit,
                "usage": usage,
                "max": common.integer(directory + "/memory.peak"),
                "failcnt": events.get("max", 0),
            },
            # Version 1 counts memory and swap together; as runc does, so does this.
            "swap": {
                "limit": min(_NO_LIMIT, limit + swap_limit),
                "usage": usage + common.integer(directory + "/memory.swap.current"),
                "max": 0,
                "failcnt": 0,
            },
            "kernel": {"limit": 0, "usage": raw.get("kernel", 0), "max": 0, "failcnt": 0},
            "kernelTCP": {"limit": 0, "usage": raw.get("sock", 0), "max": 0, "failcnt": 0},
            "raw": raw,
        },
        "pids": _pids(directory),
        "blkio": _v2_block(directory),
        "hugetlb": {},
    }
    if "hugetlb" in common.read(directory + "/cgroup.controllers").split():
        figures["hugetlb"] = _huge(directory, "current", "")
    cpu, memory, block = (_pressure(f"{directory}/{name}.pressure") for name in ("cpu", "memory", "io"))
    if cpu:
        figures["cpu"]["psi"] = cpu
    if memory:
        figures["memory"]["psi"] = memory
    if block:
        figures["blkio"]["psi"] = block
    return figures


def _maximum(path: str) -> int:
    text = common.read(path).strip()
    return int(text) if text.isdigit() else _NO_LIMIT


def _v2_block(directory: str) -> Block:
    served: list[Entry] = []
    counted: list[Entry] = []
    names = {
        "rbytes": (served, "Read"),
        "wbytes": (served, "Write"),
        "dbytes": (served, "Discard"),
        "rios": (counted, "Read"),
        "wios": (counted, "Write"),
        "dios": (counted, "Discard"),
    }
    for line in common.read(directory + "/io.stat").splitlines():
        words = line.split()
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name in names and value.isdigit():
                entries, operation = names[name]
                entries.append(_entry(words[0], operation, value))
    return {"ioServiceBytesRecursive": served, "ioServicedRecursive": counted}


def _pressure(path: str) -> Pressure:
    """Return pressure stall information (kernel: accounting/psi); {} where it is not kept."""
    pressure: Pressure = {}
    for line in common.read(path).splitlines():
        kind, *words = line.split()
        pairs = (word.partition("=") for word in words)
        pressure[kind] = {name: int(value) if name == "total" else float(value) for name, _, value in pairs}
    return pressure


def _pids(directory: str) -> dict[str, int]:
    return {"current": common.integer(directory + "/pids.current"), "limit": common.integer(directory + "/pids.max")}


def _huge(directory: str, usage: str, peak: str) -> dict[str, dict[str, int]]:
    figures = {}
    try:
        names = os.listdir(directory) if directory else []
    except FileNotFoundError:
        names = []
    for name in names:
        kind, _, rest = name.partition(".")
        size, _, what = rest.partition(".")
        if kind == "hugetlb" and what == usage:
            prefix = f"{directory}/hugetlb.{size}"
            events = common.keyed(prefix + ".events")
            figures[size] = {
                "usage": common.integer(f"{prefix}.{usage}"),
                "max": common.integer(f"{prefix}.{peak}") if peak else 0,
                "failcnt": events.get("max", common.integer(prefix + ".failcnt")),
            }
    return figures
