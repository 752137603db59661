"""A monitor forked in advance: it imports what it needs while the command line still prepares the container.

The command line uses it for `run`: the two processors of even a small machine then import side by side, and the monitor
is the smaller for never having loaded what the command needs. Imports almost nothing.
"""

from __future__ import annotations

import gc
import os

from . import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import NoReturn

    from .attachment import Attachment
    from .records import LaunchRecord


class Standby:
    """The parent's end of a waiting monitor. It exits by itself when this process exits without using it."""

    __slots__ = ("_channel",)

    def __init__(self) -> None:
        """Fork; the caller must have one thread and is expected to end soon, since the monitor is its child."""
        self._channel, theirs = control.pair()
        if os.fork() == 0:
            self._channel.close()
            _wait(theirs)
        theirs.close()

    def spawn(self, record: LaunchRecord, attachment: Attachment | None, lock: int, hold: int) -> _socket.socket:
        """Hand the launch record over and return the control socket; see `launch.spawn`.

        A specification that cannot be planned comes back as {"failed": …}.
        """
        streams = None
        if attachment is not None:
            streams = [attachment.stdin, attachment.stdout, attachment.stderr, attachment.removes, *attachment.keys]
        handover = control.parcel(record, "underlay-launch")
        control.send(self._channel, {"launch": streams}, (handover, lock, hold))
        os.close(handover)
        return self._channel


def _wait(channel: _socket.socket) -> NoReturn:
    try:
        os.setsid()
        from ...linux import libc
        from . import launch
        from .attachment import Attachment

        libc.load()
        # The monitor forks once more: what collecting garbage touches would have to be copied then.
        gc.collect()
        gc.freeze()
        message, fds = control.receive(channel)
        if message is None or len(fds) != 3:
            os._exit(0)
        record = control.unpack(fds[0])
        attachment = None
        if message["launch"] is not None:
            stdin, stdout, stderr, removes, *keys = message["launch"]
            attachment = Attachment(stdin, stdout, stderr, bytes(keys), bool(removes))
        launch.serve(record, None, attachment, fds[1], fds[2], channel)
    finally:
        os._exit(125)
