"""What a prune has done: the same for images, containers, volumes, networks and the build cache."""

from __future__ import annotations


class Pruned:
    """The result of a prune: `removed` are ids (names for volumes and networks), `reclaimed` the bytes freed."""

    __slots__ = ("reclaimed", "removed")

    def __init__(self, removed: list[str], reclaimed: int = 0) -> None:
        self.removed = removed
        self.reclaimed = reclaimed

    def __repr__(self) -> str:
        return f"Pruned(removed={self.removed!r}, reclaimed={self.reclaimed})"
