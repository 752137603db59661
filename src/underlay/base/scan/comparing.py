"""What has changed between two scans: names that came and went, other bases, more and fewer vulnerabilities."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..fleet.policy import Standing

NEW, GONE, BASE, BUILD, SUPPORT, WORSE, BETTER = "new", "gone", "base", "build", "support", "worse", "better"


class Difference(NamedTuple):
    """What has changed of an image: `kind` is new, gone, base (another one), build (of the same base), support, worse or
    better (vulnerabilities); `before` and `after` say what it was and is."""

    image: str
    kind: str
    before: str = ""
    after: str = ""


def compare(before: Iterable[Standing], after: Iterable[Standing]) -> list[Difference]:
    """Return the differences, by name. Both are judged by the same advisories: what differs is in the images."""
    old, new = {each.image: each for each in before}, {each.image: each for each in after}
    found = []
    for name in sorted({*old, *new}):
        if name not in old:
            found.append(Difference(name, NEW, "", new[name].base or "unknown"))
        elif name not in new:
            found.append(Difference(name, GONE, old[name].base or "unknown"))
        else:
            found += _changes(old[name], new[name])
    return found


def _changes(old: Standing, new: Standing) -> Iterable[Difference]:
    if old.base != new.base:
        yield Difference(new.image, BASE, old.base or "unknown", new.base or "unknown")
    elif old.digest != new.digest:
        yield Difference(new.image, BUILD, old.digest[7:19], new.digest[7:19])
    if old.life != new.life:
        yield Difference(new.image, SUPPORT, old.life, new.life)
    one, other = _count(old), _count(new)
    if one is not None and other is not None and one != other:
        yield Difference(new.image, WORSE if other > one else BETTER, _vulnerabilities(one), _vulnerabilities(other))


def _vulnerabilities(count: int) -> str:
    return f"{count} {'vulnerability' if count == 1 else 'vulnerabilities'}"


def _count(standing: Standing) -> int | None:
    return None if standing.vulnerabilities is None else sum(standing.vulnerabilities.found.values())
