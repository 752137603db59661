"""Runs one program to its end in a container without a monitor: a step of a build.

The caller is a process of its own with one thread, and the container's parent: it waits, and takes down what it has put
up. It has a lifeline: a socket; when its other end is closed, the container is killed.
"""

from __future__ import annotations

import os
import select

from ...errors import UnderlayError
from ...linux import cgroup, process
from .. import drivers
from ..apply import identity
from ..monitor import control, launch
from ..plan.context import Context
from . import child_channel, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from .. import plan
    from ..monitor.records import StepRecord


class Ended:
    """The result of a program: its exit `code` as a shell reports it; whether it ran out of memory, or was abandoned."""

    __slots__ = ("abandoned", "code", "out_of_memory")

    def __init__(self, code: int, out_of_memory: bool, abandoned: bool) -> None:
        self.code = code
        self.out_of_memory = out_of_memory
        self.abandoned = abandoned


def run(record: StepRecord, sources: dict[str, int], stdio: tuple[int, ...], lifeline: _socket.socket) -> Ended:
    """Run the program of a step's record, on this kernel or in a machine.

    `sources` are unattached mounts by destination, "/" being the root's, and `stdio` the program's three streams; both are
    closed. Raises StartFailed, KernelError, Unsupported, InvalidInput; nothing is left then.
    """
    made = None if "machine" in record else launch.prepare(record)
    ours, theirs = control.pair()
    context = Context()
    context.channel = theirs
    context.seccomp = bytes.fromhex(record["seccomp"])
    context.environment = dict(pair.split("=", 1) for pair in record["spec"]["process"].get("env") or [] if "=" in pair)
    context.stdio = stdio
    # The step lives in the user namespace that we are in ourselves.
    context.groups_denied = not identity.may_setgroups("self")
    group = cgroup.open_group(record["cgroup"], record["rootless"])
    pid = pidfd = -1
    try:
        if made is None:
            from ..machine import driver, guest

            pid, _ = driver.start(guest.of_step(record, sources), context, group, ours, lifeline=lifeline.fileno())
        else:
            pid = _start(record, made, sources, context, group, ours)
        pidfd = process.pidfd_open(pid)
        return _watched(record, pid, pidfd, group, lifeline)
    finally:
        ours.close()
        if pidfd >= 0:
            os.close(pidfd)
        try:
            group.kill()
        finally:
            group.remove()


def _start(
    record: StepRecord,
    made: plan.Plan,
    sources: dict[str, int],
    context: Context,
    group: cgroup.Group,
    ours: _socket.socket,
) -> int:
    """Start the program on this kernel; returns its pid."""
    resources = (record["spec"].get("linux") or {}).get("resources") or {}
    spawn.prepare(made, context)
    context.sources.update(sources)
    pid, born = spawn.clone(made, context, group, resources, ours)
    try:
        for fd in context.stdio:
            os.close(fd)
        spawn.let_on(made, group, resources, ours, pid, born)
        child_channel.await_start(ours, pid)
        return pid
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise


def _watched(record: StepRecord, pid: int, pidfd: int, group: cgroup.Group, lifeline: _socket.socket) -> Ended:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(lifeline.fileno(), select.POLLIN | select.POLLHUP)
    abandoned = False
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if pidfd in ready:
            break
        # Nothing is ever sent over the lifeline: it has been closed.
        abandoned = True
        poll.unregister(lifeline.fileno())
        try:
            os.kill(pid, 9)
        except ProcessLookupError as error:
            raise UnderlayError("the step's process has vanished") from error
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return Ended(code if code >= 0 else 128 - code, drivers.ran_out_of_memory(record, group), abandoned)
