"""Drivers that send a container's output elsewhere, and keep a copy that `logs` reads. Imports almost nothing."""

from __future__ import annotations

from ..logs import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

    from ..records import LogFile
    from .sending import Sending


def open_log(settings: LogFile, poll: select.poll) -> Log | Sending:
    """Return the log that a launch record asks for."""
    driver = settings["driver"]
    if driver not in ("journald", "syslog"):
        keep, attributes = settings["keep"], settings.get("attributes")
        return Log(settings["path"], driver, settings["limit"], keep, settings.get("compress", False), attributes)
    from .sending import Sending

    copy = None
    if settings["keep"]:
        copy = Log(settings["path"], "local", settings["limit"], settings["keep"], settings.get("compress", False))
    if driver == "journald":
        from .journald import Journal

        return Sending(Journal(settings), settings, copy, poll)
    from .syslog import Syslog

    return Sending(Syslog(settings), settings, copy, poll)
