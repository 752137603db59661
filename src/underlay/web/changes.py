"""What each layer of an image adds, changes and removes, and which of its files later layers hide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..store.kinds import DIRECTORY, OPAQUE, REGULAR, WHITEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..store.layers.toc import Entry

ADDED, CHANGED, REMOVED = "added", "changed", "removed"


class FileChange:
    """A file that a layer adds, changes or removes.

    `path` is bytes, `kind` one of ADDED, CHANGED and REMOVED, `size` in bytes. `hidden` says that a later layer replaces or
    removes the file.
    """

    __slots__ = ("hidden", "kind", "path", "size")

    def __init__(self, path: bytes, kind: str, size: int) -> None:
        self.path = path
        self.kind = kind
        self.size = size
        self.hidden = False


class LayerChanges:
    """The changes of one layer: its `files`, and how many of their bytes later layers hide (`hidden_bytes`)."""

    __slots__ = ("files", "hidden_bytes")

    def __init__(self) -> None:
        self.files: list[FileChange] = []
        self.hidden_bytes = 0

    def count(self, kind: str) -> int:
        """Return the number of files that were added, changed or removed."""
        return sum(change.kind == kind for change in self.files)


class _Node:
    """A file or directory as the layers so far have made it: the number of the layer that it is from, the layer's change
    (None for a directory), and what is in a directory."""

    __slots__ = ("change", "layer", "names")

    def __init__(self, layer: int) -> None:
        self.layer = layer
        self.change: FileChange | None = None
        self.names: dict[bytes, _Node] = {}

    def all(self) -> Iterator[_Node]:
        """Yield this node and all below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.names.values()


def changes_of(layers: Iterable[Iterable[Entry]]) -> list[LayerChanges]:
    """Return the changes of each layer; layers are given as the members of their tars, the lowest first.

    Members are taken by their names: one that a layer writes through a link of a lower layer counts under the name that its
    tar has.
    """
    made: list[LayerChanges] = []
    root = _Node(-1)
    for number, entries in enumerate(layers):
        made.append(LayerChanges())
        for entry in entries:
            _apply(made, root, number, entry)
    return made


def _apply(made: list[LayerChanges], root: _Node, number: int, entry: Entry) -> None:
    """Apply a member of layer `number` to the tree, and note its change."""
    parts = [part for part in entry.name.split(b"/") if part not in (b"", b".")]
    if not parts or b".." in parts:
        return
    parent = root
    for part in parts[:-1]:
        parent = parent.names.setdefault(part, _Node(number))
    name = parts[-1]
    if name == OPAQUE:
        for below in [key for key, node in parent.names.items() if node.layer < number]:
            _remove(made, parent, below, number, b"/".join([*parts[:-1], below]))
    elif name.startswith(WHITEOUT):
        removed = name[len(WHITEOUT) :]
        _remove(made, parent, removed, number, b"/".join([*parts[:-1], removed]))
    elif entry.kind == DIRECTORY:
        before = parent.names.get(name)
        if before is None or before.change is not None:
            _hide(made, before, number + 1)
            parent.names[name] = _Node(number)
    else:
        before = parent.names.get(name)
        kind = CHANGED if before is not None and before.layer < number else ADDED
        _hide(made, before, number + 1)  # of a name that comes twice in a layer the last member counts
        node = parent.names[name] = _Node(number)
        node.change = FileChange(b"/".join(parts), kind, entry.size if entry.kind == REGULAR else 0)
        made[number].files.append(node.change)


def _remove(made: list[LayerChanges], parent: _Node, name: bytes, number: int, path: bytes) -> None:
    """Remove what lower layers have under a name, and note it as a change of layer `number`."""
    node = parent.names.get(name)
    if node is None or node.layer >= number:
        return  # a whiteout of nothing, or of what its own layer has
    _hide(made, node, number)
    del parent.names[name]
    made[number].files.append(FileChange(path, REMOVED, 0))


def _hide(made: list[LayerChanges], node: _Node | None, below: int) -> None:
    """Mark the files of a node, and all below it, that are from layers `below` a number as hidden."""
    for each in node.all() if node is not None else ():
        if each.change is not None and each.layer < below and not each.change.hidden:
            each.change.hidden = True
            made[each.layer].hidden_bytes += each.change.size
