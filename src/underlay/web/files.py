"""The files of an image: directories of its merged root, and what a file holds."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING, Any

from ..errors import NotFound
from ..store.kinds import DIRECTORY, REGULAR, SYMLINK
from ..store.rootfs.imagefiles import ImageFiles

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..engine.images.handle import Image
    from ..store.layers.merge import Node

NAMES = 500  # of a directory on one page
_SHOWN = 64 << 10  # bytes of a file that a page shows
_KEPT = 2  # images of which the tree is kept: one of 100,000 files takes some 60 MB
_KINDS = {DIRECTORY: stat.S_IFDIR, REGULAR: stat.S_IFREG, SYMLINK: stat.S_IFLNK}


class Name:
    """A name in a directory: `path` (bytes), `text` (what is shown), `mode` (as ls has it), `owner`, `size`, `link` (its
    target), the number of its `layer`, whether it is a `directory` or a regular `file`."""

    __slots__ = ("directory", "file", "layer", "link", "mode", "owner", "path", "size", "text")

    def __init__(self, path: bytes, name: bytes, node: Node) -> None:
        entry = node.entry
        self.path = path
        self.text = os.fsdecode(name)
        self.directory, self.file = node.children is not None, entry.kind == REGULAR
        self.mode = stat.filemode(_KINDS.get(entry.kind, 0) | entry.mode)
        self.owner = f"{entry.uid}:{entry.gid}"
        self.size = entry.size if self.file else None
        self.link = os.fsdecode(entry.link) if entry.kind == SYMLINK else ""
        self.layer = node.layer + 1


class Trees:
    """The merged roots of the images that were looked at last."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._trees: dict[str, ImageFiles] = {}
        self._lock = threading.Lock()

    def of(self, image: Image) -> ImageFiles:
        """Return the files of an image. Raises Corrupt, LimitExceeded, NotFound for layers that are not here."""
        with self._lock:
            known = self._trees.pop(image.id, None)
            if known is None:
                known = ImageFiles(self._engine._store.paths, image.diff_ids)
            self._trees[image.id] = known  # the last one is used last
            while len(self._trees) > _KEPT:
                del self._trees[next(iter(self._trees))]
            return known


def looked_at(files: ImageFiles, path: bytes, page: int) -> dict[str, Any]:
    """Return what the page of a path shows. Raises NotFound, LimitExceeded, Corrupt."""
    path = path.strip(b"/")
    node = files.node(path)
    if node is None:
        raise NotFound(f"there is no /{os.fsdecode(path)} in the image", "what is there begins at /")
    facts: dict[str, Any] = {"path": path, "parts": _parts(path), "names": None, "text": None}
    if node.children is not None:
        names = files.names(path)
        shown = names[(page - 1) * NAMES : page * NAMES]
        prefix = path + b"/" if path else b""
        return {
            **facts,
            "names": [Name(prefix + name, name, node.children[name]) for name in shown],
            "count": len(names),
            "page": page,
            "pages": max(1, -(-len(names) // NAMES)),
        }
    facts["this"] = Name(path, path.rpartition(b"/")[2], node)
    if node.entry.kind == REGULAR:
        data = files.part(path, 0, _SHOWN)
        try:
            facts["text"] = None if b"\0" in data else data.decode()
        except UnicodeDecodeError as error:
            # The last character may be cut.
            facts["text"] = data[: error.start].decode() if len(data) - error.start < 4 else None
        facts["cut"] = node.entry.size > _SHOWN
    return facts


def _parts(path: bytes) -> list[tuple[str, bytes]]:
    """Return each directory on the way to a path, with its own path."""
    words = path.split(b"/") if path else []
    return [(os.fsdecode(word), b"/".join(words[: number + 1])) for number, word in enumerate(words)]
