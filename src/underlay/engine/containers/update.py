"""Changing the limits and the restart policy of a container: its group, its monitor and its record, all or none."""

from __future__ import annotations

import os
import time

from ... import events
from ...errors import Conflict, InvalidInput, KernelError, NotFound, UnderlayError
from ...files import Lock
from ...linux import cgroup
from ...linux.cgroup.common import GONE
from ...runtime.monitor import control, state
from ...store import rootfs
from ...store.rows import containers as rows
from .. import presence
from ..options import ContainerOptions
from .records import confinement, launch
from .specification import compose, host_facts, limits
from .specification.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...linux.specification import BlockIO, Linux, Resources
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ...store.rows.intent import Intent, Options
    from ...store.store import Store

UPDATABLE = frozenset(
    (
        "blkio_weight",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpus",
        "cpuset_cpus",
        "cpuset_mems",
        "memory",
        "memory_reservation",
        "memory_swap",
        "pids_limit",
        "restart",
    )
)


def update(store: Store, container_id: str, options: ContainerOptions) -> None:
    """Change what `options` give; see `Containers.update`."""
    given = {name: value for name, value in options.given().items() if value or name == "pids_limit"}
    for name in given:
        if name not in UPDATABLE:
            raise InvalidInput(f"{name} of a container cannot be changed by an update")
    lock = _lock(store, container_id)
    try:
        row = rows.find(store.meta, container_id)
        before, after = row.intent, changed_intent(row.intent, given)
        run = presence.status(store, row.id)
        takes_back: list[Callable[[], None]] = []
        try:
            _apply(store, row, run, before, after, takes_back)
            # Nobody else changes what was asked for: there is nothing to wait for while the database is locked.
            rows.change(store.meta, row.id, lambda _: after)
        except BaseException:
            for take_back in reversed(takes_back):
                try:
                    take_back()
                except (UnderlayError, OSError):
                    pass  # the rest is to be taken back all the same, and the first error is the one to tell
            raise
        _catch_up(store, row, run, before, after)
    finally:
        lock.release()
    store.emit(events.Event("container.update", row.id))


def _lock(store: Store, container_id: str) -> Lock:
    """Acquire and return the lock that serialises updates of a container; raises NotFound, Conflict."""
    lock = Lock(store.paths.container(container_id) + "/update")
    deadline = time.monotonic() + 3 * control.PATIENCE
    try:
        while not lock.acquire(wait=False):
            if time.monotonic() >= deadline:
                raise Conflict(f"container {container_id[:12]} is being updated by another process", "try again later")
            time.sleep(0.01)
    except FileNotFoundError:
        raise NotFound(f"No such container: {container_id}") from None
    return lock


def _apply(
    store: Store,
    row: ContainerRow,
    run: Status,
    before: Intent,
    after: Intent,
    takes_back: list[Callable[[], None]],
) -> None:
    """Apply the changes to a run's cgroup and monitor; the undo of each is added to `takes_back` when it is applied."""
    if run.pid:
        delta = difference(before["spec"]["linux"]["resources"], after["spec"]["linux"]["resources"])
        group = cgroup.open_group(confinement.group_path(row.id, before), os.geteuid() != 0, run.group_base)
        try:
            if "machine" in before:
                from ..machines import limits as machine_limits

                machine_limits.change(store, row, run, group, delta, takes_back)
            else:
                takes_back.append(group.update(delta))
        except Conflict:
            # Nobody answers in a machine that ends.
            if "machine" not in before or (_is_current(store, row, run) and not presence.is_ending(run)):
                raise
        except KernelError as error:
            # A run that ends just now leaves nothing to change but the record.
            if error.errno not in GONE or _is_current(store, row, run):
                raise
    # Who never starts it again holds nothing to start it with.
    if {before["restart"]["name"], after["restart"]["name"]} != {"no"}:
        takes_back.append(lambda: _tell_monitor(store, row, before))
        _tell_monitor(store, row, after)


