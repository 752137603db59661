"""Writing a container's output to its log: drivers `local`, `json-file` and `none`. Imports almost nothing.

`local` keeps the bytes as they came, one record a read: 8 bytes time (ns since the epoch), 1 byte stream, 4 bytes length,
the bytes, 4 bytes length again so that a reader can go backwards; little-endian. `json-file` is docker's: one JSON
object a line. Files turn over at `max-size` into log.1, log.2, … up to `max-file` of them; with `compress` those from log.2
on end in .gz. What is sent elsewhere is in `logdrivers`.
"""

from __future__ import annotations

import os
import time

DRIVERS = ("local", "json-file", "journald", "syslog", "none")
HEADER, TRAILER = 13, 4
_PARTIAL = 16 << 10  # docker cuts longer lines into pieces of this size


class Log:
    """The log of one container. A write that fails (full disk) is recorded in `problem`; the container keeps running."""

    __slots__ = (
        "_fd",
        "_pending",
        "_size",
        "attributes",
        "compress",
        "driver",
        "keep",
        "limit",
        "path",
        "problem",
    )

    def __init__(
        self,
        path: str,
        driver: str,
        limit: int,
        keep: int,
        compress: bool = False,
        attributes: dict[str, str] | None = None,
    ) -> None:
        self.compress = compress
        self.attributes = attributes  # what each record says of the container (json-file)
        self.path = path
        self.driver = driver
        self.limit = limit  # bytes after which the file turns over; 0 is never
        self.keep = keep
        self.problem = ""
        self._fd = -1
        self._size = 0
        self._pending: dict[int, bytes] = {}  # unfinished lines by stream (json-file)
        if driver != "none":
            self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self.path, flags, 0o640)
            self._size = os.fstat(self._fd).st_size
            if self.driver == "local" and self._size:
                self._drop_torn_record()
        except OSError as error:
            self.problem = f"cannot open the log: {error.strerror}"

    def _drop_torn_record(self) -> None:
        """Cut off the half record that a killed monitor or a power cut has left: all after it would be unreadable."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if not is_end(fd, self._size):
                self._size = last_end(fd, self._size)
                os.ftruncate(self._fd, self._size)
        finally:
            os.close(fd)

    def write(self, stream: int, data: bytes) -> None:
        """Append what the container wrote to `stream` (1 or 2)."""
        if self.driver == "none":
            return
        now = time.time_ns()
        if self.driver == "local":
            length = len(data).to_bytes(4, "little")
            self._append((now.to_bytes(8, "little"), bytes((stream,)), length, data, length))
            return
        lines = (self._pending.pop(stream, b"") + data).split(b"\n")
        rest = lines.pop()
        out = [self._json(stream, line + b"\n", now) for line in lines]
        while len(rest) >= _PARTIAL:
            out.append(self._json(stream, rest[:_PARTIAL], now))
            rest = rest[_PARTIAL:]
        if rest:
            self._pending[stream] = rest
        batch: list[bytes] = []
        size = 0
        for piece in out:
            if self.limit and size and size + len(piece) > self.limit:
                self._append((b"".join(batch),))
                batch, size = [], 0
            batch.append(piece)
            size += len(piece)
        if batch:
            self._append((b"".join(batch),))

    def _json(self, stream: int, line: bytes, now: int) -> bytes:
        from ...human import rfc3339
        from ...lean.jsontext import dumps

        record = {
            "log": line.decode("utf-8", "replace"),
            "stream": "stderr" if stream == 2 else "stdout",
            **({"attrs": self.attributes} if self.attributes else {}),
            "time": rfc3339(now),
        }
        return dumps(record).encode() + b"\n"

    def _append(self, parts: tuple[bytes, ...]) -> None:
        if self._fd < 0:
            self._open()  # after a full disk there may be space again
            if self._fd < 0:
                return
        total = sum(map(len, parts))
        try:
            if self.limit and self._size and self._size + total > self.limit:
                self._turn_over()
            before = self._size
            written = os.writev(self._fd, parts)
            if written < total:
                # A short write means a full disk: half a record would spoil the file.
                os.ftruncate(self._fd, before)
                raise OSError(28, os.strerror(28))
            self._size += total
        except OSError as error:
            self.problem = f"output lost to the log: {error.strerror}"

    def _turn_over(self) -> None:
        os.close(self._fd)
        self._fd = -1
        for number in range(self.keep - 1, 0, -1):
            older = f"{self.path}.{number}"
            newer = f"{self.path}.{number - 1}" if number > 1 else self.path
            for suffix in ("", ".gz"):
                try:
                    os.rename(newer + suffix, older + suffix)
                except FileNotFoundError:
                    pass
        if self.keep <= 1:
            os.unlink(self.path)
        if self.compress:
            # One turn late: who follows the log reads on in log.1.
            self._compress(self.path + ".2")
        self._open()

    def _compress(self, path: str) -> None:
        import zlib

        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        try:
            with open(path, "rb") as source, open(path + ".gz.part", "wb") as target:
                os.fchmod(target.fileno(), 0o640)
                while piece := source.read(1 << 18):
                    target.write(packer.compress(piece))
                target.write(packer.flush())
            os.rename(path + ".gz.part", path + ".gz")
            os.unlink(path)
        except FileNotFoundError:
            pass  # there are not yet so many

    def unfinished(self) -> dict[str, str]:
        """Return the unfinished lines by stream, in hexadecimal digits, for a later interpreter to go on with."""
        return {str(stream): data.hex() for stream, data in self._pending.items()}

    def resume(self, unfinished: dict[str, str], problem: str) -> None:
        """Continue where the previous process image stopped."""
        self._pending = {int(stream): bytes.fromhex(data) for stream, data in unfinished.items()}
        self.problem = self.problem or problem

    def close(self) -> None:
        """Write unfinished lines and close."""
        for stream, rest in sorted(self._pending.items()):
            self._append((self._json(stream, rest, time.time_ns()),))
        self._pending.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_end(fd: int, position: int) -> bool:
    """Return whether a record of the driver `local` ends at a position, or the file begins there."""
    length = int.from_bytes(os.pread(fd, TRAILER, position - TRAILER), "little") if position >= TRAILER else 0
    start = position - TRAILER - length - HEADER
    return not position or (start >= 0 and os.pread(fd, 4, start + 9) == length.to_bytes(4, "little"))


def last_end(fd: int, size: int) -> int:
    """Return where the last whole record of the first `size` bytes ends, found from the beginning of the file."""
    good = 0
    while good + HEADER <= size:
        length = int.from_bytes(os.pread(fd, 4, good + 9), "little")
        following = good + HEADER + length + TRAILER
        if following > size:
            break
        good = following
    return good
