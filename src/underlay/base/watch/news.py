"""What a look at bases has found, and the order in which images that stand on a moved one are rebuilt."""

from __future__ import annotations

import msgspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Moved(msgspec.Struct, frozen=True, tag_field="event", tag="moved"):
    """The name of a base stands for another build than before, or than images stand on.

    `before` ("" if it was not looked at before) and `now` are digests of configurations; `behind` are the names of images
    that stand directly on another build than `now`. `rebuild` are these and all that stands on them, in steps: what is in
    one step stands on what is in earlier ones.
    """

    base: str
    platform: str
    before: str
    now: str
    behind: tuple[str, ...]
    rebuild: tuple[tuple[str, ...], ...]


class Advised(msgspec.Struct, frozen=True, tag_field="event", tag="advisory"):
    """An advisory applies to packages of a base that did not at the look before: its `id` (a CVE number where it has one),
    how severe it is, the `packages` as installed (NAME VERSION), the version in which it is `fixed` ("" for none), and how
    many `images` (names) stand directly on the base."""

    base: str
    platform: str
    id: str
    severity: str
    packages: tuple[str, ...]
    fixed: str
    images: int


News = Moved | Advised


class Watched(msgspec.Struct, frozen=True):
    """The result of a look: how many `bases` (names) were asked for, the `news`, and by name why some could not be had."""

    bases: int
    news: tuple[News, ...]
    problems: dict[str, str]


def steps(behind: Collection[str], base_of: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Return images that are `behind`, and all that stands on them, in the order of rebuilding: first those that stand on
    none of the others, then those that stand on them, and so on. `base_of` leads from each name to that of its base."""
    above: dict[str, list[str]] = {}
    for name, base in base_of.items():
        above.setdefault(base, []).append(name)
    wanted = set(behind)
    left = list(behind)
    while left:
        for name in above.get(left.pop(), ()):
            if name not in wanted:
                wanted.add(name)
                left.append(name)
    found = []
    while wanted:
        # Two that stand on old builds of each other have no order.
        step = {name for name in wanted if base_of.get(name) not in wanted} or wanted
        found.append(tuple(sorted(step)))
        wanted = wanted - step
    return tuple(found)
