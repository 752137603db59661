"""All images as a forest: each image stands on its base. The rows of a drawing of it, with their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.identify.identify import SCRATCH
from ..errors import UnderlayError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.engine import Engine
    from .listing import Listing, Row

MOST = 500  # images in one drawing
_STEP, _LINE, _LEFT = 24, 28, 12  # pixels: from a base to what stands on it, between two rows, before the first mark
_LETTER = 9  # pixels of the width of a letter, at most


class Tree:
    """An image with the images that stand on it, by their ids in `above`.

    `id` is "" for a base that is not in the store; `state` and `reason` are those of the image's own base
    (`listing.BaseSummary`).
    """

    __slots__ = ("above", "id", "name", "reason", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = self.reason = ""
        self.state = "unknown"
        self.above: dict[str, Tree] = {}

    def size(self) -> int:
        """Return the number of images that stand on it, directly or on others that do."""
        waiting, count = [*self.above.values()], 0
        while waiting:
            tree = waiting.pop()
            count += 1
            waiting += tree.above.values()
        return count


class DrawnRow:
    """A row of the drawing: the image, the place of its mark in pixels, and the height `base_y` of its base's mark (None
    for an image without one)."""

    __slots__ = ("base_y", "tree", "x", "y")

    def __init__(self, tree: Tree, x: int, y: int, base_y: int | None) -> None:
        self.tree = tree
        self.x = x
        self.y = y
        self.base_y = base_y


def trees_of(engine: Engine, rows: list[Row], listing: Listing) -> list[Tree]:
    """Return the images as trees, the largest tree first. An image whose base is not known is a tree of its own."""
    known = {row.id: row for row in rows}
    roots: dict[str, Tree] = {}
    for row in rows:
        try:
            chain = engine.bases.identify(row.id).chain
        except UnderlayError:
            chain = ()  # the page of the image shows the error
        level = roots
        for link in reversed([link for link in chain if link.name != SCRATCH]):
            key = link.config_digest or link.name
            level = level.setdefault(key, _tree(link.name, key, known, listing)).above
        level.setdefault(row.id, _tree(row.names[0] if row.names else row.id[7:19], row.id, known, listing))
    return sorted(roots.values(), key=lambda tree: -tree.size())


def _tree(name: str, key: str, known: dict[str, Row], listing: Listing) -> Tree:
    tree = Tree(name)
    if key in known:
        row, base = known[key], listing.base_of(key)
        tree.name, tree.id = row.names[0] if row.names else name, key
        tree.state, tree.reason = base.state, base.reason
    return tree


def drawing(trees: list[Tree]) -> dict[str, Any]:
    """Return the rows of the drawing, and its width and height in pixels."""
    rows = list(_rows(trees))
    ends = (row.x + _LETTER * (len(row.tree.name) + len(row.tree.reason)) for row in rows)
    return {"rows": rows, "width": max(ends, default=0) + 60, "height": len(rows) * _LINE + _LINE // 2}


def _rows(trees: list[Tree]) -> Iterator[DrawnRow]:
    waiting: list[tuple[Tree, int, int | None]] = [(tree, 0, None) for tree in reversed(trees)]
    number = 0
    while waiting:
        tree, depth, base_y = waiting.pop()
        y = number * _LINE + _LINE // 2
        number += 1
        yield DrawnRow(tree, _LEFT + depth * _STEP, y, base_y)
        above = sorted(tree.above.values(), key=lambda each: (-each.size(), each.name), reverse=True)
        waiting += [(each, depth + 1, y) for each in above]
