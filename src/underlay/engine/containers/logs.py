"""Reading a container's log: turned-over files, the last lines, and following a running container."""

from __future__ import annotations

import os
import time

from ...errors import Unsupported
from ...runtime.monitor import state
from .log_records import format_of, last_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from ...store.rows.containers import ContainerRow
    from ...store.store import Store
    from .log_records import Record

_POLL = 0.05  # seconds between looks for more output


def read_log(
    store: Store,
    row: ContainerRow,
    follow: bool,
    tail: int,
    since: float,
    until: float,
    stdout: bool,
    stderr: bool,
    stopped: Callable[[], bool],
) -> Iterator[Record]:
    """Yield records of the log; see `Containers.logs`."""
    settings = row.intent["log"]
    if settings["driver"] == "none" or not settings["keep"]:
        raise Unsupported(
            "configured logging driver does not support reading",
            f"nothing is kept of it here ({settings['driver']}); --log-driver local keeps it",
        )
    log = _Log(store.paths.container(row.id) + "/log", settings["driver"], settings["keep"])
    streams = [number for number, wanted in ((1, stdout), (2, stderr)) if wanted]
    first, last = int(since * 1e9), int(until * 1e9)

    def passes(record: Record) -> bool:
        return record[1] in streams and record[0] >= first and not (last and record[0] > last)

    directory = store.paths.container_state(row.id)

    def over() -> bool:
        return (bool(last) and time.time_ns() > last) or stopped() or not state.monitored(directory)

    return log.records(tail, passes, over if follow else None)


class _Log:
    """The files of a log, of which the newest may grow and turn over at any moment."""

    def __init__(self, path: str, driver: str, keep: int) -> None:
        self._path = path
        self._format = format_of(driver)
        self._keep = keep

    def records(self, tail: int, passes: Callable[[Record], bool], over: Callable[[], bool] | None) -> Iterator[Record]:
        """Yield the selected records, from the last `tail` lines on (-1: all), and with `over` new ones until `over()` is
        true."""
        older, newest = self._open()
        try:
            if tail >= 0:
                if newest is not None:
                    newest.seek(self._format.end(newest.fileno()))  # from here on it is followed
                yield from last_lines(filter(passes, self._backwards(older, newest)), tail)
            else:
                for file in older:
                    yield from filter(passes, self._format.forwards(file))
                if newest is not None:
                    yield from filter(passes, self._present(newest))
            while older:
                older.pop().close()
            if over is None:
                return
            while True:
                ended = over()  # asked first: what is written until then is read below
                if newest is None:
                    newest = _opened(self._path)
                if newest is not None:
                    yield from filter(passes, self._format.forwards(newest))
                    if _turned_over(newest, self._path):
                        yield from filter(passes, self._format.forwards(newest))
                        behind = _files_between(os.fstat(newest.fileno()).st_ino, self._path, self._keep)
                        newest.close()
                        newest = None
                        for name in behind:
                            yield from filter(passes, self._whole(name))
                        continue
                if ended:
                    return
                time.sleep(_POLL)
        finally:
            for source in (*older, newest):
                if source is not None:
                    source.close()

    def _open(self) -> tuple[list[BinaryIO], BinaryIO | None]:
        """Return the older files, the oldest first, and the newest, none of them twice though they turn over meanwhile."""
        while True:
            newest = _opened(self._path)
            files = [_older(f"{self._path}.{number}") for number in range(self._keep - 1, 0, -1)]
            older = [file for file in files if file is not None]
            if not (_turned_over(newest, self._path) if newest is not None else os.path.exists(self._path)):
                return older, newest
            for file in (*older, newest):
                if file is not None:
                    file.close()

    def _backwards(self, older: list[BinaryIO], newest: BinaryIO | None) -> Iterator[Record]:
        """Yield the records of the older files and those before the position of the newest, the last one first."""
        if newest is not None:
            yield from self._format.backwards(newest.fileno(), newest.tell())
        for file in reversed(older):
            yield from self._format.backwards(file.fileno(), self._format.end(file.fileno()))

    def _present(self, file: BinaryIO) -> Iterator[Record]:
        """Yield the records that exist now: a writer as fast as the reader does not prolong this."""
        end = os.fstat(file.fileno()).st_size
        for record in self._format.forwards(file):
            yield record
            if file.tell() >= end:
                return

    def _whole(self, name: str) -> Iterator[Record]:
        file = _older(name)
        if file is not None:
            with file:
                yield from self._format.forwards(file)


def _opened(name: str) -> BinaryIO | None:
    try:
        return open(name, "rb")
    except FileNotFoundError:
        return None


def _older(name: str) -> BinaryIO | None:
    """Return a file that was turned over, unpacked if it has been compressed."""
    found = _opened(name)
    if found is not None or not os.path.exists(name + ".gz"):
        return found
    import gzip
    import shutil
    import tempfile

    unpacked = tempfile.TemporaryFile()
    try:
        with gzip.open(name + ".gz") as packed:
            shutil.copyfileobj(packed, unpacked)
    except (OSError, EOFError):
        pass  # what is whole of it is read
    unpacked.seek(0)
    return unpacked


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
