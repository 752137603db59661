"""Keys of steps: digests over everything that decides about a result, and over nothing else."""

from __future__ import annotations

import hashlib

import msgspec

# A change of what steps make of the same input makes all older results another's.
_FORM = "underlay build 1"


def key(kind: str, *parts: object) -> str:
    """Return the key of a step of some `kind`; `parts` are strings, numbers, bytes, and lists, tuples and dicts of them."""
    data = msgspec.msgpack.encode((_FORM, kind, parts), order="deterministic")
    return "sha256:" + hashlib.sha256(data).hexdigest()
