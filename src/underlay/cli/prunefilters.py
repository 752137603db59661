"""The values of `--filter` that the prune commands have in common."""

from __future__ import annotations

from ..engine.filters.moments import moment
from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class PruneFilters:
    """What is to be pruned: created before `until` (seconds since the epoch, None for any time), with labels: `key`,
    `key=value`, `!key` or `!key=value`."""

    __slots__ = ("labels", "until")

    def __init__(self) -> None:
        self.until: float | None = None
        self.labels: list[str] = []


def parse(texts: Iterable[str]) -> PruneFilters:
    """Return what `until=…`, `label=…` and `label!=…` ask for. Raises InvalidInput."""
    filters = PruneFilters()
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in ("until", "label", "label!"):
            raise InvalidInput(f"invalid filter '{text}'", "known are until, label and label!, each with =")
        if key == "until":
            filters.until = moment(value) if filters.until is None else min(filters.until, moment(value))
        else:
            filters.labels.append(f"!{value}" if key == "label!" else value)
    return filters
