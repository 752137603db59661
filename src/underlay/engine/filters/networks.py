"""Which networks a list has: docker's filters (docker network ls, "Filtering")."""

from __future__ import annotations

from ...errors import InvalidInput
from .names import NoPattern, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

KEYS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_BUILTIN = ("bridge", "host", "none")
_VALUES = {"dangling": ("true", "false", "1", "0"), "type": ("builtin", "custom")}


def check(key: str, value: str) -> None:
    """Raise InvalidInput for a filter that there is not, or that has no such value."""
    if key not in KEYS:
        raise InvalidInput(f"invalid filter '{key}'", f"known are {', '.join(KEYS)}, each with =")
    known = _VALUES.get(key)
    if known and value not in known:
        raise InvalidInput(f"invalid filter '{key}={value}'", f"known values are {', '.join(known)}")


def passes(
    filters: Mapping[str, Sequence[str]],
    name: str,
    network_id: str,
    driver: str,
    labels: Mapping[str, str],
    used: Collection[str],
) -> bool:
    """Return whether a network is in the list; `used` are the ids of those that containers are in.

    Labels must all fit, other filters one of their values. Networks that are always there are never dangling.
    """
    for text in filters.get("label", ()):
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    wanted = filters.get("dangling")
    dangling = name not in _BUILTIN and network_id not in used
    return (
        (not wanted or dangling == (wanted[-1] in ("true", "1")))
        and ("driver" not in filters or driver in filters["driver"])
        and ("id" not in filters or _any(filters["id"], network_id))
        and ("name" not in filters or _any(filters["name"], name))
        and ("scope" not in filters or "local" in filters["scope"])
        and ("type" not in filters or ("builtin" if name in _BUILTIN else "custom") in filters["type"])
    )


def _any(parts: Sequence[str], text: str) -> bool:
    """Return whether one of `parts` is part of a text, or is a regular expression that fits it."""
    if any(part in text for part in parts):
        return True
    try:
        return any(fits(part, text) for part in parts)
    except NoPattern:
        return False  # as docker has it
