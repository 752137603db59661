"""Areas of a drawing are in proportion to bytes, fill it, and do not overlap."""

from __future__ import annotations

import random

import pytest

from underlay.web import treemap
from underlay.web.changes import ADDED, CHANGED, REMOVED, FileChange


def names(*sizes: int) -> list[treemap.Below]:
    made = []
    for number, size in enumerate(sorted(sizes, reverse=True)):
        made.append(treemap.Below(b"%d" % number))
        made[-1].size = size
    return made


@pytest.mark.parametrize("sizes", [(1,), (5, 5), (6, 6, 4, 3, 2, 2, 1), (1_000_000, 1, 1), tuple(range(1, 60))])
def test_areas(sizes: tuple[int, ...]) -> None:
    areas = treemap.areas(names(*sizes))
    assert len(areas) == len(sizes)
    whole = treemap.WIDTH * treemap.HEIGHT
    assert sum(area.width * area.height for area in areas) == pytest.approx(whole)
    for area in areas:
        assert area.width * area.height == pytest.approx(whole * area.below.size / sum(sizes))
        assert area.x >= -1e-6 and area.x + area.width <= treemap.WIDTH + 1e-6
        assert area.y >= -1e-6 and area.y + area.height <= treemap.HEIGHT + 1e-6
    for _ in range(300):
        x, y = random.uniform(0, treemap.WIDTH), random.uniform(0, treemap.HEIGHT)
        holding = [area for area in areas if area.x <= x < area.x + area.width and area.y <= y < area.y + area.height]
        assert len(holding) <= 1


def test_areas_are_near_to_squares() -> None:
    for area in treemap.areas(names(6, 6, 4, 3, 2, 2, 1)):
        assert max(area.width / area.height, area.height / area.width) < 3


def test_what_has_no_bytes_has_no_area() -> None:
    assert treemap.areas(names(0, 0)) == [] and len(treemap.areas(names(3, 0))) == 1
    assert len(treemap.areas(names(*range(1, 500)))) == 60


def test_names_below_a_directory() -> None:
    changes = [FileChange(b"etc/a", ADDED, 10), FileChange(b"etc/b/c", CHANGED, 5), FileChange(b"etc/b/d", REMOVED, 0)]
    changes += [FileChange(b"etcetera", ADDED, 100), FileChange(b"top", ADDED, 3)]
    changes[0].hidden = True
    top = treemap.below(changes, b"")
    assert [(each.path, each.size, each.is_directory) for each in top] == [
        (b"etcetera", 100, False),
        (b"etc", 15, True),
        (b"top", 3, False),
    ]
    assert top[1].hidden_bytes == 10 and top[1].counts == {ADDED: 1, CHANGED: 1, REMOVED: 1}
    assert [each.path for each in treemap.below(changes, b"etc")] == [b"etc/a", b"etc/b"]
    assert treemap.below(changes, b"et") == []
