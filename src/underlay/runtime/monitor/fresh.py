"""A monitor that is started as an interpreter of its own: for programs that live on, and may have threads."""

from __future__ import annotations

import _socket
import os

from ..process import interpreter
from . import launch
from .attachment import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .records import LaunchRecord


def spawn(record: LaunchRecord, attachment: Attachment | None, lock: int, hold: int) -> _socket.socket:
    """Start the monitor of a launch record and return the control socket to it; see `launch.spawn`.

    Raises InvalidInput and Unsupported for a specification that cannot be planned, KernelError.
    """
    # The monitor plans again; here mistakes in the specification are exceptions of their own kinds.
    launch.prepare(record)
    code = "from underlay.runtime.monitor.fresh import main; main()"
    pid, channel = interpreter.start(record["python"], record["import_path"], code)
    streams, given = [-1, -1, -1], None
    if attachment is not None:
        streams = [attachment.stdin, attachment.stdout, attachment.stderr]
        given = {"keys": [*attachment.keys], "removes": attachment.removes}
    interpreter.send(channel, {"launch": record, "attachment": given}, [lock, hold, *streams])
    interpreter.reap(pid)
    return channel


def main() -> NoReturn:
    """Run as the monitor that the parent requests, as a child of process 1: it must not become a zombie of the parent."""
    if os.fork() != 0:
        os._exit(0)
    channel, handover, (lock, hold, *streams) = interpreter.receive()
    attachment = None
    if handover["attachment"] is not None:
        stdin, stdout, stderr = streams
        attachment = Attachment(
            stdin, stdout, stderr, bytes(handover["attachment"]["keys"]), handover["attachment"]["removes"]
        )
    launch.serve(handover["launch"], None, attachment, lock, hold, channel)
