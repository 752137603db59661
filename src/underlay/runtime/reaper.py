"""Process 1 of a container started with --init: passes signals to the program and reaps orphans."""

from __future__ import annotations

import _signal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ops import Context


def stay(context: Context) -> None:
    """Fork: the child returns and becomes the program, this process waits for all and ends as the program does."""
    everything = set(range(1, _signal.NSIG))
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
    try:
        context.channel.close()
    except OSError:
        pass
    for fd in (0, 1, 2):
        os.close(fd)
    _loop(child, everything)


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
