"""What killed processes and power cuts have left of containers: it is cleaned up, and restart policies are carried on.

Each command that makes or lists containers sweeps first; with nothing to do that takes three directory listings.
"""

from __future__ import annotations

import fcntl
import os
import time

from ... import events
from ...errors import Conflict, NotFound, UnderlayError
from ...files import is_at
from ...human import whole
from ...linux import userns
from ...runtime.monitor import state
from ...store.rows import containers
from .. import presence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...runtime.monitor.records import Last
    from ...store.rows.containers import ContainerRow
    from ...store.store import Store
    from ..launcher import Launcher

_HEX = frozenset("0123456789abcdef")
_KILLED = 137  # exit code of a program that SIGKILL ended: with its monitor it was killed, too


def sweep(store: Store, launcher: Launcher) -> None:
    """Remove files without a row, and bring containers whose monitor was killed to their end, or start them again.

    What cannot be done is reported as a `host.warning`: the command that sweeps goes on.
    """
    recorded = set(containers.ids(store.meta))
    _attempt(store, lambda: _remove_files(store, recorded))
    _attempt(store, lambda: _remove_states(store, recorded))
    _attempt(store, lambda: _remove_volumes(store))
    mark = store.paths.state + "/swept"
    # The state directory is cleared at boot: the first command after it looks at all containers, others only at those
    # that have a state.
    first = not os.path.exists(mark)
    for container_id in recorded if first else {*_with_state(store, recorded), *containers.removing(store.meta)}:
        if not _is_over(store, container_id):
            continue
        try:
            _settle(store, launcher, container_id)
        except (UnderlayError, OSError) as error:
            _warn(store, container_id, f"what container {container_id[:12]} has left cannot be cleaned up: {error}")
    if first:
        try:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        except OSError:
            pass  # a full disk: the next sweep looks at all containers again


def _attempt(store: Store, removal: Callable[[], None]) -> None:
    try:
        removal()
    except (UnderlayError, OSError) as error:
        _warn(store, "", f"what killed commands have left of containers cannot be removed: {error}")


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _is_id(name: str) -> bool:
    return len(name) == 64 and _HEX.issuperset(name)


def _remove_files(store: Store, recorded: set[str]) -> None:
    """Remove directories of containers that were never recorded, or whose row is gone; not those being made now."""
    for name in _names(store.paths.root + "/containers"):
        if name in recorded or not _is_id(name):
            continue
        path = store.paths.container(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            # Their makers, and those who remove them, hold this lock.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another sweep may have removed this directory before it could be locked, and its maker made it again.
            if is_at(fd, path) and not containers.exists(store.meta, name):
                userns.remove_tree(path)
        except BlockingIOError:
            pass
        finally:
            os.close(fd)


def _remove_states(store: Store, recorded: set[str]) -> None:
    """Remove state directories without a container, with pinned network namespaces and control groups, and of builds."""
    for name in _names(store.paths.state + "/containers"):
        path = store.paths.container_state(name)
        if name.startswith("build-"):
            from ...linux import process

            _, pid, when, *_ = [*map(whole, name.split("-")), -1, -1]
            if pid > 0 and process.start_time(pid) != when:
                _remove_state(path)
        elif _is_id(name) and name not in recorded and not state.monitored(path):
            if containers.exists(store.meta, name):
                continue
            from ...linux import cgroup

            group = cgroup.open_group(f"underlay/{name}", os.geteuid() != 0)
            group.kill()
            group.remove()
            _remove_state(path)


def _remove_state(path: str) -> None:
    from ...linux.network import netns

    for name in ("net", "net.user"):
        if os.path.exists(f"{path}/{name}"):
            netns.release(f"{path}/{name}")
    userns.remove_tree_alone(path)


def _remove_volumes(store: Store) -> None:
    """Remove directories of volumes without a row: volumes are made and recorded in one transaction."""
    directory = store.paths.root + "/volumes"
    names = _names(directory)
    if not names:
        return
    from ...store import volumes
    from ...store.rows import volumes as rows

    unknown = set(names).difference(volume.name for volume in rows.every(store.meta))
    if unknown:
        volumes.remove_directories(store.paths, store.meta, unknown)


def _with_state(store: Store, recorded: set[str]) -> Iterable[str]:
    for name in _names(store.paths.state + "/containers"):
        if name in recorded and os.path.exists(store.paths.container_state(name) + "/state.json"):
            yield name


def _is_over(store: Store, container_id: str) -> bool:
    """Return whether nothing of a container is running that is on record as running, or that is to remove itself."""
    return not presence.is_monitored(store, container_id) and not presence.is_running(store, container_id)


def _settle(store: Store, launcher: Launcher, container_id: str) -> None:
    """Bring a run to its end that has none on record; remove the container or start it again, if it is to be."""
    from . import ending, session

    try:
        row = containers.find(store.meta, container_id)
        has_state = os.path.isdir(store.paths.container_state(container_id))
        status = presence.status(store, container_id)  # before the lock is ours, which a monitor's looks like
        goes = row.intent["remove"] and (status.status == state.EXITED or _was_abandoned(row))
        if not goes and not _was_interrupted(store, container_id):
            return
        lock = presence.hold(store, container_id)
    except (Conflict, NotFound):
        return  # another command works on it
    again = False
    try:
        interrupted = _was_interrupted(store, container_id)
        if has_state:
            ending.clean(store, row, status)
        elif interrupted:
            # The host has booted since: what runs in a control group of this name is another's.
            ending.disconnect(store, row)
        if goes:
            session.forget(store, container_id, True)
        elif interrupted:
            again = _record_end(store, row)
    finally:
        lock.release()
    if again:
        try:
            session.start(store, launcher, row.id, row.name, row.intent).close()
        except (UnderlayError, OSError) as error:
            _warn(store, row.id, f"container {row.name} cannot be started again as its restart policy says: {error}")


def _warn(store: Store, container_id: str, message: str) -> None:
    store.emit(
        events.Event("host.warning", container_id, message=message, hint="`underlay system check` looks further")
    )


def _was_abandoned(row: ContainerRow) -> bool:
    """Return whether the process that was about to start a container is gone."""
    from ...linux import process

    pid, when = row.intent.get("runner") or (0, 0)
    return bool(pid) and process.start_time(pid) != when


def _was_interrupted(store: Store, container_id: str) -> bool:
    """Return whether the end of the last run is not on record: its monitor was killed, or the host went down."""
    last: Last = state.read(store.paths.container(container_id), "last.json")
    began = bool(last.get("started")) and not last.get("finished") and not last.get("failed")
    return began or os.path.exists(store.paths.container_state(container_id) + "/state.json")


def _record_end(store: Store, row: ContainerRow) -> bool:
    """Record that a run was killed; return whether the restart policy asks for another."""
    directory, state_directory = store.paths.container(row.id), store.paths.container_state(row.id)
    last: Last = state.read(directory, "last.json")
    began = bool(last.get("started")) and not last.get("finished")
    if began:
        error = last.get("error") or "the monitor was killed or the host went down"
        state.write(directory, "last.json", {**last, "finished": time.time_ns(), "code": _KILLED, "error": error})
    for name in ("state.json", "control"):
        try:
            os.unlink(f"{state_directory}/{name}")
        except FileNotFoundError:
            pass
    policy = row.intent["restart"]
    if not began or policy["name"] == "no":
        return False
    return policy["name"] != "on-failure" or not policy["maximum"] or int(last.get("restarts") or 0) < policy["maximum"]
