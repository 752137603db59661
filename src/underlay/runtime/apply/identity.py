"""Operations that set who the process is: ids, groups, session, streams, limits, capabilities, seccomp filter."""

from __future__ import annotations

import os
import stat

from ...errors import KernelError
from ...linux import libc, process
from ...linux.security import capabilities
from . import laststep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..plan.context import Context

EPERM, EAGAIN, EINVAL, ENOSYS = 1, 11, 22, 38
_NPROC = 6  # RLIMIT_NPROC (getrlimit(2))
_PEEK = 0x42  # MSG_PEEK | MSG_DONTWAIT


def become_root(context: Context) -> None:
    """Take uid and gid 0 of the new user namespace."""
    context.groups_denied = not may_setgroups("self")
    if not context.groups_denied:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def may_setgroups(pid: str) -> bool:
    """Return whether the user namespace of a process of the host's /proc lets setgroups(2) be used."""
    try:
        with open(f"/proc/{pid}/setgroups", encoding="ascii") as file:
            return file.read().strip() == "allow"
    except OSError:
        return True


def user(context: Context, user: str, groups: list[str]) -> None:
    """Find uid, gid, groups and home of `user` in the root's own /etc/passwd and /etc/group."""
    from . import users

    resolved = users.resolve(context.root, user, groups)
    context.uid, context.gid, context.groups, context.home = resolved


def ids(context: Context, uid: int, gid: int, groups: list[int]) -> None:
    """Take numbers as the OCI specification gives them; the home comes from /etc/passwd."""
    from . import users

    context.uid, context.gid, context.groups = uid, gid, list(groups)
    context.home = users.home_of(context.root, uid)


def session(context: Context) -> None:
    """Start a session, with the console as its terminal."""
    if context.sibling >= 0:
        # The process that will lead it is not yet born.
        context.script.add("session", "setsid")
        if context.console >= 0:
            from ...linux import tty

            context.script.add("session", "ioctl", 0, tty.TIOCSCTTY, 0, failure="take the terminal")
        return
    os.setsid()
    if context.console >= 0:
        from ...linux import tty

        tty.take_control(context.console)


def streams(context: Context) -> None:
    """Put the program's standard streams in place."""
    fds = (context.console,) * 3 if context.console >= 0 else context.stdio
    for number, fd in enumerate(fds):
        os.dup2(fd, number, inheritable=True)
    if context.console >= 0:
        os.fchown(0, context.uid, -1)
    elif context.uid:
        # As docker does: a program that is not root may open /dev/stdout again.
        for number in (0, 1, 2):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                try:
                    os.fchown(number, context.uid, -1)
                except OSError:
                    pass


def rlimit(context: Context, name: str, number: int, soft: int, hard: int) -> None:
    """Set one resource limit, as late as all that could break this process itself."""
    script = context.script
    values, tag, failure = script.place(process.limit(soft, hard)), "rlimit", f"set limit {name}"
    if number == _NPROC and context.sibling >= 0:
        # We are one process too many of that user until the program is born: lifted for that, if we may.
        script.add(tag, "prlimit64", 0, number, script.place(process.limit(-1, -1)), 0, errnos=(EPERM,))
        tag = "session"
    script.add(tag, "prlimit64", 0, number, values, 0, failure=failure)


def umask(context: Context, value: int) -> None:
    """Set the file mode creation mask."""
    os.umask(value)


def scheduler(context: Context, values: list[int]) -> None:
    """Set policy and priority of the process."""
    from ...linux import scheduling

    scheduling.set_attributes(values)


def io_priority(context: Context, word: int) -> None:
    """Set the I/O priority of the process."""
    from ...linux import scheduling

    scheduling.set_io_priority(word)


def personality(context: Context, word: int) -> None:
    """Set the execution domain of the process."""
    from ...linux import scheduling

    scheduling.set_personality(word)


def session_keyring(context: Context) -> None:
    """Start a session keyring of the container's own, so that it holds no key of the caller's (keyrings(7))."""
    join_session_keyring = 1
    if libc.syscall("keyctl", join_session_keyring, None, 0, 0, 0) < 0 and libc.errno() != ENOSYS:
        raise KernelError("new session keyring", "", libc.errno())


