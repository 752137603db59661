"""Cache keys of steps: digests of everything that determines a result, and of nothing else."""

from __future__ import annotations

from ...lean.hashing import sha256

# A change of what steps make of the same input makes all older results another's.
_FORM = "underlay build 2"


def key(kind: str, *parts: object) -> str:
    """Return the key of a step of some `kind`; `parts` are strings, numbers, bytes, None, and lists and tuples of them."""
    # Python's own way to write such values is the same for equal ones, and another for others.
    return "sha256:" + sha256(ascii((_FORM, kind, parts)).encode()).hexdigest()
