"""Another program in a running container: join its cgroup and namespaces, then become the program.

A first child joins; since a process cannot change its own pid namespace, it clones a sibling inside, which is our child
too (CLONE_PARENT) and becomes the program. Until then both are closed to the container: not dumpable, and without any
descriptor of the host but their streams (attacks RT-03).
"""

from __future__ import annotations

import os

from ..errors import KernelError, StartFailed
from ..linux import capabilities, cgroup, process
from . import control, identity, init, launch, streams
from .context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .context import Operation

CLONE_PARENT = 0x8000


class Joined:
    """A program started in a container: its pid (ours to wait for), and our ends of its streams."""

    __slots__ = ("console", "outputs", "pid", "pidfd", "stdin")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = process.pidfd_open(pid)
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
) -> Joined:
    """Start `operations` (they end in `execute`) in the container of process `pid`; raises StartFailed, KernelError.

    `namespaces` are the kinds that the container does not share with us; `when` is the start time of `pid`.
    """
    init.prepare(operations)
    capabilities.last_known_cached()
    target = process.pidfd_open(pid)
    if process.start_time(pid) != when:
        os.close(target)
        raise StartFailed("the container has just ended", 125)
    context = Context()
    context.seccomp = program_filter
    context.environment = environment
    if "user" in namespaces:
        context.groups_denied = not identity.may_setgroups(str(pid))
    flags = 0
    for kind in namespaces:
        flags |= process.NAMESPACES[kind][1]
    ours, theirs = control.pair()
    context.channel = theirs
    outputs: list[tuple[int, int]] = []
    given = -1
    if not terminal:
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
    helper, born = _fork_into(group)
    if helper == 0:
        ours.close()
        context.group = None if born else group
        _join(target, flags, operations, context, detach)
    theirs.close()
    os.close(target)
    for fd in dict.fromkeys(context.stdio):
        os.close(fd)
    inside = -1
    try:
        first = ours.recv(launch.SETUP_LIMIT)
        os.waitpid(helper, 0)
        if first[:1] != b"p":
            _raise(first)
        inside = int(first[1:])
        console = launch.await_start(ours)
    except BaseException:
        if inside > 0 and not detach:
            os.waitpid(inside, 0)
        for fd, _ in outputs:
            os.close(fd)
        if given >= 0:
            os.close(given)
        raise
    finally:
        ours.close()
    joined = Joined(inside)
    joined.outputs, joined.stdin, joined.console = outputs, given, console
    return joined


def _fork_into(group: cgroup.Group) -> tuple[int, bool]:
    """Fork, into the group where the kernel can; returns the pid and whether the child was born there."""
    place = group.birthplace()
    try:
        return process.clone(0, place), place >= 0
    except KernelError:
        return process.clone(0), False
    finally:
        if place >= 0:
            os.close(place)


def _raise(message: bytes) -> NoReturn:
    from ..jsontext import loads

    if message[:1] == b"!":
        failure: Any = loads(message[1:])
        raise StartFailed(failure["message"], failure["code"], failure["hint"])
    raise StartFailed("the process that joins the container has ended early", 125)


def _join(target: int, flags: int, operations: list[Operation], context: Context, detach: bool) -> NoReturn:
    """In the helper: become closed, enter the cgroup, join, and clone the sibling that will be the program."""
    channel = context.channel
    try:
        os.setsid()
        process.undumpable()
        process.close_from(3, (target, channel.fileno(), *context.stdio))
        if context.group is not None:
            context.group.enter()
        process.setns(target, flags, "namespaces of the container")
        os.close(target)
        # A detached program is nobody's to wait for: it becomes a child of the host's process 1, not a zombie of ours.
        told, tell = os.pipe()
        pid = process.clone(0 if detach else CLONE_PARENT)
        if pid:
            channel.send(b"p%d" % pid)
            os._exit(0)
        # Nothing may be said before our pid has been: the helper's end, which closes the pipe, says that it has.
        os.close(tell)
        os.read(told, 1)
        os.close(told)
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        init.run(operations, context)
    except BaseException as error:
        init.report(context, ("join",), str(error), "", 125)
    finally:
        os._exit(125)
