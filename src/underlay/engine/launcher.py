"""How monitors are started: as interpreters of their own, or, quicker, forked by a process that ends with its command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ..runtime.monitor.attachment import Attachment
    from ..runtime.monitor.fresh import ForkServer
    from ..runtime.monitor.prefork import Standby
    from ..runtime.monitor.records import LaunchRecord


class Launcher:
    """Starts monitors for an engine.

    `leaving` says that this process has one thread and exits after its command, so that monitors are forked and may stay
    its children; `standby` is a pre-forked monitor for the first container, None without one. A program that keeps
    running may have threads: nothing is forked from it. One that starts many containers has a `fork_server` for them.
    """

    __slots__ = ("fork_server", "leaving", "standby")

    def __init__(self) -> None:
        self.leaving = False
        self.standby: Standby | None = None
        self.fork_server: ForkServer | None = None

    def get_ready(self) -> None:
        """Prepare for a monitor that will be started soon, as far as that can be done. Raises KernelError."""
        if self.fork_server is not None:
            self.fork_server.get_ready()

    def spawn(self, record: LaunchRecord, attachment: Attachment | None, lock: int, hold: int) -> _socket.socket:
        """Start the monitor of a launch record and return the control socket to it: see `runtime.monitor.launch.spawn`."""
        if self.standby is not None:
            standby, self.standby = self.standby, None
            return standby.spawn(record, attachment, lock, hold)
        if self.leaving:
            from ..runtime.monitor import launch

            return launch.spawn(record, attachment, lock, hold)
        if self.fork_server is not None:
            return self.fork_server.spawn(record, attachment, lock, hold)
        from ..runtime.monitor import fresh

        return fresh.spawn(record, attachment, lock, hold)
