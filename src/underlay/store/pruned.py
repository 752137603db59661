"""Prunes: what they have done, and which labels they look for; the same for images, containers, volumes, networks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Pruned:
    """The result of a prune: `removed` are ids (names for volumes and networks), `reclaimed` the bytes freed."""

    __slots__ = ("reclaimed", "removed")

    def __init__(self, removed: list[str], reclaimed: int = 0) -> None:
        self.removed = removed
        self.reclaimed = reclaimed

    def __repr__(self) -> str:
        return f"Pruned(removed={self.removed!r}, reclaimed={self.reclaimed})"


def labelled(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Return whether labels match: one of the `key` and `key=value`, if there are any, and none of the `!key` and
    `!key=value`."""

    def has(text: str) -> bool:
        key, equals, value = text.partition("=")
        return key in labels and (not equals or labels[key] == value)

    positive = [label for label in wanted if not label.startswith("!")]
    negative = [label[1:] for label in wanted if label.startswith("!")]
    return (not positive or any(map(has, positive))) and not any(map(has, negative))
