"""A process between a program that uses the library and its execs in containers: it waits for these at once.

A container ends when its processes are gone, and a process is gone when its parent has waited for it
(pid_namespaces(7)). A Python program may wait for its exec late, or never; until then neither the container
nor its removal could end. The keeper is an interpreter of its own: its caller may have threads, and is not forked.
"""

from __future__ import annotations

import _signal
import _socket
import os

from ...errors import KernelError, UnderlayError, from_message, to_message
from ...linux import process
from ..monitor import control
from . import interpreter, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..monitor.records import ExecRecord, Message


def start(python: str, import_path: list[str], record: ExecRecord) -> join.Joined:
    """Return what `join.begin(record)` returns, done by a keeper. Raises what that raises.

    For a program that is not detached it sends {"exited": its exit code} through the `keeper` of what is returned.
    """
    code = "from underlay.runtime.process.keeper import main; main()"
    pid, channel = interpreter.start(python, import_path, code)
    interpreter.send(channel, record)
    interpreter.reap(pid)
    message, fds = control.receive(channel)
    if message is None or "pid" not in message:
        channel.close()
        if message is not None and "error" in message:
            raise from_message(message["error"])
        raise UnderlayError("the process that executes programs in the container was killed", "is there enough memory?")
    joined = join.Joined(message["pid"], fds.pop(0) if message["pidfd"] else -1)
    joined.keeper = channel
    if message["console"]:
        joined.console = fds.pop(0)
    joined.outputs = [(fds.pop(0), stream) for stream in message["outputs"]]
    if message["stdin"]:
        joined.stdin = fds.pop(0)
    return joined


def main() -> NoReturn:
    """Run as the keeper that the parent requests, as a child of process 1: it must not become a zombie of the parent."""
    channel, record, _ = interpreter.receive()
    if os.fork() != 0:
        os._exit(0)
    try:
        os.setsid()
        process.set_name("underlay-keeper")
        for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE, _signal.SIGQUIT, _signal.SIGTERM):
            _signal.signal(number, _signal.SIG_IGN)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        joined = join.begin(record)
        _hand_over(joined, channel)
        if not record["detach"]:
            code = os.waitstatus_to_exitcode(os.waitpid(joined.pid, 0)[1])
            control.send(channel, {"exited": code})
    except UnderlayError as error:
        control.send(channel, {"error": to_message(error)})
    except OSError as error:
        control.send(channel, {"error": to_message(KernelError("exec", "", error.errno or 5))})
    finally:
        os._exit(0)


def _hand_over(joined: join.Joined, channel: _socket.socket) -> None:
    """Send what the caller needs of the program, and hold nothing of the caller's any more."""
    fds = [joined.pidfd, joined.console, *(fd for fd, _ in joined.outputs), joined.stdin]
    message: Message = {
        "pid": joined.pid,
        "pidfd": joined.pidfd >= 0,
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
