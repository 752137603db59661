"""The journal of systemd, by its own protocol (systemd, "Native Journal Protocol"); fields as docker's."""

from __future__ import annotations

from . import sending

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ..records import LogFile

SOCKET = "/run/systemd/journal/socket"
_PRIORITY = {1: b"6", 2: b"3"}  # info, err


class Journal:
    """The journal, with the fields of one container."""

    __slots__ = ("_fields", "_path")

    def __init__(self, settings: LogFile) -> None:
        self._path = settings.get("address") or SOCKET
        self._fields = b"".join(_field(key, value.encode()) for key, value in settings.get("fields", {}).items())

    def connect(self) -> _socket.socket:
        """Return a connection; raises OSError."""
        return sending.local(self._path)

    def message(self, line: bytes, stream: int, partial: bool) -> bytes:
        """Return the message that says a line of a stream."""
        text = _field("MESSAGE", line) + _field("PRIORITY", _PRIORITY.get(stream, b"6")) + self._fields
        return text + (b"CONTAINER_PARTIAL_MESSAGE=true\n" if partial else b"")


def _field(key: str, value: bytes) -> bytes:
    """Return a field; one with a line end in it has its length, as 64 bits, before it."""
    if b"\n" in value:
        return key.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return key.encode() + b"=" + value + b"\n"
