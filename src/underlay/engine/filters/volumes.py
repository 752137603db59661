"""Which volumes a list has: docker's filters (docker volume ls, "Filtering")."""

from __future__ import annotations

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...store.rows.volumes import Volume
    from ..volumes import Volumes

KEYS = ("dangling", "driver", "label", "name")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def listed(volumes: Volumes, filters: Mapping[str, Sequence[str]]) -> list[Volume]:
    """Return the volumes that fit, sorted by name: all labels, and one of the values of the other filters.

    Raises InvalidInput.
    """
    dangling = None
    for key in filters:
        if key not in KEYS:
            raise InvalidInput(f"invalid filter '{key}'", f"known are {', '.join(KEYS)}")
    if filters.get("dangling"):
        wanted = {_BOOLEANS.get(value) for value in filters["dangling"]}
        if None in wanted:
            raise InvalidInput("invalid filter 'dangling'", "use dangling=true or dangling=false")
        dangling = wanted.pop() if len(wanted) == 1 else None
    return [volume for volume in volumes.list(dangling) if _fits(volume, filters)]


def _fits(volume: Volume, filters: Mapping[str, Sequence[str]]) -> bool:
    for text in filters.get("label", ()):
        key, equals, wanted = text.partition("=")
        if key not in volume.labels or (equals and volume.labels[key] != wanted):
            return False
    if filters.get("driver") and "local" not in filters["driver"]:
        return False
    from .names import fits  # a module with regular expressions, for those who ask for a name

    return not filters.get("name") or any(value == volume.name or fits(value, volume.name) for value in filters["name"])
