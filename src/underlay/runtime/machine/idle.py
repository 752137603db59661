"""A machine for the files of a container that does not run: its disk is mounted there, and by no kernel of the host."""

from __future__ import annotations

import _socket
import os
import signal

from ...errors import UnderlayError, from_message, to_message
from ...linux import cgroup
from ..monitor import control, launch
from ..plan.context import Context
from ..process import interpreter
from . import driver, guest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..monitor.records import LaunchRecord

_PATIENCE = 30.0  # seconds that the machine has to write back


class Idle:
    """A machine that serves the files of a container, from `__enter__` to `__exit__`. The caller holds the container's
    lock, and what its image needs. Raises StartFailed, Unsupported, KernelError."""

    def __init__(self, record: LaunchRecord) -> None:
        self._record = record
        self._channel: _socket.socket | None = None

    def __enter__(self) -> Idle:
        code = "from underlay.runtime.machine.idle import main; main()"
        pid, channel = interpreter.start(self._record["python"], self._record["import_path"], code)
        interpreter.send(channel, self._record)
        interpreter.reap(pid)
        message, _ = control.receive(channel)
        if message is None or "started" not in message:
            channel.close()
            if message is not None and "error" in message:
                raise from_message(message["error"])
            raise UnderlayError("the process that runs the container's machine was killed")
        self._channel = channel
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel is not None:
            # No more comes: the machine is to end; then the other side closes.
            self._channel.shutdown(_socket.SHUT_WR)
            while control.receive(self._channel)[0] is not None:
                pass
            self._channel.close()
            self._channel = None


def main() -> NoReturn:
    """Run the machine for the parent, until that closes the socket, as a child of process 1."""
    channel, record, _ = interpreter.receive()
    if os.fork() != 0:
        os._exit(0)
    try:
        os.setsid()
        _run(channel, record)
    except UnderlayError as error:
        control.send(channel, {"error": to_message(error)})
    except OSError as error:
        failure = UnderlayError(f"{error.filename or 'machine'}: {error.strerror}")
        control.send(channel, {"error": to_message(failure)})
    finally:
        os._exit(0)


def _run(channel: _socket.socket, record: LaunchRecord) -> None:
    record["network"] = None
    record["terminal"] = False
    made = launch.prepare(record)
    ours, theirs = control.pair()
    context = Context()
    context.channel = theirs
    context.stdio = (
        os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC),
        *(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) for _ in "12"),
    )
    group = cgroup.open_group(record["cgroup"], record["rootless"])
    pid = -1
    try:
        pid, _ = driver.start(guest.of_container(record, made, True), context, group, ours, idle=True)
        control.send(channel, {"started": pid})
        while control.receive(channel)[0] is not None:
            pass
        os.kill(pid, signal.SIGTERM)
        signal.alarm(int(_PATIENCE))
        signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, 9))
        os.waitpid(pid, 0)
    finally:
        ours.close()
        group.kill()
        group.remove()
