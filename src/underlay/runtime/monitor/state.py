"""State files of a container: written by its monitor, read by everyone. Imports almost nothing.

In the state directory (gone with a reboot): `lock`, held by the monitor as long as it lives; `state.json`, while the
container runs; `control`, the socket. In the container's directory: `last.json`, how the last run began and ended.
"""

from __future__ import annotations

import os

from ...files import Lock, write_atomic
from ...lean.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .records import Health, Last, Now

CREATED, RUNNING, PAUSED, RESTARTING, EXITED, DEAD = (
    "created",
    "running",
    "paused",
    "restarting",
    "exited",
    "dead",
)


_LENGTH = 512  # records are padded to this, so that a later one finds room even on a full disk


def write(directory: str, name: str, record: Mapping[str, object]) -> None:
    """Replace `name` in `directory` by a record, atomically; on a full disk by overwriting the previous record in place.

    Raises OSError when neither can be done.
    """
    data = dumps(record).encode().ljust(_LENGTH)
    path = f"{directory}/{name}"
    try:
        write_atomic(path, data, durable=False)
    except OSError as error:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise error from None  # there is none before: why none can be written is what counts
        try:
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        finally:
            os.close(fd)


def read(directory: str, name: str) -> Any:
    """Return the record `name` of `directory`; {} when there is none (or a crash of the host has spoiled it)."""
    try:
        with open(f"{directory}/{name}", "rb") as file:
            value = loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class Status:
    """A container's state as it is now. Times are ns since the epoch, 0 when there is none.

    `status` is a word (`created`, `running`, `paused`, `restarting`, `exited`), `pid` that of the first process (0 when
    it has none), `monitor` that of its monitor; `code` the exit code of the last run, `oom` whether the kernel's
    OOM killer ended it, `error` what else went wrong; `started`, `finished`, `restarts`; `health` is what its checks have
    found in this run or the last one ({} without checks).
    """

    __slots__ = (
        "code",
        "error",
        "finished",
        "group_base",
        "health",
        "monitor",
        "oom",
        "pid",
        "restarts",
        "started",
        "status",
        "when",
    )

    def __init__(self) -> None:
        self.status = CREATED
        self.health: Health = {}
        self.pid = 0
        self.monitor = 0
        self.code = 0
        self.oom = False
        self.error = ""
        self.started = 0
        self.finished = 0
        self.restarts = 0
        self.group_base = ""  # directory below which its cgroup lies, "" for the root of the hierarchies
        self.when = 0  # start time of `pid` in clock ticks, to know it again


def monitored(state_directory: str) -> bool:
    """Return whether a monitor is running and holds the container's lock."""
    lock = Lock(state_directory + "/lock", shared=True, create=False)
    try:
        if lock.acquire(wait=False):
            lock.release()
            return False
    except OSError:
        return False
    return True


def status(directory: str, state_directory: str) -> Status:
    """Return the current state of a container from its files, its lock and the kernel; changes nothing."""
    result = Status()
    last: Last = read(directory, "last.json")
    now: Now = read(state_directory, "state.json")
    alive = monitored(state_directory)
    result.health = read(state_directory, "health.json")
    result.group_base = str((now.get("cgroup") or {}).get("base") or "")
    result.started = int(last.get("started") or 0)
    result.finished = int(last.get("finished") or 0)
    result.code = int(last.get("code") or 0)
    result.oom = bool(last.get("oom"))
    result.error = str(last.get("error") or "")
    result.restarts = int(last.get("restarts") or 0)
    # What still runs without a monitor, the next command that looks for containers ends (`engine.containers.sweep`).
    if now and alive:
        result.status = str(now.get("status") or RUNNING)
        result.pid = int(now.get("pid") or 0)
        result.when = int(now.get("when") or 0)
        result.monitor = int(now.get("monitor") or 0)
        result.started = int(now.get("started") or result.started)
        result.finished = 0 if result.status == RUNNING else result.finished
        if result.status != RESTARTING:
            result.code = 0
            result.oom = False
        else:
            result.pid = 0  # that of the run before
        return result
    if not last or last.get("failed"):
        return result
    result.status = EXITED
    if not result.finished:
        # The run began and its end has not been recorded: the monitor was killed, or the host went down.
        result.code = 137
        result.finished = _changed(state_directory + "/state.json") or result.started
        result.error = result.error or "the monitor was killed or the host went down"
    return result


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
