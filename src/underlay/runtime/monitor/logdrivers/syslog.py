"""A syslog service, by the formats that docker has: BSD as glibc writes it, RFC 3164, RFC 5424."""

from __future__ import annotations

import _socket
import os
import time

from . import sending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import LogFile

_LOCAL = ("/dev/log", "/var/run/syslog", "/var/run/log")
_SEVERITY = {1: 6, 2: 3}  # info, err


class Syslog:
    """A service at an address such as `udp://HOST:PORT` or `unixgram:///dev/log`; "" for this host's."""

    __slots__ = ("_address", "_facility", "_format", "_host", "_tag")

    def __init__(self, settings: LogFile) -> None:
        self._address = settings.get("address", "")
        self._facility = settings.get("facility", 3)
        self._format = settings.get("format", "")
        self._tag = settings.get("tag", "")
        self._host = os.uname().nodename

    def connect(self) -> _socket.socket:
        """Return a connection; raises OSError."""
        scheme, _, place = self._address.partition("://")
        if scheme in ("unix", "unixgram"):
            return sending.local(place)
        if not scheme:
            return self._connect_local()
        host, _, port = place.rpartition(":")
        kind = _socket.SOCK_DGRAM if scheme == "udp" else _socket.SOCK_STREAM
        problem = OSError(111, os.strerror(111))
        for family, _, _, _, address in _socket.getaddrinfo(host.strip("[]"), int(port), 0, kind):
            made = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
            made.settimeout(2.0)
            try:
                made.connect(address)
                return made
            except OSError as error:
                made.close()
                problem = error
        raise problem

    def _connect_local(self) -> _socket.socket:
        problem = OSError(2, os.strerror(2))
        for path in _LOCAL:
            try:
                return sending.local(path)
            except OSError as error:
                problem = error
        raise problem

    def message(self, line: bytes, stream: int, partial: bool) -> bytes:
        """Return the message that says a line of a stream."""
        priority = self._facility << 3 | _SEVERITY.get(stream, 6)
        now = time.time()
        pid, tag, host = os.getpid(), self._tag, self._host
        if self._format in ("rfc5424", "rfc5424micro"):
            zone = time.strftime("%z", time.localtime(now))
            zone = f"{zone[:3]}:{zone[3:]}" if zone not in ("", "+0000") else "Z"
            micro = f".{int(now % 1 * 1e6):06}" if self._format == "rfc5424micro" else ""
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now)) + micro + zone
            head = f"<{priority}>1 {stamp} {host} {tag} {pid} {tag} - "
        else:
            stamp = time.strftime("%b %e %H:%M:%S", time.localtime(now))
            head = f"<{priority}>{stamp} {host + ' ' if self._format == 'rfc3164' else ''}{tag}[{pid}]: "
        return head.encode() + line + b"\n"
