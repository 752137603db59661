"""The drivers: how the process of a container comes about. Our own on this kernel, another OCI runtime, or a machine.

Each gives the monitor a process whose end is the container's, whose exit code is the program's, and to which a signal is a
signal to the program; output and input are the descriptors that the context has, or the console. What the monitor does
besides (log, clients, restarts, health, limits of the control group) is the same for all.
"""

from __future__ import annotations

import os

from ..monitor import streams
from ..process import child_channel
from ..process import spawn as birth

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from ...linux.cgroup import Group
    from ..monitor.records import ExecRecord, LaunchRecord, StepRecord
    from ..plan import Plan
    from ..plan.context import Context
    from ..process.join import Joined


def start(record: LaunchRecord, made: Plan, context: Context, group: Group, ours: _socket.socket) -> tuple[int, int]:
    """Start the container of a launch record; returns the pid of its process and its console or -1.

    `made` is its plan; `context` has its streams, which are closed, and its end of the setup socket, `ours` is the other.
    Raises StartFailed, KernelError, Unsupported, InvalidInput, OSError; no process is left then.
    """
    if "machine" in record:
        from ..machine import driver, guest

        return driver.start(guest.of_container(record, made, False), context, group, ours)
    birth.prepare(made, context)
    if made.maps is not None and os.geteuid() == 0:
        from ...linux import userns

        streams.give(context.stdio, *(userns.outside(0, id_map) for id_map in made.maps))
    if "runtime" in record:
        from . import otherruntime

        return otherruntime.start(record, made, context)
    return _bring_up(record, made, context, group, ours)


def _bring_up(
    record: LaunchRecord, made: Plan, context: Context, group: Group, ours: _socket.socket
) -> tuple[int, int]:
    """Start the container's process on this kernel."""
    resources = (record["spec"].get("linux") or {}).get("resources") or {}
    pid, born = birth.clone(made, context, group, resources, ours)
    for fd in context.stdio:
        os.close(fd)
    try:
        birth.let_on(made, group, resources, ours, pid, born)
        at_hooks = None
        if context.hooks:
            from ..monitor import hooks

            def at_hooks() -> None:
                hooks.run(("prestart", "createRuntime"), context, pid)

        console = child_channel.await_start(ours, pid, _announcer(record), at_hooks)
        if context.hooks:
            hooks.run(("poststart",), context, pid)
        return pid, console
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise


def _announcer(record: LaunchRecord) -> Callable[[int, int], None] | None:
    """Return the function that notifies the seccomp agent of a filter with notifications; None for other filters."""
    profile = (record["spec"].get("linux") or {}).get("seccomp")
    if not profile:
        return None
    from ..apply import seccomp_notify

    container_state = seccomp_notify.state_of(record["id"], "creating", record["directory"], record["spec"])
    return seccomp_notify.announcer(profile, container_state)


def begin(record: ExecRecord) -> Joined:
    """Start another program in a running container, as a child of this process or with a keeper: see `join.begin`."""
    if record.get("machine"):
        from ..machine import calls

        return calls.begin(record)
    from ..process import join

    return join.begin(record)


def prepare(record: ExecRecord) -> None:
    """Import and work out what `begin` needs, for the processes that are forked from this one."""
    if record.get("machine"):
        from ..machine import calls  # noqa: F401

        return
    from ..process import join

    join.prepare(record)


def ran_out_of_memory(record: StepRecord, group: Group) -> bool:
    """Return whether the kernel has killed a program of the container, which has ended, for want of memory."""
    if group.out_of_memory():
        return True
    if "machine" in record:
        from ..machine import driver

        return driver.ran_out_of_memory(record["around"]["state"])
    return False


def clean(record: LaunchRecord) -> None:
    """Take down what a driver keeps outside the control group. Raises OSError."""
    if "runtime" in record:
        from . import otherruntime

        otherruntime.delete(record["runtime"], record["state"], record["id"])
