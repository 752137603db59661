"""Changing the limits of a container in a machine while it runs: QEMU's group on the host, and the container's in the
machine."""

from __future__ import annotations

from ...errors import Conflict
from ...human import binary_size
from ...runtime.machine import calls, driver, inside, outside
from ...runtime.monitor import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...linux.cgroup import Group
    from ...linux.specification import Resources
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ...store.store import Store


def change(
    store: Store, row: ContainerRow, run: Status, group: Group, delta: Resources, takes_back: list[Callable[[], None]]
) -> None:
    """Set the limits of `delta` for a container that runs; `group` is the control group of QEMU. A function that takes a
    change back is added to `takes_back` when that change is made.

    Raises Conflict for what the machine cannot have, and when it does not answer; KernelError.
    """
    directory = store.paths.container_state(row.id)
    memory = driver.memory(directory)
    check(row.name, delta, memory)
    within = inside.resources(delta)
    if within and run.status == state.PAUSED:
        raise Conflict(f"container {row.name} is paused: limits in its machine cannot be changed", "unpause it first")
    if around := outside.changes(delta, memory):
        takes_back.append(group.update(around))
    if within:
        calls.limit(directory, within)
        takes_back.append(lambda: calls.limit(directory, None))


def check(name: str, delta: Resources, memory: int) -> None:
    """Raise Conflict if the container is to have more than its machine with `memory` bytes has room for."""
    limit, room = (delta.get("memory") or {}).get("limit") or 0, outside.room_of(memory)
    if limit > room:
        raise Conflict(
            f"container {name} can have {binary_size(room)} of memory at most while it runs: its machine cannot grow",
            "stop it first: a larger limit holds from its next start",
        )
