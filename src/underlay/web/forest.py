"""All images as a forest: who stands on whom, as rows of a drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.identify.identify import SCRATCH
from ..errors import UnderlayError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.engine import Engine
    from .listing import Listing, Row

MOST = 500  # images in one drawing
_STEP, _LINE, _LEFT = 24, 28, 12  # pixels: of one image on another, between two rows, before the first


class Tree:
    """An image and those that stand on it; `id` is "" for one that is not here, `state` the word for its colour."""

    __slots__ = ("above", "id", "name", "state", "why")

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = self.why = ""
        self.state = "unknown"
        self.above: dict[str, Tree] = {}

    def size(self) -> int:
        """Return how many images stand on it, one upon the other included."""
        waiting, count = [*self.above.values()], 0
        while waiting:
            tree = waiting.pop()
            count += 1
            waiting += tree.above.values()
        return count


class Drawn:
    """A row of the drawing: a tree with the place of its mark, and where the line to what it stands on comes from."""

    __slots__ = ("below", "tree", "x", "y")

    def __init__(self, tree: Tree, x: int, y: int, below: int | None) -> None:
        self.tree = tree
        self.x = x
        self.y = y
        self.below = below


def grown(engine: Engine, rows: list[Row], listing: Listing) -> list[Tree]:
    """Return the trees of images, the largest first; what has no base that is known stands by itself."""
    known = {row.id: row for row in rows}
    roots: dict[str, Tree] = {}
    for row in rows:
        try:
            chain = engine.bases.identify(row.id).chain
        except UnderlayError:
            chain = ()  # its page says why
        here = roots
        for link in reversed([link for link in chain if link.name != SCRATCH]):
            key = link.config_digest or link.name
            here = here.setdefault(key, _tree(link.name, key, known, listing)).above
        here.setdefault(row.id, _tree(row.names[0] if row.names else row.id[7:19], row.id, known, listing))
    return sorted(roots.values(), key=lambda tree: -tree.size())


def _tree(name: str, key: str, known: dict[str, Row], listing: Listing) -> Tree:
    tree = Tree(name)
    if key in known:
        row, ground = known[key], listing.ground(key)
        tree.name, tree.id = row.names[0] if row.names else name, key
        tree.state, tree.why = ground.state, ground.why
    return tree


def drawn(trees: list[Tree]) -> dict[str, Any]:
    """Return the rows of a drawing, and its width and height in pixels."""
    rows = list(_rows(trees))
    longest = max((row.x + 9 * len(row.tree.name) + 9 * len(row.tree.why) for row in rows), default=0)
    return {"rows": rows, "width": longest + 60, "height": len(rows) * _LINE + _LINE // 2}


def _rows(trees: list[Tree]) -> Iterator[Drawn]:
    waiting: list[tuple[Tree, int, int | None]] = [(tree, 0, None) for tree in reversed(trees)]
    number = 0
    while waiting:
        tree, depth, below = waiting.pop()
        y = number * _LINE + _LINE // 2
        number += 1
        yield Drawn(tree, _LEFT + depth * _STEP, y, below)
        above = sorted(tree.above.values(), key=lambda each: (-each.size(), each.name), reverse=True)
        waiting += [(each, depth + 1, y) for each in above]
