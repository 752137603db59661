"""How containers end: stop, kill, wait, remove, prune."""

from __future__ import annotations

import os
import time

from ... import events
from ...errors import Conflict, KernelError, NotFound, UnderlayError
from ...linux.cgroup.common import GONE
from ...runtime.monitor import control, state
from ...store.pruned import Pruned, labelled
from .. import presence
from . import session as starting
from .find import find, given_labels, listed
from .pause import freeze, group_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping, Sequence

    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ...store.store import Store


def stop(store: Store, name: str, timeout: float | None = None, signal: str = "", keep: bool = False) -> None:
    """Send a container its stop signal, and kill it after `timeout` seconds (-1 waits for ever).

    Harmless when it has ended already. With `keep` it does not remove itself this time.
    """
    row = find(store, name)
    intent = row.intent
    from ...linux import signals

    number = signals.number(signal or intent["stop_signal"])
    limit = intent["stop_timeout"] if timeout is None else timeout
    channel = _announce_stop(store, row, keep)
    try:
        status = presence.status(store, row.id)
        if not status.pid:
            if channel is not None:
                _await_end(store, row, None)
            return
        store.emit(events.Event("container.kill", row.id, signal=number))
        _send(status, number)
        if status.status == state.PAUSED:
            try:
                freeze(store, name, False)
            except Conflict:
                pass  # it has ended, or somebody else was faster
        run = status.when
        if not _await_end(store, row, None if limit < 0 else float(limit), run):
            status = presence.status(store, row.id)
            if status.pid and status.when == run:
                store.emit(events.Event("container.kill", row.id, signal=9))
                _kill(store, row, status)
            _await_end(store, row, 10.0, run)
    finally:
        if channel is not None:
            channel.close()
    tidy(store, row)
    store.emit(events.Event("container.stop", row.id))


def _announce_stop(store: Store, row: ContainerRow, keep: bool = False) -> _socket.socket | None:
    """Notify the monitor that the container is being stopped, so that it does not restart it, or remove it (`keep`).

    Returns the connection.
    """
    channel = control.connect(store.paths.container_state(row.id))
    if channel is not None:
        try:
            control.ask(channel, {"stopping": True, "keep": keep})
        except Conflict:
            pass  # a monitor that hangs does not keep the container from its end
    return channel


def kill(store: Store, name: str, signal: str = "KILL") -> None:
    """Send a signal to a container's first process; raises Conflict when it is not running.

    One that is about to be restarted has none: a signal that would end it keeps it from being restarted.
    """
    from ...linux import signals

    number = signals.number(signal)
    row = find(store, name)
    status = presence.status(store, row.id)
    if not status.pid and status.status != state.RESTARTING:
        raise Conflict(f"container {row.id} is not running")
    store.emit(events.Event("container.kill", row.id, signal=number))
    channel = None
    if number in (9, signals.number(row.intent["stop_signal"])):
        channel = _announce_stop(store, row)
    try:
        if not status.pid:
            if channel is not None:
                _await_end(store, row, 10.0)
        elif number == 9:
            _kill(store, row, status)
            _await_end(store, row, 10.0, status.when)
            tidy(store, row)
        else:
            _send(status, number)
    finally:
        if channel is not None:
            channel.close()


def _send(status: Status, number: int) -> None:
    import _signal

    from ...linux import process

    try:
        fd = process.pidfd_open(status.pid)
    except UnderlayError:
        return  # it has just ended
    try:
        # The pid may have been given to another process since it was written down.
        if process.start_time(status.pid) == status.when:
            _signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def _kill(store: Store, row: ContainerRow, status: Status, goes: bool = False) -> None:
    """Kill the first process, and thaw a paused container so that it can exit: cgroup v1 keeps killed processes frozen.

    A machine is asked to kill it, and given time to write back what the container has written; not if that `goes` anyway.
    """
    asks = "machine" in row.intent and not row.intent["remove"] and not goes
    if not asks:
        _send(status, 9)
    if status.status == state.PAUSED:
        try:
            group_of(row, status).freeze(False)
        except KernelError as error:
            if error.errno not in GONE:
                raise
    if asks:
        from ...runtime.machine import calls

        if not calls.kill(store.paths.container_state(row.id)) or not _await_end(store, row, calls.TIME, status.when):
            _send(status, 9)


def _await_end(store: Store, row: ContainerRow, timeout: float | None, run: int = 0) -> bool:
    """Wait until the container's monitor has finished its work; returns False when the time is up first.

    `run` is the start time of the process whose end is waited for: another one means that somebody else has started
    the container again.
    """
    directory = store.paths.container_state(row.id)
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.001
    while True:
        status = presence.status(store, row.id)
        if not state.monitored(directory) and not status.pid:
            return True
        if run and status.pid and status.when != run:
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def wait(store: Store, name: str) -> int:
    """Block until a container exits and return its exit code; returns at once when it has exited."""
    row = find(store, name)
    directory = store.paths.container_state(row.id)
    channel = control.connect(directory)
    if channel is not None:
        session = starting.Session(row.id, channel)
        try:
            code = session.wait()
            if code is not None:
                return code
        except UnderlayError:
            pass  # killed monitor, or the end came while we connected: the files tell
        finally:
            session.close()
    _await_end(store, row, None)
    try:
        return presence.status(store, find(store, row.id).id).code
    except UnderlayError:
        return 0


