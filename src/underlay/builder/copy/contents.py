"""The digest of what a selection holds, for cache keys, and an index of files whose content was read before."""

from __future__ import annotations

import os
from struct import Struct
from struct import error as StructError
from time import time_ns

from ...errors import Conflict
from ...files import read_bytes, write_atomic
from ...lean.hashing import sha256
from ...store import kinds
from ...store.kinds import shown
from ...store.layers import walking
from ...store.scratch import ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...paths import Paths
    from ...store.layers.walking import Xattrs
    from .selecting import Selected, SelectedFile

_MAGIC = b"underlay files 3\n"
_ROW = Struct("<QQQqq32s")
# A file changed so shortly before it was read may change again within the same tick of the clock, and look the same.
_RACY = 2_000_000_000
_CHUNK = 1 << 20
_LARGEST = 256 << 20
_UNSEEN = 100_000

_Key = tuple[int, int, int, int, int]


class FileIndex:
    """Digests of files by device, inode, size, mtime and ctime: kept below `paths.root`, one file for each `key`.

    `load` it, let `digest` use it, `save` it. It is a memory only: one that is damaged or lost costs time.
    """

    def __init__(self, paths: Paths, key: str) -> None:
        self._directory = f"{paths.root}/cache/files"
        self._path = f"{self._directory}/{sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"
        self._known: dict[_Key, bytes] = {}
        self._seen: dict[_Key, bytes] = {}
        self._changed = False

    def load(self) -> FileIndex:
        """Read what is known; nothing when there is nothing, or it makes no sense. Returns this index."""
        try:
            data = read_bytes(self._path, _LARGEST)
            if data.startswith(_MAGIC):
                rows = _ROW.iter_unpack(memoryview(data)[len(_MAGIC) :])
                self._known = {row[:5]: row[5] for row in rows}
        except (OSError, StructError):
            pass
        return self

    def save(self) -> None:
        """Write what is known now, in one step, if it has changed. What was not seen this time is kept, up to a bound."""
        if not self._changed:
            return
        rows = [_ROW.pack(*key, value) for key, value in self._seen.items()]
        unseen = [_ROW.pack(*key, value) for key, value in self._known.items() if key not in self._seen]
        ensure(self._directory)
        write_atomic(self._path, _MAGIC + b"".join(rows + unseen[:_UNSEEN]), durable=False)
        self._known.update(self._seen)
        self._changed = False

    def find(self, facts: os.stat_result) -> bytes | None:
        """Return the digest of a file that has not changed since it was read."""
        key = _key(facts)
        value = self._known.get(key)
        if value is not None:
            self._seen[key] = value
        return value

    def remember(self, facts: os.stat_result, value: bytes, now: int) -> None:
        """Keep the digest of a file, whose reading began at `now` (nanoseconds), unless it may still be changing."""
        if max(facts.st_mtime_ns, facts.st_ctime_ns) + _RACY < now:
            self._seen[_key(facts)] = value
            self._changed = True


def _key(facts: os.stat_result) -> _Key:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def of_context(xattrs: Xattrs) -> Xattrs:
    """Return those attributes of a host's file that an image keeps: access lists name users of the host, and what programs
    note of a file (where it was downloaded from) is nobody's business. As with BuildKit, capabilities are left."""
    return tuple(pair for pair in xattrs if pair[0] == b"security.capability")


def digest(selections: Iterable[Selected], *, owners: bool, index: FileIndex | None = None) -> str:
    """Return a digest of all that a COPY of these selections can depend on, and no more: not times, nor file systems.

    That is: what the sources name, the paths below, kinds, modes, link targets, device numbers, capabilities, contents,
    and with `owners` (files of images and stages) uid, gid and all extended attributes. Files that `index` knows are not
    opened. Raises KernelError, Conflict.
    """
    total = sha256()
    for selected in selections:
        total.update(_written(len(selected.items)))
        for item in selected.items:
            # The contents of a directory are copied, whatever its name.
            name = b"" if item.is_dir else os.fsencode(item.name)
            total.update(_written((name, item.is_dir, item.inside is not None)))
            for file in selected.walk(item):
                if file.kind != kinds.SOCKET:
                    total.update(_record(file, owners, index))
                elif not owners and file.facts is not None:  # of a context: copied as an empty file
                    total.update(_written((file.path, kinds.SOCKET, file.facts.st_mode & 0o7777)))
            total.update(b".")
    return "sha256:" + total.hexdigest()


def _record(file: SelectedFile, owners: bool, index: FileIndex | None) -> bytes:
    facts = file.facts
    if facts is None:
        facts = walking.look(file.parent, file.name, file.source_path)
        value = index.find(facts) if index is not None else None
        if value is None:
            facts, value = _read(file, index, owners)
        uid, gid = (facts.st_uid, facts.st_gid) if owners else (0, 0)
        return _written((file.path, kinds.REGULAR, facts.st_mode & 0o7777, uid, gid, facts.st_size, value))
    uid, gid = (facts.st_uid, facts.st_gid) if owners else (0, 0)
    device = facts.st_rdev if file.kind in (kinds.CHARACTER, kinds.BLOCK) else 0
    xattrs = file.xattrs if owners else of_context(file.xattrs)
    return _written((file.path, file.kind, facts.st_mode & 0o7777, uid, gid, file.link, device, xattrs, file.above))


def _written(value: object) -> bytes:
    """Return numbers, bytes and tuples of them in the one way in which Python writes them."""
    return ascii(value).encode()


def _read(file: SelectedFile, index: FileIndex | None, owners: bool) -> tuple[os.stat_result, bytes]:
    """Return what is known of a file, and the digest of its content and of those extended attributes that matter."""
    import hashlib

    now = time_ns()
    fd, facts = walking.open_file(file.parent, file.name, file.source_path)
    try:
        one = hashlib.sha256()
        left = facts.st_size
        while left:
            piece = os.read(fd, min(left, _CHUNK))
            if not piece:
                raise Conflict(f"{shown(file.source_path)} became shorter while it was read")
            one.update(piece)
            left -= len(piece)
        xattrs = walking.file_attributes(fd, file.source_path)
        if not owners:
            xattrs = of_context(xattrs)
        if xattrs:
            one.update(_written(xattrs))
    finally:
        os.close(fd)
    value = one.digest()
    if index is not None:
        index.remember(facts, value, now)
    return facts, value
