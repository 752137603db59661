"""`update` and `events` of the runtime."""

from __future__ import annotations

import os
import sys

from ...errors import Conflict, InvalidInput, Unsupported, UsageError
from ...human import decimal
from ...runtime.standalone import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...linux.specification import Resources
    from ...runtime.standalone.records import BundleRecord
    from ..flags import Flag, Options
    from .main import Settings

FLAGS: dict[str, tuple[Flag, ...]] = {
    "update": (
        ("resources", "r", "string", "file", "File with `resources` of the specification, - for standard input"),
        ("memory", "", "string", "bytes", "Memory limit"),
        ("memory-reservation", "", "string", "bytes", "Memory soft limit"),
        ("memory-swap", "", "string", "bytes", "Limit of memory and swap together, -1 for none"),
        ("cpu-period", "", "int", "us", "Period of the processor quota"),
        ("cpu-quota", "", "int", "us", "Processor time in a period"),
        ("cpu-burst", "", "int", "us", "Unused time that may be saved up"),
        ("cpu-share", "", "int", "shares", "CPU shares (relative weight)"),
        ("cpu-idle", "", "int", "0|1", "Whether only idle processors are used"),
        ("cpu-rt-period", "", "int", "us", "Period of real-time processes"),
        ("cpu-rt-runtime", "", "int", "us", "Processor time of real-time processes in a period"),
        ("cpuset-cpus", "", "string", "list", "Processors that may be used"),
        ("cpuset-mems", "", "string", "list", "Memory nodes that may be used"),
        ("pids-limit", "", "int", "n", "Number of processes, -1 for no limit"),
        ("blkio-weight", "", "int", "weight", "Block I/O weight (relative), 10 to 1000"),
        ("l3-cache-schema", "", "string", "schema", "Refused: resctrl is not supported"),
        ("mem-bw-schema", "", "string", "schema", "Refused: resctrl is not supported"),
    ),
    "events": (
        ("stats", "", "bool", "", "Show statistics once and exit"),
        ("interval", "", "string", "seconds", "Time between statistics (default 5s)"),
    ),
}
SYNOPSIS = {"update": "[OPTIONS] CONTAINER", "events": "[OPTIONS] CONTAINER"}
# Flag → (kind, field) of the specification's resources.
_FIELDS = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-idle": ("cpu", "idle"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "pids-limit": ("pids", "limit"),
    "blkio-weight": ("blockIO", "weight"),
}


def run(name: str, settings: Settings, options: Options, arguments: list[str]) -> int:
    """Run one of the commands of this module."""
    if len(arguments) != 1:
        raise UsageError(f"{name} needs the ID of one container", f"see `underlay-runtime {name} --help`")
    record = records.load(settings.root, arguments[0])
    if name == "events":
        return _events(settings, record, options)
    word = records.status(settings.root, record)
    if word not in (records.CREATED, records.RUNNING, records.PAUSED):
        raise Conflict(f"container not running: {word}")
    for flag in ("l3-cache-schema", "mem-bw-schema"):
        if options[flag]:
            raise Unsupported(f"--{flag}: cache and bandwidth classes (resctrl) are not supported")
    changes = _resources(options)
    take_back = records.group_of(record).update(changes)
    try:
        _remember(settings.root, record, changes)
    except BaseException:
        take_back()
        raise
    return 0


def _resources(options: Options) -> Any:
    changes: dict[str, Any] = {}
    if options["resources"]:
        # What a caller leaves empty it does not mean to change.
        changes = {kind: item for kind, item in _read(options["resources"]).items() if item}
        for kind, item in changes.items():
            if isinstance(item, dict):
                changes[kind] = {key: value for key, value in item.items() if value not in (0, "", None)}
    for flag, (kind, field) in _FIELDS.items():
        if flag in options:
            value = options[flag]
            if flag.startswith("memory"):
                value = _bytes(flag, value)
            changes.setdefault(kind, {})[field] = value
    if not changes:
        raise UsageError("update needs a limit to change", "see `underlay-runtime update --help`")
    return changes


def _read(path: str) -> Resources:
    from ...files import read_bytes
    from ...lean.jsontext import known
    from ...runtime import config

    try:
        value: Resources = known(sys.stdin.buffer.read(config.LIMIT) if path == "-" else read_bytes(path, config.LIMIT))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
    return config.check_resources(value)


def _bytes(flag: str, text: str) -> int:
    from ...human import parse_size

    try:
        return -1 if text == "-1" else parse_size(text)
    except ValueError:
        raise InvalidInput(f"--{flag}: {text!r} is not a size") from None


def _remember(root: str, record: BundleRecord, changes: dict[str, Any]) -> None:
    resources: Any = record["config"].setdefault("linux", {}).setdefault("resources", {})
    for kind, item in changes.items():
        if isinstance(item, dict):
            resources.setdefault(kind, {}).update(item)
        else:
            resources[kind] = item
    records.save(root, record)


def _events(settings: Settings, record: BundleRecord, options: Options) -> int:
    import select

    from ...lean.jsontext import dumps

    group = records.group_of(record)

    def tell(kind: str, data: object) -> None:
        event = {"type": kind, "id": record["id"]}
        sys.stdout.write(dumps(event if data is None else {**event, "data": data}) + "\n")
        sys.stdout.flush()

    if not records.alive(record):
        raise Conflict("container not running")
    if options["stats"]:
        tell("stats", group.stats())
        return 0
    seconds = _interval(options["interval"] or "5s")
    from ...linux import process

    ends = process.pidfd_open(record["pid"])
    memory = group.oom_event()
    kills = group.oom_kills()
    waiting = select.poll()
    waiting.register(ends, select.POLLIN)
    waiting.register(memory, select.POLLIN)
    tell("stats", group.stats())
    while True:
        ready = [fd for fd, _ in waiting.poll(seconds * 1000)]
        if memory in ready:
            os.read(memory, 4096)
            if group.oom_kills() > kills:
                kills = group.oom_kills()
                tell("oom", None)
        if ends in ready:
            return 0
        if not ready:
            tell("stats", group.stats())


def _interval(text: str) -> float:
    """Return the seconds of a duration such as 5s, 500ms or 1m; raises InvalidInput."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        try:
            number = decimal(text.removesuffix(unit)) if text.endswith(unit) else 0.0
        except ValueError:
            continue
        if number > 0:
            return number * factor
    raise InvalidInput(f"--interval: {text!r} is not a duration such as 5s")
