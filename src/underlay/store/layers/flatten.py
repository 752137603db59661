"""Several layers as one: their combined content, or what they change in the layers below."""

from __future__ import annotations

import os

import msgspec

from .. import layers
from ..kinds import WHITEOUT
from . import toc
from .layer_writer import LayerWriter
from .merge import Tree, difference
from .toc import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...paths import Paths
    from .intake import IngestedLayer
    from .merge import Change, Node


def flatten(paths: Paths, diff_ids: Sequence[str], first: int = 0, clamp: int | None = None) -> IngestedLayer:
    """Make one layer of those from number `first` on, lowest first; with the ones below it shows the same files.

    Raises NotFound, Corrupt, LimitExceeded, OSError.
    """
    tree = Tree()
    for diff_id in diff_ids[:first]:
        tree.apply(layers.read_toc(paths, diff_id))
    below = tree.clone()
    for diff_id in diff_ids[first:]:
        tree.apply(layers.read_toc(paths, diff_id))
    change = difference(below, tree, first)
    opened: dict[tuple[int, int], int] = {}
    try:
        with LayerWriter(paths, clamp=clamp, subsecond=True) as writer:
            for entry, node in _members(change, first):
                data = -1
                if node is not None and entry.kind == toc.REGULAR and entry.size:
                    part = (node.layer, node.entry.part)
                    if part not in opened:
                        opened[part] = layers.open_part(paths, diff_ids[node.layer], node.entry.part)
                    data = opened[part]
                    os.lseek(data, node.entry.offset, os.SEEK_SET)
                writer.add(entry, data if data >= 0 else None)
            return writer.finish()
    finally:
        for fd in opened.values():
            os.close(fd)


def _members(top: Change, first: int) -> Iterator[tuple[Entry, Node | None]]:
    """Yield the members that make the changes, and for files the nodes with their data; directories before their files."""
    names: dict[int, bytes] = {}  # first name of files with several
    stack: list[tuple[bytes, Change]] = [(b"", top)]
    while stack:
        path, change = stack.pop()
        node = change.node
        if node is None:
            directory, _, name = path.rpartition(b"/")
            yield Entry(directory + b"/" * bool(directory) + WHITEOUT + name, toc.REGULAR, 0, 0, 0, 0, 0, 0), None
            continue
        entry = msgspec.structs.replace(node.entry, name=path or b"./")
        if node.children is None and node.nlink > 1:
            known = names.setdefault(id(node), path)
            if known != path:
                yield msgspec.structs.replace(entry, kind=toc.HARDLINK, link=known, size=0, offset=0), None
                continue
        if path or node.layer >= first:
            yield entry, node
        if change.opaque:
            yield Entry(path + b"/.wh..wh..opq", toc.REGULAR, 0, 0, 0, 0, entry.mtime, 0), None
        prefix = path + b"/" if path else b""
        stack += [(prefix + name, change.children[name]) for name in sorted(change.children, reverse=True)]
