"""A process between a program that uses us as a library and what it executes in containers: it waits for it at once.

A container ends when its processes are gone, and a process is gone when its parent has waited for it. Whoever executes
something from Python may do so late, or never; until then neither the container nor who removes it could end.
"""

from __future__ import annotations

import _signal
import os

from ...errors import KernelError, UnderlayError, revived, told
from ...linux import process
from ..monitor import control
from .join import Joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn

    from ..monitor.records import Message


def start(begin: Callable[[], Joined]) -> Joined:
    """Return what `begin` (a call of `join.start`) returns, done by a process that waits for the program and then sends
    {"exited": its exit code} through the `keeper` of what is returned. Raises what that raises."""
    ours, theirs = control.pair()
    child = process.clone(0)
    if child == 0:
        # The fork in between gives the keeper away: it must not become a zombie of the caller's.
        if process.clone(0) != 0:
            os._exit(0)
        ours.close()
        _keep(begin, theirs)
    theirs.close()
    os.waitpid(child, 0)
    message, fds = control.receive(ours)
    if message is None or "pid" not in message:
        ours.close()
        if message is not None and "error" in message:
            raise revived(message["error"])
        raise UnderlayError("the process that executes programs in the container was killed", "is there enough memory?")
    joined = Joined(message["pid"], fds.pop(0))
    joined.keeper = ours
    if message["console"]:
        joined.console = fds.pop(0)
    joined.outputs = [(fds.pop(0), stream) for stream in message["outputs"]]
    if message["stdin"]:
        joined.stdin = fds.pop(0)
    return joined


def _keep(begin: Callable[[], Joined], channel: _socket.socket) -> NoReturn:
    try:
        os.setsid()
        process.set_name("underlay-keeper")
        for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE, _signal.SIGQUIT, _signal.SIGTERM):
            _signal.signal(number, _signal.SIG_IGN)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        joined = begin()
        _hand_over(joined, channel)
        code = os.waitstatus_to_exitcode(os.waitpid(joined.pid, 0)[1])
        control.send(channel, {"exited": code})
    except UnderlayError as error:
        control.send(channel, {"error": told(error)})
    except OSError as error:
        control.send(channel, {"error": told(KernelError("exec", "", error.errno or 5))})
    finally:
        os._exit(0)


def _hand_over(joined: Joined, channel: _socket.socket) -> None:
    """Send what the caller needs of the program, and hold nothing of the caller's any more."""
    fds = [joined.pidfd, joined.console, *(fd for fd, _ in joined.outputs), joined.stdin]
    message: Message = {
        "pid": joined.pid,
        "console": joined.console >= 0,
        "outputs": [stream for _, stream in joined.outputs],
        "stdin": joined.stdin >= 0,
    }
    control.send(channel, message, tuple(fd for fd in fds if fd >= 0))
    process.close_from(3, (channel.fileno(),))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.chdir("/")
