"""x"""
from __future__ import annotations

from typing import Any

from trees import Difference


def compare_configurations(ours: dict[str, Any], theirs: dict[str, Any], history: bool = True) -> list[Difference]:
    found = []
    left, right = ours.get("config", {}), theirs.get("config", {})
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            found.append(Difference("config", key, repr(left.get(key)), repr(right.get(key))))
    for key in sorted((ours.keys() | theirs.keys()) - {"config", "history", "rootfs", "created"}):
        if ours.get(key) != theirs.get(key):
            found.append(Difference("", key, repr(ours.get(key)), repr(theirs.get(key))))
    if history:
        one, other = ours["history"], theirs["history"]
        if len(one) != len(other):
            found.append(Difference("history", "length", str(len(one)), str(len(other))))
        for number, (a, b) in enumerate(zip(one, other)):
            for key in sorted((a.keys() | b.keys()) - {"created"}):
                if a.get(key) != b.get(key):
                    found.append(Difference(f"history {number}", key, repr(a.get(key)), repr(b.get(key))))
    return found
