"""`start`, `kill`, `pause`, `resume` and `delete` of containers of bundles."""

from __future__ import annotations

import _signal
import os

from ...errors import Conflict, NotFound, UnderlayError
from ...linux import process
from ..monitor import control
from ..process import child_channel
from . import creating, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .records import BundleRecord


def start(root: str, container_id: str, warn: Callable[[str], None]) -> BundleRecord:
    """Start the program of a created container; returns its record. Raises Conflict, StartFailed, UnderlayError."""
    record = records.load(root, container_id)
    gate = control.connect(records.directory(root, container_id), records.GATE) if records.alive(record) else None
    if gate is None or not child_channel.open_gate(gate, b"start"):
        word = records.status(root, record)
        raise Conflict(f"cannot start a container that is {word}: it can be started once, when it is created")
    report = child_channel.StartReport()
    report.pid = record["pid"]
    try:
        child_channel.listen(gate, report, creating.announcer(record, records.CREATED))
    except BaseException:
        send(record, _signal.SIGKILL)
        raise
    finally:
        gate.close()
    if report.failure is not None:
        raise report.failure
    try:
        os.unlink(f"{records.directory(root, container_id)}/{records.GATE}")
    except FileNotFoundError:
        pass
    items = (record["config"].get("hooks") or {}).get("poststart")
    if items:
        from ..apply import hooks

        try:
            hooks.run("poststart", items, records.hook_state(record, records.RUNNING))
        except UnderlayError:
            # "stop the container, and continue the lifecycle at step 12" (runtime, "Lifecycle", step 9).
            creating.take_down(root, record, warn)
            raise
    return record


def kill(root: str, container_id: str, number: int, everyone: bool = False) -> None:
    """Send a signal to the first process, or to all; raises Conflict when the container has ended."""
    record = records.load(root, container_id)
    if everyone:
        for pid in records.group_of(record).processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return
    if not send(record, number):
        raise Conflict("container not running")
    if number == _signal.SIGKILL:
        # A frozen process takes the signal when it is thawed (cgroup version 1).
        group = records.group_of(record)
        if group.frozen():
            group.freeze(False)


def send(record: BundleRecord, number: int) -> bool:
    """Send a signal to the first process; returns whether it lives. Raises KernelError."""
    try:
        fd = process.pidfd_open(record["pid"])
    except UnderlayError:
        return False
    try:
        if not records.alive(record):
            return False
        _signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def delete(root: str, container_id: str, force: bool, warn: Callable[[str], None]) -> None:
    """Delete a container that has ended or was never started; with `force` any, and one that is not there is fine."""
    try:
        record = records.load(root, container_id)
    except NotFound:
        if not force:
            raise
        records.forget(root, container_id)  # one that was killed while it was being made
        return
    word = records.status(root, record)
    if word in (records.RUNNING, records.PAUSED) and not force:
        raise Conflict(f"cannot delete container {container_id} that is not stopped: {word}", "stop it, or use --force")
    if word == records.PAUSED:
        send(record, _signal.SIGKILL)
        records.group_of(record).freeze(False)
    creating.take_down(root, record, warn)


def pause(root: str, container_id: str, on: bool) -> None:
    """Freeze all processes of a container, or let them go on; raises Conflict when its state does not allow it."""
    record = records.load(root, container_id)
    word = records.status(root, record)
    if on and word not in (records.RUNNING, records.CREATED):
        raise Conflict(f"container not running or created: {word}")
    if not on and word != records.PAUSED:
        raise Conflict("container not paused")
    records.group_of(record).freeze(on)
