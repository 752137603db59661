"""Long lists in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")


def pages_of(count: int, size: int) -> int:
    """Return how many pages `count` items fill: at least one."""
    return max(1, -(-count // size))


class Page(Generic[Item]):
    """One page of a list: its `items`, its `number` from 1 on, how many `pages` there are, and the `count` of all items."""

    __slots__ = ("count", "items", "number", "pages")

    def __init__(self, whole: Sequence[Item], number: int, size: int) -> None:
        """Take page `number` of the `whole` list; a page has `size` items, the last one may have fewer."""
        self.items = whole[(number - 1) * size : number * size]
        self.number = number
        self.count = len(whole)
        self.pages = pages_of(self.count, size)
