"""Bringing up the first process of a container: mounts, clone, control group, id maps, synchronisation.

What a monitor and the runtime's program both do; they differ in whom the process answers to.
"""

from __future__ import annotations

import os

from ...linux import process
from . import child_channel, init
from . import clone as cloning

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ...linux.cgroup import Group
    from ...linux.specification import Resources
    from ..plan import Plan
    from ..plan.context import Context


def prepare(made: Plan, context: Context) -> None:
    """Make the mounts that only we can make, into `context.sources`. Raises KernelError, Unsupported."""
    if made.in_user or any(o[0] == "disk" or (o[0] == "bind" and "idmap" in o[4]) for o in made.operations):
        context.sources = cloning.sources(made.operations, made.in_user, made.maps)


def clone(
    made: Plan,
    context: Context,
    group: Group,
    resources: Resources,
    ours: _socket.socket,
    passed: tuple[int, ...] = (),
) -> tuple[int, bool]:
    """Clone the process, which applies the plan; returns its pid and whether it was born in the group.

    `context.channel` is its end of the setup socket and `ours` the other; it keeps its streams, its sources and `passed`.
    With version 2 the group is made first; with version 1 the process prepares its root while `let_on` makes it. The
    caller must have one thread. Raises KernelError, Unsupported, InvalidInput.
    """
    if group.version == "v2":
        group.create(resources)
        pid, born = cloning.birth(made, group)
    else:
        pid, born = cloning.clone(made), False
    if pid == 0:
        context.group = None if born else group
        context.admitted = made.in_user
        ours.close()
        process.prctl(process.PR_SET_PDEATHSIG, 9)
        process.close_from(3, (context.channel.fileno(), *context.stdio, *context.sources.values(), *passed))
        if not made.in_user:
            process.undumpable()
        init.run(made.operations, context)
    context.channel.close()
    for fd in context.sources.values():
        os.close(fd)
    return pid, born


def let_on(made: Plan, group: Group, resources: Resources, ours: _socket.socket, pid: int, born: bool) -> None:
    """Write the id maps, make the group unless it is made, move the process in where it cannot move itself; open the gates.

    Raises KernelError, Unsupported, InvalidInput.
    """
    if made.mappings is not None:
        from ...linux import userns

        userns.write(pid, *made.mappings)
        child_channel.open_gate(ours, b"mapped")
    if group.version != "v2":
        group.create(resources)
    if made.in_user and not born:
        group.admit(pid)
    child_channel.open_gate(ours, b"grouped")
