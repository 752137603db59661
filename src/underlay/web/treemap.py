"""What a layer adds and changes below a directory: its names with their bytes, and a drawing of them as areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .changes import ADDED, CHANGED, REMOVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .changes import FileChange

WIDTH, HEIGHT = 1000, 320  # of a drawing, in its own units
_DRAWN = 60  # areas in a drawing; what is smaller than the others is left out


class Below:
    """A name below a directory, with all that a layer changes there.

    `path` is bytes. `size` and `hidden_bytes` (what later layers replace or remove) are in bytes; `counts` the number of
    files by kind of change. `is_directory` says that there is more below it.
    """

    __slots__ = ("counts", "hidden_bytes", "is_directory", "path", "size")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.size = self.hidden_bytes = 0
        self.counts = {ADDED: 0, CHANGED: 0, REMOVED: 0}
        self.is_directory = False


class Area:
    """A rectangle of the drawing: `x`, `y`, `width` and `height` in its units."""

    __slots__ = ("below", "height", "width", "x", "y")

    def __init__(self, below: Below, x: float, y: float, width: float, height: float) -> None:
        self.below = below
        self.x = x
        self.y = y
        self.width = width
        self.height = height


def below(changes: Iterable[FileChange], directory: bytes) -> list[Below]:
    """Return the names below a directory ("" for the root) in which something changes, the largest first."""
    prefix = directory + b"/" if directory else b""
    found: dict[bytes, Below] = {}
    for change in changes:
        if not change.path.startswith(prefix):
            continue
        name, slash, _ = change.path[len(prefix) :].partition(b"/")
        here = found.get(name)
        if here is None:
            here = found[name] = Below(prefix + name)
        here.size += change.size
        here.counts[change.kind] += 1
        here.is_directory = here.is_directory or bool(slash)
        if change.hidden:
            here.hidden_bytes += change.size
    return sorted(found.values(), key=lambda each: (-each.size, each.path))


def areas(names: Sequence[Below]) -> list[Area]:
    """Return names, the largest first, as rectangles whose areas are in proportion to their bytes.

    The way of M. Bruls, K. Huizing and J. van Wijk, "Squarified Treemaps" (2000): rows along the shorter side of what is
    left, each as long as its areas become more like squares.
    """
    waiting = [each for each in names[:_DRAWN] if each.size]
    left = sum(each.size for each in waiting)
    x, y, width, height = 0.0, 0.0, float(WIDTH), float(HEIGHT)
    made: list[Area] = []
    while waiting:
        side = min(width, height)
        scale = width * height / left  # of bytes to area
        count = 1
        while count < len(waiting) and _worst(waiting[: count + 1], side, scale) <= _worst(
            waiting[:count], side, scale
        ):
            count += 1
        row, waiting = waiting[:count], waiting[count:]
        total = sum(each.size for each in row)
        depth = total * scale / side
        at = 0.0
        for each in row:
            length = side * each.size / total
            upright = width >= height
            made.append(Area(each, x, y + at, depth, length) if upright else Area(each, x + at, y, length, depth))
            at += length
        if width >= height:
            x, width = x + depth, width - depth
        else:
            y, height = y + depth, height - depth
        left -= total
    return made


def _worst(row: Sequence[Below], side: float, scale: float) -> float:
    """Return the worst aspect ratio in a row of areas: the longer side divided by the shorter one."""
    depth = sum(each.size for each in row) * scale / side
    lengths = [each.size * scale / depth for each in row]
    return max(max(depth / length, length / depth) for length in lengths)
