"""Containers and their usage as lists and statistics of the API show them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ..engine.containers import inspect
from ..engine.filters import containers as filters
from ..human import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..engine.containers.find import ContainerListing
    from ..engine.containers.stats import Stats
    from ..engine.engine import Engine


def container(engine: Engine, item: ContainerListing, size: bool) -> dict[str, Any]:
    """Return a container as `GET /containers/json` lists it (Engine API, ContainerList); with `size` its bytes on disk."""
    row, intent, status = item.row, item.intent, item.status
    facts = inspect.inspect(engine._store, row, intent, status, size)
    ports = []
    for name, bound in facts["NetworkSettings"]["Ports"].items():
        number, _, protocol = name.partition("/")
        entry = {"PrivatePort": int(number), "Type": protocol}
        if not bound:
            ports.append(entry)
        ports += [{"IP": each["HostIp"], **entry, "PublicPort": int(each["HostPort"])} for each in bound or []]
    words = [facts["Path"], *facts["Args"]]
    summary = {
        "Id": row.id,
        "Names": ["/" + row.name],
        "Image": intent["image"]["name"],
        "ImageID": row.image,
        "Command": " ".join(f"'{word}'" if " " in word else word for word in words),
        "Created": row.created // 10**9,
        "Ports": ports,
        "Labels": intent["labels"],
        "State": status.status,
        "Status": filters.status_words(item),
        "HostConfig": {"NetworkMode": facts["HostConfig"]["NetworkMode"]},
        "NetworkSettings": {"Networks": facts["NetworkSettings"]["Networks"]},
        "Mounts": facts["Mounts"],
    }
    if size:
        summary["SizeRw"], summary["SizeRootFs"] = facts["SizeRw"], facts["SizeRootFs"]
    return summary


def usage(stats: Stats, before: Stats | None, system: tuple[int, int]) -> dict[str, Any]:
    """Return a sample as `GET /containers/{id}/stats` has it (Engine API, ContainerStats).

    `system` are the nanoseconds of all processors at the earlier sample and at this one.
    """
    figures = stats.figures
    memory: Mapping[str, Any] = figures["memory"] if figures else {"usage": {"usage": 0}, "raw": {}}
    statistics = {"usage": int(memory["usage"]["usage"]), "stats": memory["raw"], "limit": stats.memory_limit}
    blocks = figures["blkio"]["ioServiceBytesRecursive"] if figures else []
    return {
        "read": rfc3339(time.time_ns()),
        "preread": rfc3339(time.time_ns() - (stats.when - before.when)) if before else "0001-01-01T00:00:00Z",
        "name": "/" + stats.name,
        "id": stats.id,
        "num_procs": 0,
        "pids_stats": {"current": stats.pids},
        "cpu_stats": _processor(stats, system[1]),
        "precpu_stats": _processor(before, system[0]) if before else _processor(None, 0),
        "memory_stats": statistics,
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": each["major"], "minor": each["minor"], "op": each["op"].lower(), "value": each["value"]}
                for each in blocks
            ]
        },
        "networks": {
            "eth0": {
                **{"rx_bytes": stats.received, "rx_packets": 0, "rx_errors": 0, "rx_dropped": 0},
                **{"tx_bytes": stats.sent, "tx_packets": 0, "tx_errors": 0, "tx_dropped": 0},
            }
        },
        "storage_stats": {},
    }


def _processor(stats: Stats | None, system: int) -> dict[str, Any]:
    cpu: Mapping[str, Any] = stats.figures["cpu"] if stats is not None and stats.figures else {}
    total = cpu.get("usage", {})
    throttling = cpu.get("throttling", {})
    return {
        "cpu_usage": {
            "total_usage": int(total.get("total") or 0),
            "usage_in_kernelmode": int(total.get("kernel") or 0),
            "usage_in_usermode": int(total.get("user") or 0),
        },
        "system_cpu_usage": system,
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": int(throttling.get("periods") or 0),
            "throttled_periods": int(throttling.get("throttledPeriods") or 0),
            "throttled_time": int(throttling.get("throttledTime") or 0),
        },
    }


def system_time() -> int:
    """Return the time that all processors have spent since the boot, in nanoseconds (proc_stat(5))."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return sum(ticks) * (10**9 // os.sysconf("SC_CLK_TCK"))