def no_new_privileges(context: Context) -> None:
    """Never gain privileges by executing a file (prctl(2))."""
    context.script.add("no-new-privs", "prctl", process.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def seccomp(context: Context, flags: int = 0, notify: bool = False) -> None:
    """Load the compiled system call filter; with `notify` its listener goes to the parent (seccomp_unotify(2))."""
    if not context.seccomp:
        return
    from ...linux.security import seccomp

    script = context.script
    # struct sock_fprog: a short, padding, a pointer.
    header = script.place(libc.words(8, len(context.seccomp) // 8, script.place(context.seccomp)))
    if notify:
        flags |= seccomp.NEW_LISTENER
        context.notifies = True
    script.add("seccomp", "seccomp", seccomp.SECCOMP_SET_MODE_FILTER, flags, header, keep=notify)
    if notify:
        script.listener = script.calls[-1]


def credentials(
    context: Context, bounding: int, permitted: int, inheritable: int, ambient: int, effective: int
) -> None:
    """Drop to the container's user and capabilities; groups are always set (attacks RT-19)."""
    context.capabilities = (bounding, permitted, inheritable, ambient, effective)
    script = context.script
    last = capabilities.last_known_cached()
    known = (1 << (last + 1)) - 1
    have = capabilities.permitted_now()
    for number in range(last + 1):
        if not bounding >> number & 1:
            script.add("credentials", "prctl", process.PR_CAPBSET_DROP, number, 0, 0, 0, failure="limit capabilities")
    unknown = (
        f"user {context.uid}:{context.gid} does not exist in this user namespace",
        "subordinate ids in /etc/subuid and /etc/subgid (and the package uidmap) give more ids than one",
        125,
    )
    cases = {str(EINVAL): unknown}
    if not context.groups_denied:
        groups = script.place(libc.words(4, *context.groups))
        script.add("credentials", "setgroups", len(context.groups), groups, failure="set groups", cases=cases)
    script.add("credentials", "setresgid", *[context.gid] * 3, failure="set group", cases=cases)
    script.add("credentials", "prctl", process.PR_SET_KEEPCAPS, 1, 0, 0, 0)
    script.add("credentials", "setresuid", *[context.uid] * 3, failure="set user", cases=cases)
    script.add("credentials", "prctl", process.PR_SET_KEEPCAPS, 0, 0, 0, 0)
    permitted &= known & have
    inheritable &= known & have
    if context.uid:
        # Another user than root starts with the ambient ones only, as after an exec by that user.
        permitted &= ambient
        effective = permitted
    version, sets = capabilities.words(permitted & effective, permitted, inheritable)
    script.add("credentials", "capset", script.place(version), script.place(sets), failure="set capabilities")
    script.add("credentials", "prctl", process.PR_CAP_AMBIENT, process.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(last + 1):
        if ambient & permitted & inheritable & 1 << number:
            raising = (process.PR_CAP_AMBIENT, process.PR_CAP_AMBIENT_RAISE, number)
            script.add("credentials", "prctl", *raising, 0, 0, failure="set ambient capabilities")
    # A change of ids sets this anew, to fs.suid_dumpable of the host (attacks RT-03).
    script.add("credentials", "prctl", process.PR_SET_DUMPABLE, 0, 0, 0, 0)


def untraced(context: Context) -> None:
    """Change the calls of `credentials`, in a process that is not the container's own, to leave out CAP_SYS_PTRACE.

    With it a hook could take over the process that waits for it, which has all rights until it becomes the program.
    """
    calls = context.script.calls
    places = [number for number, call in enumerate(calls) if call.tag == "credentials"]
    end = len(calls)
    credentials(context, *(mask & ~capabilities.mask(["CAP_SYS_PTRACE"]) for mask in context.capabilities))
    calls[places[0] : places[-1] + 1], calls[end:] = calls[end:], []


def die_with_monitor(context: Context) -> None:
    """Let the kernel kill this process with its monitor (set again: a change of user clears it, prctl(2))."""
    script = context.script
    slot = script.add("die-with-monitor", "prctl", process.PR_SET_PDEATHSIG, 9, 0, 0, 0, keep=True)
    # When it has died since the change of user, its end of the channel is closed.
    arguments = (context.channel.fileno(), laststep.address(slot), 1, _PEEK, 0, 0)
    script.add("die-with-monitor", "recvfrom", *arguments, errnos=(EAGAIN,), ends_on_zero=True)
