"""How the names of builds were used over time, for choosing among several names of one build."""

from __future__ import annotations

from collections import Counter, defaultdict

from ..identify.names import naming
from . import known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .index_builder import Build


def usage(builds: list[Build]) -> tuple[Counter[str], set[str]]:
    """Return how often each name is what names stand on, and the repositories whose code names are spoken of.

    A name counts where it explains all bases that some name had over time. Where several do, one that shares a word
    with the name above it is what its author had in mind: `debian:jessie` for `tool:jessie`.
    """
    by_config = {build.config: build for build in builds if build.config}
    bases: dict[str, Counter[str]] = defaultdict(Counter)
    totals: Counter[str] = Counter()
    for build in builds:
        parent = by_config.get(build.parent)
        if parent is None or build.ghost or parent.ghost:
            continue
        for name in build.names:
            totals[name] += 1
            for called in parent.names:
                bases[name][called] += 1
    counted: Counter[str] = Counter()
    spoken: set[str] = set()
    for name, counts in bases.items():
        most = max(counts.values())
        if most < 0.8 * totals[name]:
            continue
        best = [called for called, count in counts.items() if count >= 0.95 * most]
        own = set(_words(name))
        alike = [called for called in best if own & set(_words(called))]
        for called in alike or best:
            counted[called] += round(100 / len(alike or best))
            if alike and naming.form(called).words[:1] == tuple(_words(called))[:1]:
                spoken.add(called.rpartition(":")[0])
    return counted, spoken


def _words(name: str) -> list[str]:
    """Return the words of a tag that are long enough to be somebody's choice."""
    return [word for word in name.rpartition(":")[2].split("-") if len(word) >= 3 and word.isalpha()]


def steady(builds: list[Build], names: Sequence[str]) -> list[int]:
    """Return for each name how many of a hundred of its builds have its most frequent companion, 100 if it has none.

    `jessie` is always `8`; `stable` was `jessie` and then something else.
    """
    total: Counter[str] = Counter()
    together: dict[str, Counter[str]] = defaultdict(Counter)
    for build in builds:
        for name in build.names:
            total[name] += 1
            others = [other for other in build.names if other != name and not other.endswith(":latest")]
            for other in others or [""]:
                together[name][other] += 1
    return [100 * max(together[name].values(), default=total[name]) // total[name] for name in names]


def parallel(builds: list[Build], names: Sequence[str]) -> list[int]:
    """Return for each name in how many of a hundred days of its time a version beside it was in use, too.

    Versions beside each other differ in their last part only. 7.0 and 7.1 are lines that go on in parallel, and so are
    what an author chooses between; 7.0.15 is followed by 7.0.16. ALONE where no other version stands beside.
    """
    spans: dict[str, list[int]] = {}
    for build in builds:
        for name, since in build.names.items():
            span = spans.setdefault(name, [since, since])
            span[0] = min(span[0], since)
            span[1] = max(span[1], build.last if not build.ghost else since)
    beside: dict[tuple[str, str, int, tuple[str, ...]], list[str]] = defaultdict(list)
    keys: dict[str, tuple[str, str, int, tuple[str, ...]]] = {}
    for name in names:
        form = naming.form(name)
        if form.depth and not form.dated:
            keys[name] = form.repository, form.version[: -len(form.last)], form.depth, form.words
            beside[keys[name]].append(name)
    shares: list[int] = []
    for name in names:
        others = [other for other in beside[keys[name]] if other != name] if name in keys else []
        if not others:
            shares.append(known.ALONE)
            continue
        start, end = spans[name]
        overlap = max(min(end, spans[other][1]) - max(start, spans[other][0]) for other in others)
        shares.append(max(0, min(100, 100 * overlap // max(end - start, 14))))
    return shares
