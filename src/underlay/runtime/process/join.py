"""Another program in a running container: join its cgroup and namespaces, then become the program.

A first child joins; since a process cannot change its own pid namespace, it clones a sibling inside, which is our child
too (CLONE_PARENT) and becomes the program. What clones is no interpreter any more but the tiny program of
`runtime.laststep`, with the filter and the rights that the program will have: so nothing else of ours is ever seen in the
container (attacks RT-03).
"""

from __future__ import annotations

import os

from ...errors import KernelError, StartFailed
from ...linux import cgroup, libc, process
from ...linux.security import capabilities
from ..apply import identity, process_ops
from ..monitor import control, streams
from ..plan.context import Context
from . import child_channel, init

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn

    from ..monitor.records import ExecRecord
    from ..plan.context import Operation


ESRCH = 3


class Alone:
    """What the runtime's command line asks for beyond the engine's: descriptors, out-of-memory score, processors."""

    __slots__ = ("first_processors", "oom_score", "preserved", "processors")

    def __init__(self) -> None:
        self.preserved: tuple[int, ...] = ()
        self.oom_score = ""
        self.first_processors: list[int] = []  # until the control group has been entered
        self.processors: list[int] = []  # from then on


class Joined:
    """A program started in a container: its pid, and the caller's ends of its streams.

    The caller waits for it, unless there is a `keeper`: the socket to the keeper process that does (see `keeper`).
    """

    __slots__ = ("console", "keeper", "outputs", "pid", "pidfd", "stdin")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.keeper: _socket.socket | None = None
        self.console = -1
        self.outputs: list[tuple[int, int]] = []  # (descriptor, stream)
        self.stdin = -1


def start(
    pid: int,
    when: int,
    namespaces: list[str],
    group: cgroup.Group,
    operations: list[Operation],
    environment: dict[str, str],
    program_filter: bytes,
    terminal: bool,
    open_stdin: bool,
    detach: bool,
    announce: Callable[[int, int], None] | None = None,
    alone: Alone | None = None,
) -> Joined:
    """Start `operations` (they end in `execute`) in the container of process `pid`; raises StartFailed, KernelError.

    `namespaces` are the kinds that the container does not share with us; `when` is the start time of `pid`. `announce` is
    given the pid and the listener of a filter that asks (it closes it). With `alone` the program gets the caller's own
    streams, and what else is asked for there.
    """
    init.prepare(operations)
    capabilities.last_known_cached()
    try:
        target = process.pidfd_open(pid)
    except KernelError as error:
        if error.errno != ESRCH:
            raise
        raise StartFailed("the container has just ended", 125) from None
    if process.start_time(pid) != when:
        os.close(target)
        raise StartFailed("the container has just ended", 125)
    context = Context()
    context.seccomp = program_filter
    context.environment = environment
    owner = (-1, -1)
    if "user" in namespaces:
        from ...linux import userns

        context.groups_denied = not identity.may_setgroups(str(pid))
        uids, gids = userns.maps_of(pid)
        owner = userns.outside(0, uids), userns.outside(0, gids)
    flags = 0
    for kind in namespaces:
        flags |= process.NAMESPACES[kind][1]
    ours, theirs = control.pair()
    context.channel = theirs
    outputs: list[tuple[int, int]] = []
    given = -1
    if alone is not None:
        context.stdio = (0, 1, 2)
    elif not terminal:
        if detach:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            context.stdio = (null, null, null)
        else:
            out, out_end = streams.output_pipe()
            err, err_end = streams.output_pipe()
            outputs = [(out, streams.STDOUT), (err, streams.STDERR)]
            if open_stdin:
                in_end, given = streams.input_pipe()
            else:
                in_end = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            context.stdio = (in_end, out_end, err_end)
            if os.geteuid() == 0:
                streams.give(context.stdio, *owner)
    helper, born = _fork_into(group)
    if helper == 0:
        ours.close()
        context.group = None if born else group
        _join(target, flags, operations, context, detach and alone is None, alone or Alone())
    theirs.close()
    os.close(target)
    for fd in dict.fromkeys(context.stdio if alone is None else ()):
        os.close(fd)
    report = child_channel.StartReport()
    try:
        # The channel's end means that both have executed their programs, or are gone.
        child_channel.listen(ours, report, announce)
        os.waitpid(helper, 0)
        helper = -1
        if report.failure is not None:
            raise report.failure
        if report.pid < 0:
            raise StartFailed("the process that joins the container has ended early", 125)
    except BaseException:
        if helper > 0:
            os.waitpid(helper, 0)
        if report.pid > 0 and not detach:
            os.waitpid(report.pid, 0)
        if report.console >= 0:
            os.close(report.console)
        for fd, _ in outputs:
            os.close(fd)
        if given >= 0:
            os.close(given)
        raise
    finally:
        ours.close()
    try:
        pidfd = process.pidfd_open(report.pid)
    except KernelError as error:
        if error.errno != ESRCH or not detach or alone is not None:
            raise
        pidfd = -1  # what is detached is not ours, and may be gone
    joined = Joined(report.pid, pidfd)
    joined.outputs, joined.stdin, joined.console = outputs, given, report.console
    return joined


