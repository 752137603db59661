"""The child between clone and exec: applies the plan step by step, and reports the first step that fails."""

from __future__ import annotations

import _signal
import os
import sys

from ...errors import StartFailed, UnderlayError
from ...lean.jsontext import dumps
from ..apply import laststep, program, users
from ..plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..plan.context import Context, Operation

__all__ = ["prepare", "report", "run"]
_LOADED = (program, users)


def prepare(operations: list[Operation]) -> None:
    """Import now what the operations will need: after the root has changed, nothing may be looked up (attacks RT-33)."""
    ops.check_known(operations)
    names = {operation[0] for operation in operations}
    if not names.isdisjoint(("copy-up", "tmpfs-copy-up")):
        from ..apply import copyup  # noqa: F401
    if "secrets" in names:
        from ..apply import secretfiles  # noqa: F401
    if "console" in names:
        from ...linux import tty  # noqa: F401
    if "loopback" in names:
        import fcntl  # noqa: F401
    if "hooks" in names:
        import subprocess  # noqa: F401

        from ..apply import hooks  # noqa: F401
    if not names.isdisjoint(("scheduler", "io-priority", "personality")):
        from ...linux import scheduling  # noqa: F401
    if "seccomp" in names:
        from ...linux.security import seccomp  # noqa: F401
    if "apparmor" in names:
        from ...linux.security import apparmor  # noqa: F401
    if "landlock" in names:
        from ...linux.security import landlock  # noqa: F401
    for operation in operations:
        if operation[0] == "execute" and operation[2]:
            from . import reaper  # noqa: F401


def run(operations: list[Operation], context: Context) -> NoReturn:
    """Apply `operations` in order; the last one becomes the program. Never returns, never raises."""
    operation: Operation = ("begin",)
    try:
        # Nothing of the container's files may ever be imported: an import that was forgotten fails instead.
        sys.meta_path.clear()
        sys.path.clear()
        os.umask(0)
        # What we or the interpreter ignore, the program would inherit.
        for number in range(1, _signal.NSIG):
            if number not in (_signal.SIGKILL, _signal.SIGSTOP, 32, 33):
                _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        context.script = laststep.Script()
        for operation in operations:
            context.script.step = operation[0]
            ops.apply(operation, context)
    except UnderlayError as error:
        code = error.exit_code if isinstance(error, StartFailed) else 125
        report(context, operation, error.message, error.hint, code)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        report(context, operation, f"{operation[0]}{where}: {error.strerror}", "", 125)
    except BaseException as error:
        report(context, operation, f"{operation[0]}: {type(error).__name__}: {error}", "", 125)
    os._exit(125)


def report(context: Context, operation: Operation, message: str, hint: str, code: int) -> None:
    """Report to the parent which step failed and why; the parent turns this into an error message."""
    record = {"step": ops.describe(operation)[:500], "message": message[:4000], "hint": hint, "code": code}
    try:
        context.channel.send(b"!" + dumps(record).encode("utf-8", "replace"))
    except OSError:
        pass
