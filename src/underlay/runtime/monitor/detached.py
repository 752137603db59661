"""Processes that monitors start and that belong to nobody but process 1: name servers, what mends the firewall."""

from __future__ import annotations

import os

GIVEN = 3  # the number of the descriptor that such a process is given


def start(command: list[str], descriptor: int) -> None:
    """Start a process with a duplicate of a descriptor. Its first process has to fork and end at once. Raises OSError."""
    # A duplicate, as a descriptor keeps being closed by the exec where it has the wanted number already.
    given = os.dup(descriptor)
    try:
        os.set_inheritable(given, given == GIVEN)
        actions = [(os.POSIX_SPAWN_DUP2, given, GIVEN)] if given != GIVEN else []
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        child = os.posix_spawn(command[0], command, environment, file_actions=actions, setsigmask=())
    finally:
        os.close(given)
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller lets the kernel wait for its children


def begin() -> None:
    """In such a process: leave the caller to itself. Nothing of its is kept but the given descriptor: no terminal,
    directory, other descriptors or signals."""
    import _signal

    from ...linux import process

    if os.fork() != 0:
        os._exit(0)  # the caller waits for this one
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    nothing = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    process.close_from(3, (GIVEN,))
    os.set_inheritable(GIVEN, False)
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
