"""Tags that name the same build, and which of them an author is likely to write: 2.7 rather than 2 or 2.7.13."""

from __future__ import annotations

import math
import re

from ...index import known
from .. import history
from ..matches import depth_of
from . import naming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..matches import Asked, PossibleBase

_IN_SERIES = 30  # of a hundred days that another version was in use too: fewer, and they follow each other
_IN_PARALLEL = 50
_LIVED = 0.6  # of the builds of the name that lived longest
_WORD = re.compile(r"[a-z]{4,}")
# Words of tags that every image's steps are full of.
_COMMON = frozenset("slim alpine onbuild latest apache curl perl base core server full".split())


class Beside:
    """Names beside each other: those of one build are compared, and those of one repository."""

    def __init__(self, asked: Asked, possible_bases: list[PossibleBase]) -> None:
        self.asked = asked
        index = asked.index
        self.by_build: dict[int, list[naming.Form]] = {}
        self.counts: dict[int, float] = {}
        self.lived: dict[int, tuple[int, int]] = {}
        self.lines: dict[int, int] = {}
        for base in possible_bases:
            if base.build not in self.by_build:
                names = index.names(base.build)
                self.by_build[base.build] = [naming.form(index.name(name)) for name in names]
                self.counts[base.build] = max(_count(asked, name) for name in names)
                self.lines[base.build] = self._line(names, self.by_build[base.build], self.counts[base.build])
                self.lived[base.build] = self._lived(names, self.by_build[base.build], self.counts[base.build])
        self.usage = {base.build: max(index.usage[name] for name in index.names(base.build)) for base in possible_bases}
        self.nearest: dict[int, list[tuple[str, list[int]]]] = {}
        for depth in {depth_of(asked, base) for base in possible_bases}:
            of_depth = sorted((p for p in possible_bases if depth_of(asked, p) == depth), key=lambda p: p.distance)
            chosen: dict[int, None] = {}
            for base in of_depth:
                chosen[base.build] = None
                if len(chosen) == 5:
                    break
            self.nearest[depth] = [(self.by_build[build][0].repository, index.names(build)) for build in chosen]
        self._above: dict[int, str] = {}
        self._versions: dict[int, list[str]] = {}
        self._support: dict[tuple[int, int], list[float]] = {}

    def _lived(self, names: list[int], forms: list[naming.Form], most: float) -> tuple[int, int]:
        """Return the deepest version and the most words of the names that are in use as long as any beside them."""
        kept = [
            form
            for name, form in zip(names, forms, strict=True)
            if _count(self.asked, name) >= _LIVED * most and not form.dated and not form.channel
        ]
        return (
            max((form.depth for form in kept), default=0),
            max((len(form.words) - form.numbered for form in kept), default=0),
        )

    def numbers(self, base: PossibleBase) -> list[float]:
        """Return how many of the nearest builds have the repository, and the name."""
        near = self.nearest[depth_of(self.asked, base)]
        repository = naming.form(self.asked.index.name(base.name)).repository
        return [
            sum(other == repository for other, _ in near) / len(near),
            sum(base.name in names for _, names in near) / len(near),
        ]

    def name_numbers(self, base: PossibleBase) -> list[float]:
        """Return what the form of a name says, its use over time, and what versions and words agree with it."""
        asked, index = self.asked, self.asked.index
        form = naming.form(index.name(base.name))
        beside = self.by_build[base.build]
        least_words = min(len(other.words) for other in beside)
        least_numbered = min(other.numbered for other in beside)
        builds = _count(asked, base.name)
        usage = index.usage[base.name]
        most_usage = self.usage[base.build]
        versioned = any(other.version for other in beside)
        shortest = min((other.depth for other in beside if other.depth), default=0)
        code = _is_code(form, beside)
        row = [
            float(form.latest),
            float(form.dated),
            float(not form.version and not form.latest),
            float(form.depth == 1),
            float(form.depth == 2),
            float(form.depth == 3),
            float(form.depth >= 4),
            min(len(form.words), 4) / 2,
            min(len(form.words) - least_words, 3) / 2,
            float(form.numbered),
            float(form.numbered - least_numbered),
            float(code),
            float(code and versioned),
            math.log(builds / self.counts[base.build]),
            math.log(builds) / 3,
            usage / most_usage if most_usage else 0.0,
            float(most_usage > 0 and usage == 0),
        ]
        row += self._time_numbers(base)
        row += self._text_numbers(base, form)
        row += [
            float(code and least_words == len(form.words)),
            float(form.depth == 1 and any(other.latest for other in beside)),
            float(form.depth > 0 and form.depth == shortest and any(other.depth > shortest for other in beside)),
            math.log(len(beside)) * float(form.depth == 2),
            float(form.depth > shortest),
        ]
        return row + self._lived_numbers(base, form, builds / self.counts[base.build])

    def _lived_numbers(self, base: PossibleBase, form: naming.Form, share: float) -> list[float]:
        """Compare with the most exact of the names that stay in use: authors write 2.7 rather than 2 or 2.7.13."""
        depth, words = self.lived[base.build]
        steady = self.asked.index.steady[base.name] / 100
        # A code name stands for a version of any depth.
        behind = 0 if _is_code(form, self.by_build[base.build]) else depth - form.depth
        fewer = words - (len(form.words) - form.numbered)
        return [
            float(form.channel),
            float(form.echo and not form.latest),
            1 - steady,
            float(share >= _LIVED),
            float(behind < 0),
            float(behind == 1),
            float(behind >= 2),
            float(form.depth == depth > 0),
            float(fewer < 0),
            float(fewer == 1),
            float(fewer >= 2),
            float(behind == 0 and form.depth > 0 and fewer == 0 and share >= _LIVED),
            float(form.depth == 0 and depth > 0),
        ]

    def line_numbers(self, base: PossibleBase) -> list[float]:
        """Compare with the most exact version that is one of several lines going on in parallel."""
        form = naming.form(self.asked.index.name(base.name))
        beside = self.asked.index.parallel[base.name]
        line = self.lines[base.build]
        code = _is_code(form, self.by_build[base.build])
        words = self.lived[base.build][1]
        return [
            float(beside < _IN_SERIES),
            float(_IN_PARALLEL <= beside != known.ALONE),
            float(0 < form.depth == line),
            float(form.depth > line > 0),
            float(form.depth < line and not code),
            float(code and line > 0 and self.asked.index.spoken[base.name] > 0),
            float(_is_short(form, self.by_build[base.build])),
            float(form.depth == line and len(form.words) - form.numbered == words and not form.numbered),
        ]

    def _line(self, names: list[int], forms: list[naming.Form], most: float) -> int:
        depth = 0
        for name, form in zip(names, forms, strict=True):
            beside = self.asked.index.parallel[name]
            lasting = beside == known.ALONE and _count(self.asked, name) >= _LIVED * most
            if not form.dated and (lasting or _IN_PARALLEL <= beside != known.ALONE):
                depth = max(depth, form.depth)
        return depth

    def _time_numbers(self, base: PossibleBase) -> list[float]:
        """Tell whether the name was in use when the image was built."""
        asked, index = self.asked, self.asked.index
        if not asked.times or not asked.texts:
            return [0.0, 0.0]
        moment = asked.times[min(base.steps, len(asked.times) - 1)] / known.DAY
        start, end = index.tag_start[base.name], index.tag_start[base.name + 1]
        oldest, newest = index.tag_build[start], index.tag_build[end - 1]
        early = index.first[oldest] - moment
        late = min(moment, index.end) - index.last[newest]
        return [
            min(math.log1p(max(0.0, early - 2)), 5.0) / 2,
            min(math.log1p(max(0.0, late - 2)), 5.0) / 2,
        ]

    def _text_numbers(self, base: PossibleBase, form: naming.Form) -> list[float]:
        """Return whether the name's version stands in the steps of the possible base, and its words in the steps above."""
        asked = self.asked
        if not asked.texts:
            return [0.0] * 4
        versions = self._versions.get(base.steps)
        if versions is None:
            versions = self._versions[base.steps] = history.versions(asked.texts[: base.steps])
            self._above[base.steps] = "\n".join(asked.texts[base.steps :]).lower()[:20_000]
        yes = no = 0.0
        if form.version and versions:
            yes = float(naming.agrees(form.version, versions))
            no = 1 - yes
        above = self._above[base.steps]
        key = (base.steps, base.build)
        support = self._support.get(key)
        if support is None:
            # Names of one build are as good as each other in this: which of them speaks of `jessie` says nothing.
            words = {
                word
                for other in self.by_build[base.build]
                for part in other.words
                for word in _WORD.findall(part)
                if word not in _COMMON
            }
            occurs = any(word in above for word in words)
            support = self._support[key] = [float(occurs), float(bool(words) and not occurs)]
        return [yes, no, *support]


def _is_short(form: naming.Form, beside: list[naming.Form]) -> bool:
    """Tell whether a tag leaves out what another of the build says: `jre` beside `8-jre`, `curl` beside `jessie-curl`."""
    if form.version or not form.words:
        return False
    return any(
        form.words[0] in other.words and (bool(other.version) or len(other.words) > len(form.words)) for other in beside
    )


def _is_code(form: naming.Form, beside: list[naming.Form]) -> bool:
    """Tell whether a tag begins with a word of its own rather than a version: `jessie`, but not `latest` or `jre`."""
    word = not form.version and not form.channel and bool(form.words) and form.words[0].isalpha()
    return word and not _is_short(form, beside)


def _count(asked: Asked, name: int) -> int:
    return asked.index.tag_start[name + 1] - asked.index.tag_start[name]
