"""Pausing containers: all processes of the control group stop and go on together."""

from __future__ import annotations

import os

from ...errors import Conflict, KernelError
from ...events import Event
from ...linux.cgroup.common import GONE
from ...runtime.monitor import control, state
from .. import presence
from .find import find
from .records.confinement import group_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.cgroup import Group
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ...store.store import Store


def group_of(row: ContainerRow, status: Status) -> Group:
    """Return the control group of a container."""
    from ...linux import cgroup

    return cgroup.open_group(group_path(row.id, row.intent), os.geteuid() != 0, status.group_base)


def freeze(store: Store, name: str, on: bool) -> None:
    """Pause or resume a container; raises Conflict when it does not run, or is already in the requested state."""
    row = find(store, name)
    status = presence.status(store, row.id)
    if not status.pid:
        raise Conflict(f"container {row.id} is not running")
    if (status.status == state.PAUSED) == on:
        raise Conflict(f"container {row.id} is {'already' if on else 'not'} paused")
    try:
        group_of(row, status).freeze(on)
    except KernelError as error:
        if error.errno not in GONE:
            raise
        raise Conflict(f"container {row.id} is not running") from None
    channel = control.connect(store.paths.container_state(row.id))
    if channel is not None:
        try:
            control.ask(channel, {"paused": on})
        finally:
            channel.close()
    store.emit(Event("container.pause" if on else "container.unpause", row.id))