def _catch_up(store: Store, row: ContainerRow, run: Status, before: Intent, after: Intent) -> None:
    """Bring a run up to date that has begun since `run` was looked at, from the record as it was."""
    deadline = time.monotonic() + control.PATIENCE
    while True:
        now = presence.status(store, row.id)
        begins = not now.pid and now.status != state.RESTARTING
        if not begins or not presence.is_monitored(store, row.id) or time.monotonic() >= deadline:
            break
        time.sleep(0.01)
    if now.pid and now.when != run.when:
        _apply(store, row, now, before, after, [])


def changed_intent(intent: Intent, given: Options) -> Intent:
    """Return the intent with the options `given` changed; raises InvalidInput, Conflict in docker's words."""
    before = intent["options"]
    _check(intent, before, given)
    options = {**before, **given}
    if options.get("pids_limit") == 0:
        options["pids_limit"] = -1  # it may have been limited
    host = compose.HostFacts()
    # What is as it was need not be there any more: block devices, processors taken away.
    changes = Request(ContainerOptions(**given))
    host_facts.limit_facts(changes, host)
    old = intent["spec"]["linux"]["resources"]
    wanted = limits.limits(ContainerOptions(**options), host)
    block: BlockIO = {**old.get("blockIO", {}), **wanted.get("blockIO", {})}
    changed: Resources = {**old, **wanted}
    if block:
        changed["blockIO"] = block
    linux: Linux = {**intent["spec"]["linux"], "resources": changed}
    restart = changes.restart if "restart" in given else intent["restart"]
    return {**intent, "options": options, "spec": {**intent["spec"], "linux": linux}, "restart": restart}


def _check(intent: Intent, before: Options, given: Options) -> None:
    """Raise for options that conflict with those given before."""
    for name, word in (("cpu_period", "CPU Period"), ("cpu_quota", "CPU Quota")):
        if given.get(name) and before.get("cpus"):
            raise Conflict(f"conflicting options: {word} cannot be updated as NanoCPUs has already been set")
        if given.get("cpus") and before.get(name):
            raise Conflict(f"conflicting options: Nano CPUs cannot be updated as {word} has already been set")
    memory, swap = given.get("memory", 0), before.get("memory_swap", 0)
    if memory and not given.get("memory_swap") and 0 < swap < memory:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    if "restart" in given and intent["remove"]:
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> Resources:
    """Return the fields of `after` that differ from `before`; limits of memory and of swap go together."""
    changes: Resources = {}
    for kind, fields in after.items():
        if not isinstance(fields, dict):
            continue
        old = before.get(kind)
        known = old if isinstance(old, dict) else {}
        changed = {name: value for name, value in fields.items() if known.get(name) != value}
        if kind == "memory" and not {"limit", "swap"}.isdisjoint(changed):
            changed |= {name: fields[name] for name in ("limit", "swap") if name in fields}
        if changed:
            changes[kind] = changed  # type: ignore[literal-required]
    return changes


def _is_current(store: Store, row: ContainerRow, run: Status) -> bool:
    now = presence.status(store, row.id)
    return bool(now.pid) and now.when == run.when


def _tell_monitor(store: Store, row: ContainerRow, intent: Intent) -> None:
    """Send the monitor, if there is one, the launch record for restarts.

    It holds the launch record of its run, or none of the specification where nothing was to be started again.
    """
    channel = control.connect(store.paths.container_state(row.id))
    if channel is None:
        return
    try:
        lower = rootfs.lower_names(store.paths, store.form, intent["image"]["chain"])
        try:
            intent = launch.joined(store, row.id, intent)
        except Conflict:
            pass  # whose namespaces it is in has ended: there is nothing that could be started again
        record = launch.launch_record(store, row.id, row.name, intent, lower)
        # Beside the message, which has to fit in a packet: a custom seccomp profile alone may not.
        fd = control.parcel(record, "underlay-launch")
        try:
            control.ask(channel, {"relaunch": True}, (fd,))
        finally:
            os.close(fd)
    finally:
        channel.close()
