"""The records of a log's files, forwards and from the end on, in both formats (docs/decisions/0009-log-format.md)."""

from __future__ import annotations

import os
import time

from ...runtime.monitor import logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    Record = tuple[int, int, bytes]  # time in ns since the epoch, stream (1 or 2), bytes

_BLOCK = 64 << 10  # bytes read at once on the way back
_TRIES, _PAUSE = 20, 0.005  # for a record at the end to be whole: it may be written at this moment


class Local:
    """The format of the driver `local`."""

    @staticmethod
    def forwards(file: BinaryIO) -> Iterator[Record]:
        """Yield the records from the file's position on; an unfinished one stays for the next call."""
        while True:
            start = file.tell()
            head = file.read(logs.HEADER)
            if len(head) < logs.HEADER:
                file.seek(start)
                return
            length = int.from_bytes(head[9:13], "little")
            data = file.read(length)
            if len(data) < length or len(file.read(logs.TRAILER)) < logs.TRAILER:
                file.seek(start)
                return
            yield int.from_bytes(head[:8], "little"), head[8], data

    @staticmethod
    def end(fd: int) -> int:
        """Return where the last whole record ends."""
        for _ in range(_TRIES):
            size = os.fstat(fd).st_size
            if logs.is_end(fd, size):
                return size
            time.sleep(_PAUSE)
        return logs.last_end(fd, size)

    @staticmethod
    def backwards(fd: int, end: int) -> Iterator[Record]:
        """Yield the records before `end`, the last one first; what is damaged ends it."""
        low, block = end, b""  # what has been read: from `low` on
        least = logs.HEADER + logs.TRAILER
        while end >= least:
            if end - low < least:
                low = max(0, end - _BLOCK)
                block = os.pread(fd, end - low, low)
            length = int.from_bytes(block[end - low - logs.TRAILER : end - low], "little")
            start = end - logs.TRAILER - length - logs.HEADER
            if start < 0 or (start < low and os.pread(fd, 4, start + 9) != length.to_bytes(4, "little")):
                return
            if start < low:
                low = max(0, min(start, end - _BLOCK))
                block = os.pread(fd, end - low, low)
            head = block[start - low : start - low + logs.HEADER]
            if head[9:13] != length.to_bytes(4, "little"):
                return
            yield int.from_bytes(head[:8], "little"), head[8], block[start - low + logs.HEADER :][:length]
            end = start


class JsonFile:
    """The format of the driver `json-file`: docker's."""

    @staticmethod
    def forwards(file: BinaryIO) -> Iterator[Record]:
        """Yield the records from the file's position on; an unfinished one stays for the next call."""
        while True:
            start = file.tell()
            line = file.readline()
            if not line.endswith(b"\n"):
                file.seek(start)
                return
            record = _parsed(line)
            if record is not None:
                yield record

    @staticmethod
    def end(fd: int) -> int:
        """Return where the last whole record ends."""
        position = os.fstat(fd).st_size
        while position > 0:
            start = max(0, position - _BLOCK)
            newline = os.pread(fd, position - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            position = start
        return 0

    @staticmethod
    def backwards(fd: int, end: int) -> Iterator[Record]:
        """Yield the records before `end`, the last one first."""
        pieces: list[bytes] = []  # of the line whose beginning is not read yet, the last one first
        position = max(0, end - 1)
        while position > 0:
            start = max(0, position - _BLOCK)
            first, *lines = os.pread(fd, position - start, start).split(b"\n")
            if lines:
                pieces.append(lines.pop())
                for line in (b"".join(reversed(pieces)), *reversed(lines)):
                    record = _parsed(line)
                    if record is not None:
                        yield record
                pieces = []
            pieces.append(first)
            position = start
        record = _parsed(b"".join(reversed(pieces)))
        if record is not None:
            yield record


if TYPE_CHECKING:
    Format = type[Local] | type[JsonFile]


def format_of(driver: str) -> Format:
    """Return the format in which a driver writes."""
    return JsonFile if driver == "json-file" else Local


def _parsed(line: bytes) -> Record | None:
    """Return the record that a line is, None for what is damaged."""
    from ...human import parse_rfc3339_ns
    from ...lean.jsontext import known

    try:
        record: dict[str, str] = known(line)
        when = parse_rfc3339_ns(record["time"])
        return when, 2 if record["stream"] == "stderr" else 1, record["log"].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def last_lines(backwards: Iterable[Record], count: int) -> list[Record]:
    """Return the records of the last `count` lines, the first one first and cut if need be, of records that come the last
    one first; no more of these are asked for than that takes."""
    records: list[Record] = []
    lines = 0
    if count <= 0:
        return records
    for when, stream, data in backwards:
        # A newline at the very end closes the last line, it does not begin another.
        end = len(data) - (not records and data.endswith(b"\n"))
        while (newline := data.rfind(b"\n", 0, end)) >= 0:
            lines += 1
            if lines == count:
                if newline + 1 < len(data):
                    records.append((when, stream, data[newline + 1 :]))
                return records[::-1]
            end = newline
        if data:
            records.append((when, stream, data))
    return records[::-1]
