"""Process 1 of a container started with --init: passes signals to the program and reaps orphans.

It is a static program of 600 bytes (tools/reaper.c), run from sealed memory: nothing of the host can be reached through
it, whatever the container's rights. Where there is none for the processor, this interpreter does the same.
"""

from __future__ import annotations

import _signal
import binascii
import fcntl
import os

from .reaper_program import PROGRAMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context

F_ADD_SEALS = 1033
_ALL_SEALS = 0xF  # F_SEAL_SEAL, _SHRINK, _GROW, _WRITE (fcntl(2))
_PROGRAM = binascii.a2b_base64(PROGRAMS.get(os.uname().machine, ""))


def stay(context: Context) -> None:
    """Fork: the child returns and becomes the program, this process waits for all and ends as the program does."""
    everything = set(_signal.valid_signals())
    _signal.pthread_sigmask(_signal.SIG_BLOCK, everything)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        if context.console >= 0:
            try:
                os.tcsetpgrp(0, os.getpid())
            except OSError:
                pass
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, everything)
        return
    for fd in (0, 1, 2):
        os.close(fd)
    if _PROGRAM:
        _become_program(child)
    context.channel.close()
    _loop(child, everything)


def _become_program(child: int) -> None:
    """Execute the reaper; returns only when the kernel would not."""
    fd = os.memfd_create("init", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, _PROGRAM)
    fcntl.fcntl(fd, F_ADD_SEALS, _ALL_SEALS)
    try:
        os.execve(fd, ["init", str(child)], {})
    except OSError:
        os.close(fd)


def _loop(child: int, everything: set[int]) -> None:
    # Faults of this process itself must not be held back for ever.
    waited = everything - {_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGILL, _signal.SIGFPE, _signal.SIGABRT}
    while True:
        number = _signal.sigwait(waited)
        if number != _signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
