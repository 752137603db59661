"""Processes: clone with namespaces, pidfds, prctl, descriptors closed, session and parent-death rules."""

from __future__ import annotations

import os
import sys

from ..errors import KernelError
from . import libc

CLONE_NEWTIME = 0x80
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17
EINVAL = 22

# Namespace types of the OCI runtime specification (config-linux, "Namespaces") and their file under /proc/PID/ns.
NAMESPACES = {
    "user": ("user", CLONE_NEWUSER),
    "mount": ("mnt", CLONE_NEWNS),
    "pid": ("pid", CLONE_NEWPID),
    "network": ("net", CLONE_NEWNET),
    "ipc": ("ipc", CLONE_NEWIPC),
    "uts": ("uts", CLONE_NEWUTS),
    "cgroup": ("cgroup", CLONE_NEWCGROUP),
    "time": ("time", CLONE_NEWTIME),
}

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4


def clone(flags: int, group: int = -1) -> int:
    """Fork into the new namespaces of `flags` (clone(2)); returns the child's pid, and 0 in the child.

    `group` is a descriptor of the cgroup (version 2) to be born in (clone3(2), CLONE_INTO_CGROUP, Linux 5.7): unlike a
    later move it costs nothing. Unlike unshare and fork this leaves the caller's own namespaces alone, user and pid
    namespaces included. Where the caller has other threads the C library's fork is used, which knows its locks, and only
    what needs no more may be asked for. Raises KernelError.
    """
    if threaded():
        if group >= 0 or flags & ~(CLONE_NEWUSER | CLONE_NEWNS):
            raise KernelError("clone in a process with several threads", "", EINVAL)
        return _fork_and_unshare(flags)
    arguments = None
    if group >= 0:
        # A sibling (CLONE_PARENT) takes over the signal of its maker; clone3 wants it unsaid.
        signal = 0 if flags & CLONE_PARENT else SIGCHLD
        arguments = libc.words(8, flags | CLONE_INTO_CGROUP, 0, 0, 0, signal, 0, 0, 0, 0, 0, group)
    python = libc.load().pythonapi
    python.PyOS_BeforeFork()
    if arguments is not None:
        pid = libc.syscall("clone3", arguments, len(arguments))
    else:
        pid = libc.syscall("clone", flags | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    number = libc.errno()
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        hint = ""
        if flags & CLONE_NEWUSER:
            hint = "user namespaces may be disabled: see /proc/sys/user/max_user_namespaces"
        raise KernelError("clone", "", number, hint)
    return pid


def threaded() -> bool:
    """Return whether this process has other Python threads: a raw clone could then meet a lock that is never released."""
    # Not `threading`, which knows only of those that it has started.
    return len(sys._current_frames()) > 1


def _fork_and_unshare(flags: int) -> int:
    """Fork; the parent returns when the child has made the namespaces of `flags`, as after a clone."""
    done, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(done)
        try:
            if flags:
                unshare(flags)
        except KernelError as error:
            os.write(report, bytes((error.errno & 0xFF,)))
            os._exit(1)
        os.write(report, b"\0")
        os.close(report)
        return 0
    os.close(report)
    answer = os.read(done, 1)
    os.close(done)
    if answer != b"\0":
        os.waitpid(pid, 0)
        raise KernelError("clone", "", answer[0] if answer else EINVAL)
    return pid


def unshare(flags: int) -> None:
    """unshare(2). Raises KernelError."""
    libc.check("unshare", "", "unshare", flags)


def setns(fd: int, flags: int, what: str = "") -> None:
    """Join the namespace(s) of `fd`: a namespace file, or a pidfd with several flags (Linux 5.8). Raises KernelError."""
    libc.check("setns", what, "setns", fd, flags)


def prctl(operation: int, first: int = 0, second: int = 0) -> int:
    """prctl(2) with integer arguments. Raises KernelError."""
    return libc.check(f"prctl {operation}", "", "prctl", operation, first, second, 0, 0)


def set_limit(name: str, number: int, soft: int, hard: int) -> None:
    """Set resource limit `number` (RLIMIT_*) of this process; -1 is no limit (prlimit(2)). Raises KernelError."""
    libc.check("set limit", name, "prlimit64", 0, number, limit(soft, hard), None)


def limit(soft: int, hard: int) -> bytes:
    """Return a struct rlimit64; -1 is no limit."""
    infinity = (1 << 64) - 1
    return libc.words(8, soft if soft >= 0 else infinity, hard if hard >= 0 else infinity)


def set_name(name: str) -> None:
    """Set the name by which ps(1) shows this thread (at most 15 bytes)."""
    libc.syscall("prctl", PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def undumpable() -> None:
    """Close this process to ptrace and to /proc/PID/{exe,fd,cwd,…} of the unprivileged (prctl(2), PR_SET_DUMPABLE)."""
    prctl(PR_SET_DUMPABLE, 0)


def close_from(lowest: int, keep: tuple[int, ...] = ()) -> None:
    """Close all descriptors from `lowest` on but those in `keep` (close_range(2), Linux 5.9)."""
    start = lowest
    for fd in sorted({*keep, 1 << 30}):
        if fd < lowest:
            continue
        if fd > start and libc.syscall("close_range", start, min(fd - 1, (1 << 31) - 1), 0) < 0:
            os.closerange(start, min(fd, os.sysconf("SC_OPEN_MAX")))
        start = fd + 1


def hide_from(lowest: int) -> None:
    """Have all descriptors from `lowest` on closed when a program is executed (close_range(2), Linux 5.11)."""
    if libc.syscall("close_range", lowest, (1 << 31) - 1, 4) < 0:
        for fd in range(lowest, os.sysconf("SC_OPEN_MAX")):
            try:
                os.set_inheritable(fd, False)
            except OSError:
                pass


def start_time(pid: int) -> int:
    """Return when process `pid` started, in clock ticks since boot (field 22 of /proc/PID/stat); 0 when it is gone.

    With the pid it names a process once and for all: a recycled pid has another start time.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    if fields[0] in (b"Z", b"X"):
        return 0
    return int(fields[19])


def pidfd_open(pid: int) -> int:
    """Return a descriptor of process `pid` (pidfd_open(2), Linux 5.3); raises KernelError."""
    return libc.check("pidfd_open", str(pid), "pidfd_open", pid, 0)
