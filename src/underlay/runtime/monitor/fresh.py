"""A monitor that is not forked by its caller: for programs that live on, and may have threads.

It is an interpreter of its own, or, where many are started, forked by one that waits for that: the fork server.
"""

from __future__ import annotations

import _socket
import _thread
import os

from ..process import interpreter
from . import control, launch
from .attachment import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .records import LaunchRecord


def spawn(record: LaunchRecord, attachment: Attachment | None, lock: int, hold: int) -> _socket.socket:
    """Start the monitor of a launch record and return the control socket to it; see `launch.spawn`.

    Raises InvalidInput and Unsupported for a specification that cannot be planned, KernelError.
    """
    # The monitor plans again; here mistakes in the specification are exceptions of their own kinds.
    launch.prepare(record)
    code = "from underlay.runtime.monitor.fresh import main; main()"
    pid, channel = interpreter.start(record["python"], record["import_path"], code)
    streams, given = _streams(attachment)
    interpreter.send(channel, {"launch": record, "attachment": given}, [lock, hold, *streams])
    interpreter.reap(pid)
    return channel


def main() -> NoReturn:
    """Run as the monitor that the parent requests, as a child of process 1: it must not become a zombie of the parent."""
    if os.fork() != 0:
        os._exit(0)
    channel, handover, (lock, hold, *streams) = interpreter.receive()
    launch.serve(handover["launch"], None, _attachment(handover["attachment"], streams), lock, hold, channel)


class ForkServer:
    """An interpreter that has imported what monitors need, and forks one for each container.

    It has one thread, and ends with this process; its monitors go on. Several threads may use it.
    """

    __slots__ = ("_channel", "_lock", "_pid")

    def __init__(self) -> None:
        self._channel: _socket.socket | None = None
        self._pid = 0
        self._lock = _thread.allocate_lock()

    def get_ready(self) -> None:
        """Start the interpreter if there is none: a monitor will be asked for soon. Raises KernelError."""
        with self._lock:
            self._started()

    def _started(self) -> _socket.socket:
        if self._channel is None:
            from ...paths import interpreter as places

            code = "from underlay.runtime.monitor.fresh import serve_forks; serve_forks()"
            self._pid, self._channel = interpreter.start(*places(), code)
        return self._channel

    def spawn(self, record: LaunchRecord, attachment: Attachment | None, lock: int, hold: int) -> _socket.socket:
        """Start the monitor of a launch record and return the control socket to it: see `spawn`."""
        launch.prepare(record)
        streams, given = _streams(attachment)
        ours, theirs = control.pair()
        request = {"launch": record, "attachment": given}
        try:
            with self._lock:
                if not interpreter.send(self._started(), request, [theirs.fileno(), lock, hold, *streams]):
                    self._forget()
                    interpreter.send(self._started(), request, [theirs.fileno(), lock, hold, *streams])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def _forget(self) -> None:
        """Note that somebody has killed the interpreter."""
        assert self._channel is not None
        self._channel.close()
        self._channel = None
        interpreter.reap(self._pid)


def serve_forks() -> NoReturn:
    """Run as the fork server: fork a monitor for each request, until the parent closes the socket."""
    import gc

    from ...linux import libc, process

    os.setsid()  # what a terminal's user interrupts is the parent
    process.set_name("underlay-forks")
    channel = interpreter.opened()
    libc.load()
    # What collecting garbage touches would have to be copied for each monitor.
    gc.collect()
    gc.freeze()
    while True:
        handover, (theirs, lock, hold, *streams) = interpreter.request(channel)
        _fork(channel, handover, theirs, lock, hold, streams)
        for fd in (theirs, lock, hold, *streams):
            if fd >= 0:
                os.close(fd)


def _fork(channel: _socket.socket, handover: Any, theirs: int, lock: int, hold: int, streams: list[int]) -> None:
    """Fork a monitor, as a child of process 1; `theirs` is the control socket's end for it."""
    try:
        child = os.fork()
    except OSError as error:
        message = f"cannot start a monitor: {error.strerror}"
        caller = _socket.socket(fileno=os.dup(theirs))
        control.send(caller, {"failed": {"message": message, "code": 125}})
        caller.close()
        return
    if child != 0:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            channel.close()
            attachment = _attachment(handover["attachment"], streams)
            launch.serve(handover["launch"], None, attachment, lock, hold, _socket.socket(fileno=theirs))
    finally:
        os._exit(0)


def _streams(attachment: Attachment | None) -> tuple[list[int], dict[str, object] | None]:
    """Return the descriptors of an attachment, and what else there is to know of it."""
    if attachment is None:
        return [-1, -1, -1], None
    streams = [attachment.stdin, attachment.stdout, attachment.stderr]
    return streams, {"keys": [*attachment.keys], "removes": attachment.removes}


def _attachment(given: Any, streams: list[int]) -> Attachment | None:
    """Return the attachment of which `_streams` told."""
    if given is None:
        return None
    stdin, stdout, stderr = streams
    return Attachment(stdin, stdout, stderr, bytes(given["keys"]), given["removes"])
