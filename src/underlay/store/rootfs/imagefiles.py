"""Single files of an image, read through its layers' tables of contents without unpacking anything."""

from __future__ import annotations

from ...errors import LimitExceeded
from ...lean import hashing
from .. import layers
from ..kinds import REGULAR, SYMLINK, shown
from ..layers import merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Protocol

    from ...paths import Paths
    from ..layers.merge import Node
    from ..layers.toc import Entry

    class Contents(Protocol):
        """A layer whose files can be read."""

        @property
        def entries(self) -> list[Entry]: ...
        def read(self, entry: Entry, limit: int) -> bytes: ...
        def part(self, entry: Entry, offset: int, size: int) -> bytes: ...
        def checksum(self, entry: Entry) -> bytes: ...


FILE_LIMIT = 64 << 20  # bytes of a file that is read at once
_HOPS = 40  # as path_resolution(7) has it


class _Stored:
    """A layer of the store."""

    __slots__ = ("_diff_id", "_paths")

    def __init__(self, paths: Paths, diff_id: str) -> None:
        self._paths = paths
        self._diff_id = diff_id

    @property
    def entries(self) -> list[Entry]:
        return layers.read_toc(self._paths, self._diff_id)

    def read(self, entry: Entry, limit: int) -> bytes:
        return layers.read_member(self._paths, self._diff_id, entry, limit)

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        return layers.read_part(self._paths, self._diff_id, entry, offset, size)

    def checksum(self, entry: Entry) -> bytes:
        return hashing.sha256(self.read(entry, FILE_LIMIT)).digest()


def stored_layer(paths: Paths, diff_id: str) -> Contents:
    """Return a layer of the store."""
    return _Stored(paths, diff_id)


