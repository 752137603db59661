"""Operations that make the process who it shall be: ids, groups, session, streams, limits, capabilities, filter."""

from __future__ import annotations

import os
import stat

from ..errors import KernelError, StartFailed
from ..linux import capabilities, libc, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context

EINVAL, ENOSYS = 22, 38
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

    found = users.resolve(context.root, user, groups)
    context.uid, context.gid, context.groups, context.home = found


def ids(context: Context, uid: int, gid: int, groups: list[int]) -> None:
    """Take numbers as the OCI specification gives them; the home comes from /etc/passwd."""
    from . import users

    context.uid, context.gid, context.groups = uid, gid, list(groups)
    context.home = users.home_of(context.root, uid)


def session(context: Context) -> None:
    """Start a session, with the console as its terminal."""
    os.setsid()
    if context.console >= 0:
        from ..linux import tty

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
    """Set one resource limit."""
    process.set_limit(name, number, soft, hard)


def umask(context: Context, value: int) -> None:
    """Set the file mode creation mask."""
    os.umask(value)


def session_keyring(context: Context) -> None:
    """Start a session keyring of the container's own, so that it holds no key of the caller's (keyrings(7))."""
    join_session_keyring = 1
    if libc.syscall("keyctl", join_session_keyring, None, 0, 0, 0) < 0 and libc.errno() != ENOSYS:
        raise KernelError("new session keyring", "", libc.errno())


def no_new_privileges(context: Context) -> None:
    """Never gain privileges by executing a file (prctl(2))."""
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)


def seccomp(context: Context) -> None:
    """Load the compiled system call filter."""
    if context.seccomp:
        from ..linux import seccomp

        seccomp.load(context.seccomp)


def credentials(context: Context, bounding: int, permitted: int, inheritable: int, ambient: int) -> None:
    """Drop to the container's user and capabilities; groups are always set (attacks RT-19)."""
    known = (1 << (capabilities.last_known_cached() + 1)) - 1
    capabilities.limit_bounding(bounding, capabilities.last_known_cached())
    try:
        if not context.groups_denied:
            os.setgroups(context.groups)
        os.setresgid(context.gid, context.gid, context.gid)
        process.prctl(process.PR_SET_KEEPCAPS, 1)
        os.setresuid(context.uid, context.uid, context.uid)
        process.prctl(process.PR_SET_KEEPCAPS, 0)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        raise StartFailed(
            f"user {context.uid}:{context.gid} does not exist in this user namespace",
            125,
            "subordinate ids in /etc/subuid and /etc/subgid (and the package uidmap) give more ids than one",
        ) from None
    have = capabilities.permitted_now()
    permitted &= known & have
    if context.uid:
        # Another user than root starts with the ambient ones only, as after an exec by that user.
        keep = permitted & ambient
        capabilities.apply(keep, keep, inheritable & have & known)
    else:
        capabilities.apply(permitted, permitted, inheritable & have & known)
    capabilities.set_ambient(ambient & permitted & inheritable)
    # A change of ids sets this anew, to fs.suid_dumpable of the host (attacks RT-03).
    process.undumpable()


def die_with_monitor(context: Context) -> None:
    """Let the kernel kill this process with its monitor (set again: a change of user clears it, prctl(2))."""
    process.prctl(process.PR_SET_PDEATHSIG, 9)
    try:
        if not context.channel.recv(1, _PEEK):
            os._exit(125)  # it has died since the change of user
    except BlockingIOError:
        pass