def begin(record: ExecRecord) -> Joined:
    """Start a program in a container as a child of this process: see `start`, whose arguments `record` has.

    `group` has the arguments of `cgroup.open_group`, `operations` and `extras` those of `plan.for_exec` and
    `plan.Extras`; `filter` is in hexadecimal; `state` is the container state sent to the seccomp agent, None without one.
    """
    from .. import plan

    operations, state = record["operations"], record["state"]
    announce: Callable[[int, int], None] | None = None
    if state is not None:
        from ..apply import seccomp_notify

        announce = seccomp_notify.announcer(operations["profile"], state)
    return start(
        record["pid"],
        record["when"],
        record["namespaces"],
        cgroup.open_group(*record["group"]),
        plan.for_exec(extras=plan.Extras(**record["extras"]), **operations),
        record["environment"],
        bytes.fromhex(record["filter"]),
        record["terminal"],
        record["interactive"],
        record["detach"],
        announce,
    )


def prepare(record: ExecRecord) -> None:
    """Import and work out what `begin` needs, for the processes that are forked from this one: they need not do it."""
    from .. import plan

    init.prepare(plan.for_exec(extras=plan.Extras(**record["extras"]), **record["operations"]))
    capabilities.last_known_cached()
    cgroup.open_group(*record["group"])
    libc.load()


def _fork_into(group: cgroup.Group) -> tuple[int, bool]:
    """Fork, into the group where the kernel can; returns the pid and whether the child was born there."""
    if process.threaded():
        return process.clone(0), False
    group_fd = group.birthplace()
    try:
        return process.clone(0, group_fd), group_fd >= 0
    except KernelError:
        return process.clone(0), False
    finally:
        if group_fd >= 0:
            os.close(group_fd)


def _join(
    target: int, flags: int, operations: list[Operation], context: Context, detach: bool, alone: Alone
) -> NoReturn:
    """In the helper: become closed, enter the cgroup, join, and apply the operations.

    The helper stays outside the pid namespace, where the container cannot see it; the sibling that enters it is cloned
    by the tiny program that the helper becomes (attacks RT-03).
    """
    channel = context.channel
    try:
        os.setsid()
        process.undumpable()
        process.close_from(3, (target, channel.fileno(), *context.stdio, *alone.preserved))
        for fd in alone.preserved:
            os.set_inheritable(fd, True)
        if alone.oom_score:
            process_ops.write_proc(context, "self/oom_score_adj", alone.oom_score)
        if alone.first_processors:
            from ...linux import scheduling

            scheduling.set_processors(alone.first_processors)
        if context.group is not None:
            context.group.enter()
        if alone.processors:
            from ...linux import scheduling

            scheduling.set_processors(alone.processors)
        if any(operation[0] == "apparmor" for operation in operations):
            # The container's procfs is not to be trusted any more, and we are still in the pid namespace of this one.
            context.host_proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        process.setns(target, flags, "namespaces of the container")
        os.close(target)
        if flags & process.CLONE_NEWUSER:
            # The ids that we have outside do not exist inside. The change of ids makes this process dumpable again.
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            process.undumpable()
        # No process waits for a detached program: it becomes a child of the host's process 1, not a zombie of ours.
        context.sibling = 0 if detach else process.CLONE_PARENT
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        init.run(operations, context)
    except BaseException as error:
        init.report(context, ("join",), str(error), "", 125)
    finally:
        os._exit(125)
