"""Process 1 of a container started with --init, by this interpreter: for processors without our tiny program.

What `reap` of tools/last_step.c does: signals are passed to the program, orphans reaped.
"""

from __future__ import annotations

import _signal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def loop(child: int, everything: set[int]) -> NoReturn:
    """Wait for all children, with all signals blocked, and exit with the result of `child`."""
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
