"""The files of an image: directories of its merged root, and the contents of files."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING, Any

from ..errors import NotFound
from ..store.kinds import DIRECTORY, REGULAR, SYMLINK
from ..store.rootfs.imagefiles import ImageFiles
from .paging import Page

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..engine.images.handle import Image
    from ..store.layers.merge import Node

NAMES = 500  # of a directory on one page
_SHOWN = 64 << 10  # bytes of a file that a page shows
_KEPT = 2  # images whose merged roots are kept in memory
_KINDS = {DIRECTORY: stat.S_IFDIR, REGULAR: stat.S_IFREG, SYMLINK: stat.S_IFLNK}


class FileFacts:
    """A file or directory of an image.

    `path` is bytes from the root on, without a slash in front; `name` its last part as text; `mode` as `ls -l` shows it;
    `owner` is UID:GID; `size` in bytes, None unless it is a regular file; `link` the target of a symbolic link, "" for
    others; `layer` the number of the layer that it is from, 1 for the lowest.
    """

    __slots__ = ("is_directory", "is_file", "layer", "link", "mode", "name", "owner", "path", "size")

    def __init__(self, path: bytes, node: Node) -> None:
        entry = node.entry
        self.path = path
        self.name = os.fsdecode(path.rpartition(b"/")[2])
        self.is_directory, self.is_file = node.children is not None, entry.kind == REGULAR
        self.mode = stat.filemode(_KINDS.get(entry.kind, 0) | entry.mode)
        self.owner = f"{entry.uid}:{entry.gid}"
        self.size = entry.size if self.is_file else None
        self.link = os.fsdecode(entry.link) if entry.kind == SYMLINK else ""
        self.layer = node.layer + 1


class MergedRoots:
    """The merged roots of the images that were looked at last. Several threads may use it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._roots: dict[str, ImageFiles] = {}  # the one that was used last is the last
        self._lock = threading.Lock()

    def of(self, image: Image) -> ImageFiles:
        """Return the files of an image. Raises Corrupt, LimitExceeded, NotFound for layers that are not in the store."""
        with self._lock:
            known = self._roots.pop(image.id, None)
            if known is None:
                known = ImageFiles(self._engine._store.paths, image.diff_ids)
            self._roots[image.id] = known
            while len(self._roots) > _KEPT:
                del self._roots[next(iter(self._roots))]
            return known


def missing(path: bytes) -> NotFound:
    """Return the error for a path that an image does not have."""
    return NotFound(f"the image has no file /{os.fsdecode(path)}", "the tab Files lists its files, from / on")


def facts_of(files: ImageFiles, path: bytes, page: int) -> dict[str, Any]:
    """Return what is shown of a path: a page of names for a directory, else the facts of the file, and its text if it is
    one. Raises NotFound, LimitExceeded, Corrupt."""
    path = path.strip(b"/")
    node = files.node(path)
    if node is None:
        raise missing(path)
    facts: dict[str, Any] = {"path": path, "directories": way_to(path), "names": None, "text": None, "is_cut": False}
    if node.children is not None:
        names = Page(files.names(path), page, NAMES)
        prefix = path + b"/" if path else b""
        entries = [FileFacts(prefix + name, node.children[name]) for name in names.items]
        return {**facts, "names": names, "entries": entries}
    facts["file"] = FileFacts(path, node)
    if node.entry.kind == REGULAR:
        facts["text"] = _text(files.part(path, 0, _SHOWN))
        facts["is_cut"] = node.entry.size > _SHOWN
    return facts


def _text(data: bytes) -> str | None:
    """Return the beginning of a file as text, None if it is not UTF-8. The last character may be cut off."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        return data[: error.start].decode() if len(data) - error.start < 4 else None


def way_to(path: bytes) -> list[tuple[str, bytes]]:
    """Return name and path of each directory on the way to a path, and of what is there."""
    names = path.split(b"/") if path else []
    return [(os.fsdecode(name), b"/".join(names[: number + 1])) for number, name in enumerate(names)]