class ImageFiles:
    """The files of the image that the layers `diff_ids` make, base first. Raises as `layers.read_toc`, `merge.merge`.

    `elsewhere` are the layers that are not in the store, by diff id. Paths are bytes without a slash in front. Links are
    followed as in a container: they never lead out of the image.
    """

    def __init__(self, paths: Paths, diff_ids: Iterable[str], elsewhere: Mapping[str, Contents] | None = None) -> None:
        there = elsewhere or {}
        self._take([there.get(diff_id) or _Stored(paths, diff_id) for diff_id in diff_ids])

    def _take(self, contents: Sequence[Contents]) -> None:
        self._layers = contents
        self._root = merge.merge(layer.entries for layer in contents).root

    def lower(self, count: int) -> ImageFiles:
        """Return the files that the lowest `count` layers make."""
        return _of(self._layers[:count])

    def on(self, base: ImageFiles, count: int) -> ImageFiles:
        """Return the files that its layers above the lowest `count` ones make on another base."""
        return _of([*base._layers, *self._layers[count:]])

    def entries(self, count: int) -> Iterator[Entry]:
        """Yield the members of its layers above the lowest `count` ones, as their tars have them."""
        return (entry for layer in self._layers[count:] for entry in layer.entries)

    def node(self, path: bytes) -> Node | None:
        """Return what is at `path`, None when there is nothing or links lead nowhere."""
        return self._walk(path)[0]

    def real(self, path: bytes) -> bytes | None:
        """Return the path of the regular file that `path` leads to, None when there is none."""
        node, parts = self._walk(path)
        return b"/".join(parts) if node is not None and node.entry.kind == REGULAR else None

    def directory(self, path: bytes) -> bool:
        """Tell whether `path` leads to a directory."""
        node = self.node(path)
        return node is not None and node.children is not None

    def executable(self, path: bytes) -> bool:
        """Tell whether `path` leads to a regular file with an execute bit for anybody."""
        node = self.node(path)
        return node is not None and node.entry.kind == REGULAR and bool(node.entry.mode & 0o111)

    def permits(self, path: bytes, uid: int, gids: Collection[int], wanted: int) -> bool:
        """Tell whether a user without capabilities may use a file as `wanted` says (bits of its mode: 4 read, 1 execute).

        The directories that lead to it must be open to the user, too; those that links are in are not looked at. An
        access control list is taken to permit it.
        """
        node, parts = self._walk(path)
        here: Node | None = self._root
        for part in (*parts, None):
            if here is None or node is None:
                return False
            entry, bits = here.entry, wanted if here is node else 1
            shift = 6 if entry.uid == uid else 3 if entry.gid in gids else 0
            listed = any(name == b"system.posix_acl_access" for name, _ in here.xattrs)
            if bits & ~(entry.mode >> shift) and not listed:
                return False
            here = (here.children or {}).get(part) if part is not None else None
        return True

    def _walk(self, path: bytes) -> tuple[Node | None, list[bytes]]:
        todo, here, hops = path.split(b"/")[::-1], self._root, 0
        parts: list[bytes] = []
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                here = here.parent
                del parts[-1:]
                continue
            child = (here.children or {}).get(part)
            if child is None:
                return None, parts
            if child.entry.kind == SYMLINK:
                hops += 1
                if hops > _HOPS:
                    return None, parts
                target = child.entry.link
                if target.startswith(b"/"):
                    here, parts = self._root, []
                todo += target.split(b"/")[::-1]
                continue
            here = child
            parts.append(part)
        return here, parts

    def part(self, path: bytes, offset: int, size: int) -> bytes:
        """Return bytes of a regular file from `offset` on, at most `size` of them; b"" when there is none."""
        node = self.node(path)
        if node is None or node.entry.kind != REGULAR:
            return b""
        return self._layers[node.layer].part(node.entry, offset, size)

    def checksum(self, path: bytes) -> bytes:
        """Return the SHA-256 of a small regular file, b"" when there is none or it is not known."""
        node = self.node(path)
        if node is None or node.entry.kind != REGULAR:
            return b""
        return self._layers[node.layer].checksum(node.entry)

    def read(self, path: bytes, limit: int = FILE_LIMIT) -> bytes | None:
        """Return a regular file's content, None when there is none. Raises LimitExceeded beyond `limit` bytes, Corrupt."""
        node = self.node(path)
        if node is None or node.entry.kind != REGULAR:
            return None
        if node.entry.size > limit:
            raise LimitExceeded(f"{shown(path)} has more than {limit} bytes")
        return self._layers[node.layer].read(node.entry, limit)

    def size(self, path: bytes) -> int:
        """Return the bytes of a regular file, 0 when there is none."""
        node = self.node(path)
        return node.entry.size if node is not None and node.entry.kind == REGULAR else 0

    def names(self, directory: bytes) -> list[bytes]:
        """Return what is in a directory, sorted; nothing when there is none."""
        node = self.node(directory)
        return sorted(node.children) if node is not None and node.children is not None else []

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Yield the path and node of all that is there but directories; links are not followed."""
        waiting = [(b"", self._root)]
        while waiting:
            prefix, directory = waiting.pop()
            for name, node in (directory.children or {}).items():
                if node.children is not None:
                    waiting.append((prefix + name + b"/", node))
                else:
                    yield prefix + name, node

    def find(self, endings: tuple[bytes, ...]) -> Iterator[bytes]:
        """Yield the paths of all regular files that end with one of `endings`, in a fixed order; links are not
        followed."""
        return (path for path, _ in self._regular() if path.endswith(endings))

    def executables(self) -> Iterator[bytes]:
        """Yield the paths of all regular files with an execute bit for anybody, in a fixed order; links are not
        followed."""
        return (path for path, node in self._regular() if node.entry.mode & 0o111)

    def _regular(self) -> Iterator[tuple[bytes, Node]]:
        """Yield path and node of all regular files, in a fixed order."""
        waiting = [(b"", self._root)]
        while waiting:
            prefix, directory = waiting.pop()
            below = []
            for name, node in sorted((directory.children or {}).items()):
                if node.children is not None:
                    below.append((prefix + name + b"/", node))
                elif node.entry.kind == REGULAR:
                    yield prefix + name, node
            waiting += reversed(below)


def _of(contents: Sequence[Contents]) -> ImageFiles:
    """Return the files that layers make, base first."""
    files = object.__new__(ImageFiles)
    files._take(contents)
    return files
