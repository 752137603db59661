"""Reading a container's log: both formats, turned-over files, the last lines, and following a running container."""

from __future__ import annotations

import os
import time

from ...errors import Unsupported
from ...runtime.monitor import logs, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from ...store.rows.containers import Container
    from ...store.store import Store

    Record = tuple[int, int, bytes]  # time in ns since the epoch, stream (1 or 2), bytes

_POLL = 0.05  # seconds between looks for more output


def read_log(
    store: Store,
    row: Container,
    follow: bool,
    tail: int,
    since: float,
    until: float,
    stdout: bool,
    stderr: bool,
) -> Iterator[Record]:
    """Yield records of the log; see `Containers.logs`."""
    settings = row.intent["log"]
    if settings["driver"] == "none":
        raise Unsupported(
            'configured logging driver does not support reading: "none"', "start it with --log-driver local"
        )
    path = store.paths.container(row.id) + "/log"
    wanted = {1: stdout, 2: stderr}
    files = [f"{path}.{n}" for n in range(settings["keep"] - 1, 0, -1) if os.path.exists(f"{path}.{n}")]
    return _records(store, row, files, path, settings, follow, tail, int(since * 1e9), int(until * 1e9), wanted)


def _records(
    store: Store,
    row: Container,
    files: list[str],
    path: str,
    settings: dict[str, Any],
    follow: bool,
    tail: int,
    since: int,
    until: int,
    wanted: dict[int, bool],
) -> Iterator[Record]:
    parse = _local if settings["driver"] == "local" else _json_file

    def passes(record: Record) -> bool:
        when, stream, _ = record
        return wanted.get(stream, False) and when >= since and not (until and when > until)

    current = open(path, "rb") if os.path.exists(path) else None
    older = [item for name in files for item in _whole(name, parse)]
    kept: list[Record] | Iterator[Record] = (record for record in older if passes(record))
    if current is not None:
        present = [record for record in parse(current) if passes(record)]
        kept = [*kept, *present]
    yield from _last_lines(list(kept), tail) if tail >= 0 else kept
    if not follow:
        if current is not None:
            current.close()
        return
    directory = store.paths.container_state(row.id)
    while True:
        alive = state.monitored(directory)
        if current is None and os.path.exists(path):
            current = open(path, "rb")
        if current is not None:
            yield from (record for record in parse(current) if passes(record))
            if _turned_over(current, path):
                yield from (record for record in parse(current) if passes(record))
                behind = _files_between(os.fstat(current.fileno()).st_ino, path, settings["keep"])
                current.close()
                current = None
                yield from (record for name in behind for record in _whole(name, parse) if passes(record))
                continue
        if not alive or (until and time.time_ns() > until):
            break
        time.sleep(_POLL)
    if current is not None:
        current.close()


def _whole(name: str, parse: Any) -> list[Record]:
    try:
        with open(name, "rb") as file:
            return list(parse(file))
    except FileNotFoundError:
        return []


def _turned_over(file: BinaryIO, path: str) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != os.stat(path).st_ino
    except FileNotFoundError:
        return False


def _files_between(inode: int, path: str, keep: int) -> list[str]:
    """Return the files that were begun and turned over since the one with `inode` was the newest, the oldest first."""
    behind: list[str] = []
    for number in range(1, keep):
        try:
            if os.stat(f"{path}.{number}").st_ino == inode:
                break
        except FileNotFoundError:
            break
        behind.append(f"{path}.{number}")
    return behind[::-1]


def _last_lines(records: list[Record], count: int) -> list[Record]:
    """Return the records of the last `count` lines; the first record may be cut."""
    if count == 0:
        return []
    lines = 0
    for position in range(len(records) - 1, -1, -1):
        when, stream, data = records[position]
        end = len(data)
        # A newline at the very end closes the last line, it does not begin another.
        if position == len(records) - 1 and data.endswith(b"\n"):
            end -= 1
        while (found := data.rfind(b"\n", 0, end)) >= 0:
            lines += 1
            if lines == count:
                return [(when, stream, data[found + 1 :]), *records[position + 1 :]]
            end = found
    return records


def _local(file: BinaryIO) -> Iterator[Record]:
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


def _json_file(file: BinaryIO) -> Iterator[Record]:
    from ...human import parse_rfc3339
    from ...lean.jsontext import loads

    while True:
        start = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(start)
            return
        try:
            record: Any = loads(line)
            when = int(parse_rfc3339(record["time"]) * 1e9)
            yield when, 2 if record["stream"] == "stderr" else 1, record["log"].encode()
        except (ValueError, KeyError, TypeError):
            continue