def wait_healthy(store: Store, name: str) -> None:
    """Block until a container is healthy: see `Containers.wait_healthy`."""
    row = find(store, name)
    if "health" not in row.intent:
        raise Conflict(
            f"container {row.name} has no health check", "give it one with --health-cmd, or HEALTHCHECK in its image"
        )
    pause = 0.01
    while True:
        status = presence.status(store, row.id)
        if status.pid and status.health.get("status") == "healthy":
            return
        if not status.pid and status.status != state.RESTARTING:
            if presence.has_vanished(store, row.id):
                raise Conflict(f"container {row.name} was removed before it was healthy")
            raise Conflict(
                f"container {row.name} is {status.status}, and was not healthy", "`underlay logs` may say why"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def remove(store: Store, name: str, force: bool = False, volumes: bool = False) -> str:
    """Remove a container; with `force` it is killed first. Returns its id. Raises Conflict when it runs."""
    row = find(store, name)
    status = presence.status(store, row.id)
    # Again when somebody else starts it meanwhile.
    for _ in range(10):
        if status.pid or status.status == state.RESTARTING:
            if force:
                channel = _announce_stop(store, row)
                if status.pid:
                    store.emit(events.Event("container.kill", row.id, signal=9))
                    _kill(store, row, status, goes=True)
                if channel is not None:
                    channel.close()
            elif not (status.pid and presence.is_ending(status)):
                raise Conflict(
                    f'cannot remove container "/{row.name}": container is running: '
                    "stop the container before removing or force remove",
                    f"`underlay rm -f {row.name}` does both",
                )
        # A monitor that is still clearing up is waited for.
        if _await_end(store, row, 1.0):
            break
        status = presence.status(store, row.id)
    try:
        lock = presence.hold(store, row.id, patience=10.0)
    except NotFound:
        # Another process removes it at this moment, or a crash has left its row: both ways the rest may go.
        starting.forget(store, row.id, volumes or bool(row.intent.get("remove")))
        return row.id
    try:
        clean(store, row, status)
        starting.forget(store, row.id, volumes or bool(row.intent.get("remove")))
    finally:
        lock.release()
    return row.id


def _release(store: Store, row: ContainerRow) -> None:
    from ...store import rootfs

    rootfs.release_unused(store.paths, row.intent["image"]["chain"])
    from ...runtime.monitor import heldmounts
    from .records.launch import shared_mounts

    others = shared_mounts(store, row.id, row.intent)
    if others is not None:
        heldmounts.give_back(others, [])


def tidy(store: Store, row: ContainerRow) -> None:
    """Clean up after a container that exited without its monitor."""
    status = presence.status(store, row.id)
    try:
        lock = presence.hold(store, row.id)
    except (Conflict, NotFound):
        return
    try:
        clean(store, row, status)
    finally:
        lock.release()


def clean(store: Store, row: ContainerRow, status: Status) -> None:
    """Take down what a run has left that ended without its monitor: processes, mounts, network. Needs the lock."""
    starting.clean_remains(row.id, row.intent, store.paths.container_state(row.id), status.group_base)
    _release(store, row)
    disconnect(store, row)


def disconnect(store: Store, row: ContainerRow) -> None:
    """Remove the remaining network interfaces and published ports of a container."""
    if "network" in row.intent:
        from ..networks import attach as connecting

        connecting.down(store, row.id)


def remove_ended(store: Store, container_id: str) -> None:
    """Remove a container whose session has reported its exit: the last step of `run --rm`."""
    # The files go while the monitor still takes down the shared mount; it has ended when its lock is free.
    starting.forget_files(store, container_id, True, durable=False)
    starting.await_monitor(store, container_id)
    starting.forget_state(store, container_id)


def prune(store: Store, until: float | None, labels: Sequence[str], given: Mapping[str, str] | None = None) -> Pruned:
    """Remove containers that are not running: see `Containers.prune`. With `given` only those that were given these labels
    when they were made."""
    removed, space = [], 0
    for item in listed(store, all=True):
        if until is not None and item.row.created / 1e9 >= until:
            continue
        if not labelled(item.row.intent["labels"], labels):
            continue
        if given and not given.items() <= given_labels(item.row).items():
            continue
        if item.status.status in (state.EXITED, state.CREATED, state.DEAD):
            from .inspect import written

            size = written(store, item.row.id, item.row.intent)
            try:
                removed.append(remove(store, item.row.id))
            except (Conflict, NotFound):
                continue  # started or removed by another since
            space += size
    store.emit(events.Event("container.prune", "", reclaimed=space))
    return Pruned(removed, space)
