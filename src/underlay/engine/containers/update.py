"""Changing the limits and the restart policy of a container: its group, its monitor and its record, all or none."""

from __future__ import annotations

import os

from ... import events
from ...errors import Conflict, InvalidInput, KernelError, UnderlayError
from ...runtime.monitor import control
from ...store import rootfs
from ...store.rows import containers as rows
from .. import presence
from ..options import ContainerOptions
from . import session
from .create import parse_restart
from .specification import compose, host_facts, limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...linux.cgroup import Group
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import Container
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
_GONE = (2, 19)  # ENOENT, ENODEV: the group was removed meanwhile


def update(store: Store, row: Container, wish: ContainerOptions, status: Status, group: Group) -> None:
    """Change what `wish` gives; see `Containers.update`."""
    given = {name: value for name, value in wish.given().items() if value or name == "pids_limit"}
    for name in given:
        if name not in UPDATABLE:
            raise InvalidInput(f"{name} of a container cannot be changed by an update")
    takes_back: list[Callable[[], None]] = []

    def alter(intent: dict[str, Any]) -> dict[str, Any]:
        """Within the transaction: two updates of a container come one after the other."""
        changed = changed_intent(intent, given)
        if status.pid:
            delta = difference(intent["spec"]["linux"]["resources"], changed["spec"]["linux"]["resources"])
            try:
                takes_back.append(group.update(delta))
            except KernelError as error:
                # A run that ends just now leaves nothing to change but the record.
                if error.errno not in _GONE or _lives(store, row, status):
                    raise
        # Who never starts it again holds nothing to start it with.
        if {intent["restart"]["name"], changed["restart"]["name"]} != {"no"}:
            takes_back.append(lambda: _tell_monitor(store, row, intent))
            _tell_monitor(store, row, changed)
        return changed

    try:
        rows.change(store.meta, row.id, alter)
    except BaseException:
        for take_back in reversed(takes_back):
            try:
                take_back()
            except (UnderlayError, OSError):
                pass  # the rest is to be taken back all the same, and the first error is the one to tell
        raise
    store.emit(events.Event("container.update", row.id))


def changed_intent(intent: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the intent with the options `given` changed; raises InvalidInput, Conflict in docker's words."""
    before = intent["options"]
    _check(intent, before, given)
    options = {**before, **given}
    if options.get("pids_limit") == 0:
        options["pids_limit"] = -1  # it may have been limited
    wish = ContainerOptions(**options)
    host = compose.HostFacts()
    # What is as it was need not be there any more: block devices, processors taken away.
    host_facts.limit_facts(ContainerOptions(**given), host)
    old = intent["spec"]["linux"]["resources"]
    found = limits.limits(wish, host)
    block = {**old.get("blockIO", {}), **found.get("blockIO", {})}
    changed = {**old, **found, **({"blockIO": block} if block else {})}
    linux = {**intent["spec"]["linux"], "resources": changed}
    restart = parse_restart(given["restart"]) if "restart" in given else intent["restart"]
    return {**intent, "options": options, "spec": {**intent["spec"], "linux": linux}, "restart": restart}


def _check(intent: dict[str, Any], before: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise for what does not go together with what was asked for before."""
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


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `after` that are not so in `before`; limits of memory and of swap go together."""
    found: dict[str, Any] = {}
    for kind, fields in after.items():
        if not isinstance(fields, dict):
            continue
        old = before.get(kind) or {}
        changed = {name: value for name, value in fields.items() if old.get(name) != value}
        if kind == "memory" and not {"limit", "swap"}.isdisjoint(changed):
            changed |= {name: fields[name] for name in ("limit", "swap") if name in fields}
        if changed:
            found[kind] = changed
    return found


def _lives(store: Store, row: Container, run: Status) -> bool:
    now = presence.status(store, row.id)
    return bool(now.pid) and now.when == run.when


def _tell_monitor(store: Store, row: Container, intent: dict[str, Any]) -> None:
    """Give the monitor, if there is one, what it is to start again with.

    It holds the launch record of its run, or none of the specification where nothing was to be started again.
    """
    channel = control.connect(store.paths.container_state(row.id))
    if channel is None:
        return
    try:
        lower = rootfs.lower_names(store.paths, store.form, intent["image"]["chain"])
        try:
            intent = session.joined(store, intent)
        except Conflict:
            pass  # whose namespaces it is in has ended: there is nothing that could be started again
        record = session.launch_record(store, row.id, row.name, intent, lower)
        from ...lean.jsontext import dumps

        # Beside the message, which has to fit in a packet: a custom seccomp profile alone may not.
        fd = os.memfd_create("underlay-launch")
        try:
            os.write(fd, dumps(record).encode())
            control.send(channel, {"relaunch": True}, (fd,))
        finally:
            os.close(fd)
        while True:
            message, fds = control.receive(channel)
            for extra in fds:
                os.close(extra)
            if message is None or "exited" in message or "noted" in message:
                return
    finally:
        channel.close()
