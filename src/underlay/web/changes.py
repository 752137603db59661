"""What each layer of an image adds, changes and removes, and which of its bytes nobody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..store.kinds import DIRECTORY, OPAQUE, REGULAR, WHITEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..store.layers.toc import Entry

ADDED, CHANGED, REMOVED = "added", "changed", "removed"


class Change:
    """One file that a layer adds, changes or removes: `path` (bytes), `kind` of change, `size` in bytes, whether it is
    `hidden` by a later layer."""

    __slots__ = ("hidden", "kind", "path", "size")

    def __init__(self, path: bytes, kind: str, size: int) -> None:
        self.path = path
        self.kind = kind
        self.size = size
        self.hidden = False


class LayerChanges:
    """The changes of one layer; `wasted` are the bytes of its files that later layers replace or remove."""

    __slots__ = ("changes", "wasted")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.wasted = 0

    def count(self, kind: str) -> int:
        """Return how many changes are of a kind."""
        return sum(change.kind == kind for change in self.changes)


class _Place:
    """A name in the image as it is so far: the number of the layer that it is from, and what that layer changed."""

    __slots__ = ("change", "layer", "names")

    def __init__(self, layer: int) -> None:
        self.layer = layer
        self.change: Change | None = None  # None for a directory
        self.names: dict[bytes, _Place] = {}

    def all(self) -> Iterator[_Place]:
        """Yield this place and all that is below it."""
        waiting = [self]
        while waiting:
            place = waiting.pop()
            yield place
            waiting += place.names.values()


def of_layers(layers: Iterable[Iterable[Entry]]) -> list[LayerChanges]:
    """Return the changes of each layer, given as its members, the lowest first.

    Members are taken by their names: a layer that writes through a link of a lower one changes what the name says.
    """
    made: list[LayerChanges] = []
    root = _Place(-1)
    for number, entries in enumerate(layers):
        made.append(LayerChanges())
        for entry in entries:
            _apply(made, root, number, entry)
    return made


def _apply(made: list[LayerChanges], root: _Place, number: int, entry: Entry) -> None:
    parts = [part for part in entry.name.split(b"/") if part not in (b"", b".")]
    if not parts or b".." in parts:
        return
    here = root
    for part in parts[:-1]:
        here = here.names.setdefault(part, _Place(number))
    name = parts[-1]
    if name == OPAQUE:
        for below in [key for key, place in here.names.items() if place.layer < number]:
            _remove(made, here, below, number, b"/".join([*parts[:-1], below]))
    elif name.startswith(WHITEOUT):
        hidden = name[len(WHITEOUT) :]
        _remove(made, here, hidden, number, b"/".join([*parts[:-1], hidden]))
    elif entry.kind == DIRECTORY:
        place = here.names.get(name)
        if place is None or place.change is not None:
            _hide(made, place, number + 1)
            here.names[name] = _Place(number)
    else:
        before = here.names.get(name)
        lower = before is not None and before.layer < number
        _hide(made, before, number + 1)  # a name that comes twice in a layer counts as it comes last
        place = here.names[name] = _Place(number)
        size = entry.size if entry.kind == REGULAR else 0
        place.change = Change(b"/".join(parts), CHANGED if lower else ADDED, size)
        made[number].changes.append(place.change)


def _remove(made: list[LayerChanges], parent: _Place, name: bytes, number: int, path: bytes) -> None:
    place = parent.names.get(name)
    if place is None or place.layer >= number:
        return  # it hides nothing, or what its own layer has
    _hide(made, place, number)
    del parent.names[name]
    made[number].changes.append(Change(path, REMOVED, 0))


def _hide(made: list[LayerChanges], place: _Place | None, number: int) -> None:
    """Note that what layers below `number` have in a place is not seen any more."""
    for each in place.all() if place is not None else ():
        if each.change is not None and each.layer < number and not each.change.hidden:
            each.change.hidden = True
            made[each.layer].wasted += each.change.size
