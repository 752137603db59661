"""A monitor in waiting: forked before its container is known, it loads what it needs while its parent finds out.

The command line uses it for `run`: the two processors of even a small machine then import side by side, and the monitor
is the smaller for never having loaded what the command needs. Imports almost nothing.
"""

from __future__ import annotations

import gc
import os

from ..jsontext import dumps, loads
from . import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, NoReturn

    from .attachment import Attachment


class Standby:
    """The parent's end of a waiting monitor. It ends by itself when this process ends without having used it."""

    __slots__ = ("_channel",)

    def __init__(self) -> None:
        """Fork; the caller must have one thread and is expected to end soon, since the monitor is its child."""
        self._channel, theirs = control.pair()
        if os.fork() == 0:
            self._channel.close()
            _wait(theirs)
        theirs.close()

    def spawn(self, record: dict[str, Any], attachment: Attachment | None, lock: int, hold: int) -> _socket.socket:
        """Hand the launch record over and return the control socket; see `launch.spawn`.

        A specification that cannot be planned comes back as {"failed": …}.
        """
        streams = None
        if attachment is not None:
            streams = [attachment.stdin, attachment.stdout, attachment.stderr, attachment.removes, *attachment.keys]
        handover = os.memfd_create("underlay-launch", os.MFD_CLOEXEC)
        with open(handover, "wb", buffering=0, closefd=False) as file:
            file.write(dumps(record).encode("utf-8", "surrogateescape"))
        control.send(self._channel, {"launch": streams}, (handover, lock, hold))
        os.close(handover)
        return self._channel


def _wait(channel: _socket.socket) -> NoReturn:
    try:
        os.setsid()
        from ..linux import libc
        from . import launch
        from .attachment import Attachment

        libc.load()
        # The monitor forks once more: what collecting garbage touches would have to be copied then.
        gc.collect()
        gc.freeze()
        message, fds = control.receive(channel)
        if message is None or len(fds) != 3:
            os._exit(0)
        size = os.fstat(fds[0]).st_size
        record: Any = loads(os.pread(fds[0], size, 0).decode("utf-8", "surrogateescape"))
        os.close(fds[0])
        attachment = None
        if message["launch"] is not None:
            stdin, stdout, stderr, removes, *keys = message["launch"]
            attachment = Attachment(stdin, stdout, stderr, bytes(keys), removes)
        launch.serve(record, None, attachment, fds[1], fds[2], channel)
    finally:
        os._exit(125)
