"""What an image archive holds, by name: in a directory, in a tar that can be read anywhere, or in a stream
read once.

All three answer the same two questions: the bytes of a document, and the content of a layer. In a stream a
layer cannot wait until a manifest explains it, so it is brought into the store as it passes and looked up
afterwards.
"""

from __future__ import annotations

import errno
import os
import stat

from ...errors import Corrupt, InvalidInput, LimitExceeded, NotFound
from ...store.layers import codec
from . import outertar
from .outertar import PIECE, FileSource, Member, StreamSource, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...store.rows.layers import Layer
    from ..arrivals import Arrivals

DOCUMENT_LIMIT = 8 << 20  # bytes
_STREAM_DOCUMENTS_LIMIT = 64 << 20  # bytes of all documents that a stream makes us remember
_TRAILING_LIMIT = 64 << 20  # bytes
_LINK_HOPS = 10
# Two members of these names would let two readers of one archive see different images.
_SINGLE = frozenset(("manifest.json", "index.json", "oci-layout", "repositories"))


class Content:
    """A part of the archive that can be read from its beginning: `name`, `size` in bytes.

    `read(n)` returns the next bytes, b"" at the end; `again()` starts over. For a part of a stream `layer` is
    what it became in the store, and there is nothing to read. Subclasses say where the bytes are.
    """

    __slots__ = ("layer", "name", "position", "size")

    def __init__(self, name: str, size: int, layer: Layer | None = None) -> None:
        self.name = name
        self.size = size
        self.layer = layer
        self.position = 0

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, b"" at the end; raises Corrupt when the file has been cut."""
        count = min(count, self.size - self.position)
        if not count:
            return b""
        data = self._at(self.position, count)
        if not data:
            raise Corrupt(f"{shown(self.name)}: the archive is truncated in the middle of this member")
        self.position += len(data)
        return data

    def again(self) -> None:
        """Start over."""
        self.position = 0

    def elsewhere(self, reason: str) -> bool:
        """Start over with the same bytes from another place, since these proved wrong; False when there is none."""
        return False

    def skip(self, position: int) -> None:
        """Go on at `position`."""
        self.position = position

    def close(self, keep: bool) -> None:
        """Called when no more will be read; `keep` says that the same bytes may be requested again."""

    def _at(self, position: int, count: int) -> bytes:
        return b""


class _InTar(Content):
    """A member of a tar in a file."""

    __slots__ = ("_fd", "_start")

    def __init__(self, name: str, size: int, fd: int, start: int) -> None:
        super().__init__(name, size)
        self._fd = fd
        self._start = start

    def _at(self, position: int, count: int) -> bytes:
        return os.pread(self._fd, count, self._start + position)


class _InDirectory(Content):
    """A file of a layout; open only while it is read, for a layout may have more files than we may open."""

    __slots__ = ("_fd", "_open")

    def __init__(self, name: str, size: int, opener: Callable[[], int]) -> None:
        super().__init__(name, size)
        self._open = opener
        self._fd = -1

    def _at(self, position: int, count: int) -> bytes:
        if self._fd < 0:
            self._fd = self._open()
        data = os.pread(self._fd, count, position)
        if not data or position + len(data) == self.size:
            self.__del__()
        return data

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Directory:
    """An image layout in a directory, read by descriptors beneath it; links are refused."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = path

    def close(self) -> None:
        """Close the directory."""
        os.close(self._fd)

    def content(self, name: str) -> Content | None:
        """Return a part, None when it is not there."""
        try:
            fd = self._open(name)
        except FileNotFoundError:
            return None
        try:
            facts = os.fstat(fd)
        finally:
            os.close(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidInput(f"{self.path}/{shown(name)}: not a regular file")
        return _InDirectory(name, facts.st_size, lambda: self._open(name))

    def _open(self, name: str) -> int:
        fd = self._fd
        passed: list[int] = []
        try:
            *parents, last = outertar.clean(name).split("/")
            for parent in parents:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(parent, flags, dir_fd=fd)
                passed.append(fd)
            # Not blocking, for a FIFO would hold us up.
            return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise InvalidInput(
                f"{self.path}/{shown(name)}: an image directory must not contain symbolic links",
                "copy the directory with `cp -rL` first",
            ) from None
        finally:
            for parent_fd in passed:
                os.close(parent_fd)

    def document(self, name: str, limit: int = DOCUMENT_LIMIT) -> bytes | None:
        """Return the bytes of a document, None when it is not there; raises LimitExceeded."""
        return _document(self.content(name), limit)

    def directories(self) -> list[str]:
        """Return the names of the directories at the top, sorted."""
        with os.scandir(self._fd) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


class TarFile:
    """An archive in a file that can be read anywhere: one walk over its headers, then parts by their
    offsets."""

    def __init__(self, fd: int, what: str) -> None:
        self._fd = fd
        self.path = what
        self._members: dict[str, Member] = {}
        for member in outertar.members(FileSource(fd)):
            if member.kind in ("file", "link"):
                if member.name in _SINGLE and member.name in self._members:
                    raise Corrupt(f"{what}: two members are named {member.name}")
                self._members[member.name] = member

    def close(self) -> None:
        """Leave the descriptor to its owner."""

    def content(self, name: str) -> Content | None:
        """Return a part, None when it is not there; links lead to other members only."""
        member = _follow(name, self._members.get, self.path)
        return _InTar(name, member.size, self._fd, member.offset) if member else None

    def document(self, name: str, limit: int = DOCUMENT_LIMIT) -> bytes | None:
        """Return the bytes of a document, None when it is not there; raises LimitExceeded."""
        return _document(self.content(name), limit)

    def directories(self) -> list[str]:
        """Return the names of the directories at the top, sorted."""
        return _tops(self._members)


class Stream:
    """An archive read once as a stream: documents are kept in memory, layers go into the store at once.

    A layer is recognised by its content (compressed, or a tar); a member that is neither, and too long for a
    document, is skipped.
    """

    def __init__(self, pull: Callable[[], bytes], what: str, arrivals: Arrivals) -> None:
        self.path = what
        self._documents: dict[str, bytes] = {}
        self._layers: dict[str, Layer] = {}
        self._links: dict[str, Member] = {}
        self._broken: dict[str, Corrupt] = {}
        source = StreamSource(pull)
        total = 0
        for member in outertar.members(source):
            if member.kind == "link":
                self._links[member.name] = member
            if member.kind != "file":
                continue
            if member.name in _SINGLE and member.name in self._documents:
                raise Corrupt(f"{what}: two members are named {member.name}")
            head = _up_to(source, min(member.size, outertar.BLOCK))
            if _is_layer(head):
                passing = _Passing(source, head, member.size)
                try:
                    self._layers[member.name] = arrivals.passing(member.name, member.size, passing)
                except Corrupt as error:
                    # It may be no layer at all, and matters only when a manifest calls it one.
                    self._broken[member.name] = error
            elif member.size <= DOCUMENT_LIMIT:
                total += member.size
                if total > _STREAM_DOCUMENTS_LIMIT:
                    raise LimitExceeded(f"{what}: its JSON documents have more than {_STREAM_DOCUMENTS_LIMIT} bytes")
                self._documents[member.name] = head + _up_to(source, member.size - len(head))
        # The writer at the other end of a pipe must not be broken off, and checks of what carries us happen
        # at the end.
        end = source.position
        while source.read(PIECE):
            if source.position - end > _TRAILING_LIMIT:
                raise LimitExceeded(f"{what}: more than {_TRAILING_LIMIT} bytes after the end of the archive")

    def close(self) -> None:
        """Nothing is open."""

    def content(self, name: str) -> Content | None:
        """Return a layer that has passed, or a document; None when neither was there."""
        broken = self._aliased(name, self._broken)
        if broken:
            raise broken
        layer = self._aliased(name, self._layers)
        return Content(name, layer.blob_size, layer) if layer else None

    def document(self, name: str, limit: int = DOCUMENT_LIMIT) -> bytes | None:
        """Return the bytes of a document, None when it did not pass; raises LimitExceeded."""
        data = self._aliased(name, self._documents)
        if data is not None and len(data) > limit:
            raise LimitExceeded(f"{shown(name)}: longer than {limit} bytes")
        return data

    def directories(self) -> list[str]:
        """Return the names of the directories at the top, sorted."""
        return _tops(self._documents)

    def _aliased(self, name: str, parts: dict[str, _Part]) -> _Part | None:
        for _ in range(_LINK_HOPS):
            if name in parts:
                return parts[name]
            if name not in self._links:
                return None
            name = _target(self._links[name], self.path)
        raise Corrupt(f"{self.path}: too many links at {shown(name)}")


if TYPE_CHECKING:
    from typing import TypeVar

    _Part = TypeVar("_Part")
    Bag = Directory | TarFile | Stream


class _Passing:
    """The rest of one member of a stream."""

    def __init__(self, source: StreamSource, head: bytes, size: int) -> None:
        self._source = source
        self._head = head
        self._left = size - len(head)

    def read(self, count: int, /) -> bytes:
        if self._head:
            piece, self._head = self._head[:count], self._head[count:]
            return piece
        count = min(count, self._left)
        if not count:
            return b""
        data = self._source.read(count)
        if not data:
            raise Corrupt("the archive ends in the middle of a member")
        self._left -= len(data)
        return data


def require(bag: Bag, name: str, limit: int = DOCUMENT_LIMIT) -> bytes:
    """Return the bytes of a document; raises NotFound when the archive lacks it."""
    data = bag.document(name, limit)
    if data is None:
        raise NotFound(f"{bag.path}: the archive lacks {shown(name)}")
    return data


def _tops(names: Iterable[str]) -> list[str]:
    return sorted({name.partition("/")[0] for name in names if "/" in name})


def _document(content: Content | None, limit: int) -> bytes | None:
    if content is None:
        return None
    if content.size > limit:
        raise LimitExceeded(f"{shown(content.name)}: longer than {limit} bytes")
    pieces = []
    while piece := content.read(PIECE):
        pieces.append(piece)
    return b"".join(pieces)


def _follow(name: str, get: Callable[[str], Member | None], what: str) -> Member | None:
    for _ in range(_LINK_HOPS):
        member = get(outertar.clean(name))
        if member is None or member.kind != "link":
            return member
        name = _target(member, what)
    raise Corrupt(f"{what}: too many links at {shown(name)}")


def _target(member: Member, what: str) -> str:
    """Return the name of the member that a link stands for; raises Corrupt when it leads out of the archive.

    docker before version 25 writes a layer that two images share once, and links to it by relative paths.
    """
    if member.hard:
        return member.link
    parts = member.name.split("/")[:-1]
    if member.link.startswith("/"):
        raise Corrupt(f"{what}: member {shown(member.name)} is a link that leads out of the archive")
    for part in member.link.split("/"):
        if part == "..":
            if not parts:
                raise Corrupt(f"{what}: member {shown(member.name)} is a link that leads out of the archive")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _is_layer(head: bytes) -> bool:
    return codec.detect(head) != "none" or outertar.is_tar(head)


def _up_to(source: StreamSource, count: int) -> bytes:
    pieces = []
    while count:
        piece = source.read(count)
        if not piece:
            raise Corrupt("the archive ends in the middle of a member")
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
