"""The journal of an installation: what has happened to its containers, images, networks and volumes, a line for each.

Every command and monitor appends to it, so a lock orders the lines. It is bounded: a full file becomes the older one of
two. It lies in the root directory, and so survives reboots. `events` and servers read it.
"""

from __future__ import annotations

import fcntl
import os
from time import sleep, time_ns

from .lean.jsontext import dumps, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypedDict

    class Entry(TypedDict):
        """One line: `time` (ns since the epoch), `type` (container, image, …), `action` (start, pull, …), `id`, and
        `attributes`."""

        time: int
        type: str
        action: str
        id: str
        attributes: dict[str, str]


_LIMIT = 4 << 20  # bytes of a file; there are two
_LONGEST = 64 << 10  # bytes of a line: labels may be long
_PAUSE = 0.1  # seconds between two looks for new lines


def append(path: str, kind: str, action: str, subject: str, attributes: Mapping[str, str]) -> None:
    """Append a line. A journal that cannot be written keeps no work from being done."""
    try:
        fd = _locked(path)
        try:
            entry = {"time": time_ns(), "type": kind, "action": action, "id": subject, "attributes": dict(attributes)}
            line = dumps(entry).encode("utf-8", "replace") + b"\n"
            if len(line) > _LONGEST:
                line = dumps({**entry, "attributes": {}}).encode() + b"\n"
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line  # a power cut has left part of one
            os.write(fd, line)
        finally:
            os.close(fd)
    except OSError:
        pass  # a full disk, or a root of another user


def _locked(path: str) -> int:
    """Return the journal, open and locked; a full one has become the older one. Raises OSError."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            facts = os.fstat(fd)
            # Whoever had the lock before may have renamed it: then another file is the journal.
            if os.path.samestat(facts, os.stat(path)):
                if facts.st_size < _LIMIT:
                    return fd
                os.rename(path, path + ".1")
        except FileNotFoundError:
            pass  # another has renamed it just now
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def read(
    path: str, since: int = 0, until: int = 0, follow: bool = False, stopped: Callable[[], bool] = bool
) -> Iterator[Entry]:
    """Yield what happened from `since` to `until` (ns since the epoch, 0 for no bound), oldest first.

    With `follow` it goes on with what happens, until `until` has come or `stopped()` is true. Lines that are none are
    passed over.
    """
    current = -1
    try:
        for name in (path + ".1", path):
            try:
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            if name == path:
                current = fd
            yield from _entries(fd, since, until)
            if name != path:
                os.close(fd)
        while follow and not stopped() and not (until and time_ns() > until):
            sleep(_PAUSE)
            if current >= 0:
                yield from _entries(current, since, until)
            if current < 0 or not _is(current, path):
                # It has become the older one, of which nothing is left to be read.
                try:
                    following = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                except FileNotFoundError:
                    continue
                if current >= 0:
                    yield from _entries(current, since, until)
                    os.close(current)
                current = following
    finally:
        if current >= 0:
            os.close(current)


def _is(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _entries(fd: int, since: int, until: int) -> Iterator[Entry]:
    """Yield the whole lines from where the descriptor stands, which it is moved behind."""
    rest = b""
    while piece := os.read(fd, 1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            entry = _entry(line)
            if entry is not None and entry["time"] >= since and (not until or entry["time"] <= until):
                yield entry
    if rest:
        os.lseek(fd, -len(rest), os.SEEK_CUR)


def _entry(line: bytes) -> Entry | None:
    try:
        value: Any = known(line)
        entry: Entry = value
        if isinstance(entry["time"], int) and isinstance(entry["attributes"], dict):
            return entry
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None
