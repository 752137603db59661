"""One layer as one lower directory of an overlay: an EROFS index in which whiteouts stand as overlayfs wants them.

So a layer that was just made can be shown above the index of those below it, without merging all of them again.
"""

from __future__ import annotations

import os

import msgspec

from ...errors import Corrupt
from .. import layers, rootfs
from ..kinds import OPAQUE, WHITEOUT
from ..rootfs import erofs
from . import toc
from .merge import Node, Tree
from .toc import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...paths import Paths

_MARK = (b"trusted.overlay.opaque", b"y")


class _Node(Node):
    """A node that may carry overlayfs's mark of opaque directories, which no layer can give itself."""

    __slots__ = ()

    @property
    def xattrs(self) -> list[tuple[bytes, bytes]]:
        attributes = super().xattrs
        return [*attributes, _MARK] if _MARK in self.entry.xattrs else attributes


class _Tree(Tree):
    __slots__ = ()

    def _new(self, entry: Entry, parent: Node) -> Node:
        super()._new(entry, parent)  # for the limits
        return _Node(entry, self._layer, parent)


def overlay_tree(entries: list[Entry], root: Entry | None = None) -> Tree | None:
    """Return the tree of a layer by itself, to be stacked: whiteouts are devices 0:0, and opaque directories marked.

    `root` has the attributes of the root for a layer that does not give them. None when the layer cannot be shown so: it
    has a member below a link or below a directory that it does not have itself (whose attributes would be lost), a hard
    link to a file of the layers below, an opaque root, or a file and a directory in one place.
    """
    kinds: dict[bytes, int] = {b"": toc.DIRECTORY}
    hidden: set[bytes] = set()
    opaque: set[bytes] = set()
    devices: set[bytes] = set()  # overlayfs's own whiteouts: should something else be in the place, the order counts
    kept: list[tuple[bytes, Entry]] = []
    for entry in entries:
        name = _clean(entry.name)
        parent, _, base = name.rpartition(b"/")
        if b".." in entry.name.split(b"/") or kinds.get(parent) != toc.DIRECTORY:
            return None
        if base == OPAQUE:
            opaque.add(parent)
        elif base.startswith(WHITEOUT + WHITEOUT):
            continue  # aufs's own, which hides nothing
        elif base.startswith(WHITEOUT):
            hidden.add(_join(parent, base[len(WHITEOUT) :]))
        elif entry.kind == toc.CHARACTER and not entry.major and not entry.minor:
            hidden.add(name)
            devices.add(name)
        elif not _fits(entry, kinds.get(name), kinds):
            return None
        else:
            kinds[name] = entry.kind
            kept.append((name, entry))
    if b"" in opaque or kinds.keys() & devices:
        return None
    tree = _Tree()
    if root is not None:
        tree.root.entry = root
    try:
        tree.apply([_marked(entry, name in opaque or name in hidden) for name, entry in kept])
    except Corrupt:
        return None
    for name in hidden - kinds.keys():
        _white_out(tree, name)
    return tree


def _clean(name: bytes) -> bytes:
    return b"/".join([part for part in name.split(b"/") if part and part != b"."])


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def _fits(entry: Entry, before: int | None, kinds: dict[bytes, int]) -> bool:
    """Return whether a member can be shown: `before` is the layer's earlier member at this path, `kinds` all so far."""
    if before is not None and (before == toc.DIRECTORY) != (entry.kind == toc.DIRECTORY):
        return False
    if entry.kind != toc.HARDLINK:
        return True
    target = kinds.get(_clean(entry.link))
    return target is not None and target != toc.DIRECTORY and b".." not in entry.link.split(b"/")


def _marked(entry: Entry, opaque: bool) -> Entry:
    """Return a member without any mark of overlayfs but ours."""
    xattrs = tuple(pair for pair in entry.xattrs if not pair[0].startswith(b"trusted."))
    if opaque and entry.kind == toc.DIRECTORY:
        xattrs += (_MARK,)
    return entry if xattrs == entry.xattrs else msgspec.structs.replace(entry, xattrs=xattrs)


def _white_out(tree: Tree, name: bytes) -> None:
    node = tree.root
    *above, last = name.split(b"/")
    for part in above:
        assert node.children is not None
        node = node.children[part]
    assert node.children is not None
    node.children[last] = Node(Entry(last, toc.CHARACTER, 0, 0, 0, 0, 0, 0), 0, node)


def single_index(paths: Paths, diff_id: str, index_path: str, root: Entry | None = None) -> bool:
    """Write the index of one layer to the new file `index_path`; returns whether the layer can be shown so.

    The devices are those of `rootfs.devices(paths, [diff_id])`. Raises NotFound, Corrupt, LimitExceeded, OSError.
    """
    tree = overlay_tree(layers.read_toc(paths, diff_id), root)
    if tree is None:
        return False
    devices = []
    for number, part, path in rootfs.devices(paths, [diff_id]):
        devices.append(erofs.Device(number, part, os.stat(path).st_size, diff_id.partition(":")[2][:57].encode()))
    erofs.write_index(index_path, tree, devices)
    return True
