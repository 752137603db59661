"""Whether a container is running: its status, its first process and its lock. All that need to know ask here."""

from __future__ import annotations

import os
import time

from ..errors import Conflict, NotFound, Unsupported
from ..files import Lock
from ..linux import process, userns
from ..runtime.monitor import state
from ..store.rows import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..runtime.monitor.state import Status
    from ..store.rows.intent import Intent
    from ..store.store import Store


def status(store: Store, container_id: str) -> Status:
    """Return the current state of a container, from its files, its monitor's lock and the kernel."""
    return state.status(store.paths.container(container_id), store.paths.container_state(container_id))


def is_running(store: Store, container_id: str) -> bool:
    """Return whether a container is running, or is about to be restarted by its restart policy."""
    now = status(store, container_id)
    return bool(now.pid) or now.status == state.RESTARTING


def is_ending(status: Status) -> bool:
    """Return whether the first process of a running container is exiting or gone, which its monitor may not know yet.

    A process gives up its namespaces first.
    """
    try:
        os.readlink(f"/proc/{status.pid}/ns/mnt")
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        pass  # not for us to see
    return process.start_time(status.pid) != status.when


def is_monitored(store: Store, container_id: str) -> bool:
    """Return whether a monitor, or a process that starts or removes the container, holds its lock."""
    return state.monitored(store.paths.container_state(container_id))


def has_vanished(store: Store, container_id: str) -> bool:
    """Return whether a container that was just found is gone; one of which a crash has left only the row is not."""
    if os.path.isdir(store.paths.container(container_id)):
        return False
    return not containers.exists(store.meta, container_id)


def require_process(name: str, intent: Intent, what: str) -> None:
    """Raise Unsupported for a container in a machine, whose programs and files this kernel does not have; `what` is asked
    for."""
    if "machine" in intent:
        raise Unsupported(f"{what} is not possible yet: container {name} is in a machine (--isolation machine)")


def first_process(store: Store, container_id: str, name: str) -> tuple[int, int]:
    """Return pid and start time (clock ticks since boot) of a container's first process.

    Raises Conflict when there is none whose namespaces could be joined.
    """
    now = status(store, container_id)
    if not now.pid:
        raise Conflict(f"cannot join the namespace of a non running container: {name}")
    return now.pid, now.when


def hold(store: Store, container_id: str, patience: float = 0.0) -> Lock:
    """Acquire and return the container's lock.

    Raises Conflict when its monitor, or another process that works on it, holds it for longer than `patience` seconds,
    NotFound when its files do not exist: another process has removed it, or is removing it.
    """
    directory = store.paths.container_state(container_id)
    deadline = time.monotonic() + patience
    while os.path.isdir(store.paths.container(container_id)):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        lock = Lock(directory + "/lock")
        try:
            held = lock.acquire(wait=False)
        except FileNotFoundError:
            continue  # the directory has just been removed
        if held:
            if os.path.isdir(store.paths.container(container_id)):
                return lock
            userns.remove_tree_alone(directory)
            lock.release()
            break
        if time.monotonic() >= deadline:
            raise Conflict(f"container {container_id[:12]} is running")
        time.sleep(0.01)
    raise NotFound(f"No such container: {container_id}")
