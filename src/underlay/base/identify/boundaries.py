"""Where one Dockerfile seems to end and the next to begin: pauses, commands, maintainers, bases of similar images."""

from __future__ import annotations

import math
from itertools import pairwise

from . import history
from .matches import depth_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .matches import Asked, PossibleBase, Twins

_SEAMS = 6  # of each sort are looked at


_COMMANDS, _FILLING = ("CMD", "ENTRYPOINT"), ("RUN", "COPY", "ADD")
_METADATA = frozenset(
    "ARG CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR".split()
)
# Of 1,022 official images with a base 933 have a step that fills a layer behind one that says what is run, and of 219 made
# from nothing none has; nor does one of those begin with a program that is run.
_HARDLY = 0.05
_ANY_IMAGE = 0.15  # share of images that are made from nothing, where an image says nothing at all


def nothing_at_most(asked: Asked) -> float:
    """Return how likely an image with no known base, that does not say what it is itself, is made from nothing at most."""
    words = [text.partition(" ")[0] for text in asked.texts]
    if not words:
        return 1.0 if asked.layer_total else _ANY_IMAGE
    filling = [spot for spot, word in enumerate(words) if word in _FILLING]
    commands = [spot for spot, word in enumerate(words) if word in _COMMANDS]
    interrupted = filling and commands and commands[0] < filling[-1]
    # What builders write down in words of their own, or not at all, may be where files came from.
    first = next((word for word in words if word not in _METADATA), "")
    return _HARDLY if interrupted or first == "RUN" else 1.0


def gaps_of(asked: Asked) -> list[float]:
    """Return for each step the logarithm (base 10) of the seconds between it and the one before."""
    times = asked.times
    return [0.0] + [math.log10(1 + max(0.0, after - before)) for before, after in pairwise(times)]


class TwinBases:
    """What builds that share more with the image than any base say about where it stands."""

    def __init__(self, asked: Asked, twins: Twins | None) -> None:
        self.asked = asked
        self.whole = twins is not None and twins.whole
        self.count = len(twins.bases) if twins else 0
        self.depths: dict[int, int] = {}
        self.names: dict[int, int] = {}
        self.rootless = 0
        index = asked.index
        for base in twins.bases if twins else ():
            if base is None:
                self.rootless += 1
                continue
            depth = index.step_count(base) if asked.texts else index.layer_filled[base]
            self.depths[depth] = self.depths.get(depth, 0) + 1
            for name in index.names(base):
                self.names[name] = self.names.get(name, 0) + 1

    def numbers(self, base: PossibleBase) -> list[float]:
        """Return which share of the twins stands on a base of this depth, and of this name."""
        if not self.count:
            return [0.0] * 6
        depth = self.depths.get(depth_of(self.asked, base), 0) / self.count
        name = self.names.get(base.name, 0) / self.count
        return [
            depth,
            float(depth == 0),
            name,
            float(name == 0),
            depth * self.whole,
            float(self.whole and depth == 0),
        ]


class Seams:
    """Where one Dockerfile seems to end and another to begin: pauses, commands, maintainers."""

    def __init__(self, asked: Asked, gaps: list[float]) -> None:
        self.asked = asked
        self.gaps = gaps
        self.words = [history.instruction(text) for text in asked.texts]
        self.kinds = [_kind(word, text) for word, text in zip(self.words, asked.texts, strict=True)]
        total = len(self.words)
        self.commands = [0] * (total + 1)
        for spot, word in enumerate(self.words):
            self.commands[spot + 1] = self.commands[spot] + (word == "CMD")
        self.after_cmd = [spot for spot in range(1, total) if self.words[spot - 1] in ("CMD", "ENTRYPOINT")]
        self.maintainers = [spot for spot, kind in enumerate(self.kinds) if kind == "MAINTAINER"]
        self.most = max(gaps[1:], default=0.0)
        self.most_of_cmd = max((gaps[spot] for spot in self.after_cmd if spot < len(gaps)), default=0.0)

    def gap(self, steps: int) -> float:
        """Return the logarithm of the seconds between the first `steps` steps and the next one; 0 if not known."""
        return self.gaps[steps] if 0 < steps < len(self.gaps) else 0.0

    def numbers(self, steps: int) -> list[float]:
        """Return what the steps around an end after `steps` steps look like."""
        if not self.words or not 0 < steps < len(self.words):
            return [0.0] * 5
        later = self.commands[-1] - self.commands[steps] - (self.words[-1] == "CMD")
        return [
            float(self.most > 0 and self.gap(steps) >= self.most),
            float(self.words[steps - 1] in ("CMD", "ENTRYPOINT")),
            float(self.kinds[steps] == "MAINTAINER"),
            float(any(spot > steps for spot in self.maintainers)),
            min(max(later, 0), 3) / 2,
        ]

    def spots(self, possible_bases: list[PossibleBase], least: int) -> list[int]:
        """Return after how many steps an unknown base may end; more than `least`."""
        total = len(self.words)
        by_gap = sorted(range(1, min(total, len(self.gaps))), key=lambda spot: -self.gaps[spot])[:_SEAMS]
        spots = {
            *by_gap,
            *self.after_cmd[:_SEAMS],
            *self.maintainers[:_SEAMS],
            *(base.steps for base in possible_bases),
        }
        return sorted(spot for spot in spots if least < spot < total)

    def unknown(
        self, possible_bases: list[PossibleBase], exact: int, based: TwinBases
    ) -> list[tuple[int, list[float]]]:
        """Return the numbers for each number of steps that a base which is not known may have."""
        whole_depths = {base.steps for base in possible_bases if base.partial is None}
        partial_depths = {base.steps for base in possible_bases if base.partial is not None}
        deepest = max(whole_depths, default=0)
        total = len(self.words)
        rows = []
        for steps in self.spots(possible_bases, exact):
            kind = self.kinds[steps]
            greatest, after_cmd, maintainer, maintainer_later, later = self.numbers(steps)
            gap = self.gap(steps)
            row = [
                1.0,
                gap / 4,
                greatest,
                float(gap > 0 and gap >= self.most_of_cmd and steps in self.after_cmd),
                max(0.0, max(self.gaps[steps + 1 :], default=0.0) - gap) / 2,
                float(not self.asked.times),
                after_cmd,
                float(self.words[steps - 1] == "ENTRYPOINT"),
                min(self.commands[steps], 3) / 2,
                later,
                maintainer,
                float(kind == "ENV"),
                float(kind == "ARG"),
                float(kind == "RUN"),
                float(kind in ("COPY", "ADD")),
                maintainer_later,
                math.log(steps) / 2,
                math.log(total - steps) / 2,
                steps / total,
                float(steps in whole_depths),
                float(steps in partial_depths),
                float(steps < exact),
                float(steps == exact),
                float(steps > exact > 0),
                float(steps > deepest > 0),
                float(self.words[0] in ("ADD", "COPY")),
                float(based.depths.get(steps, 0) > 0),
                self.asked.rarity[steps] / 5,
                self.asked.rarity[steps - 1] / 5,
            ]
            rows.append((steps, row))
        return rows


def _kind(word: str, text: str) -> str:
    """Return the word of a step, `MAINTAINER` for a label that says the same."""
    return "MAINTAINER" if word == "LABEL" and text[6:16].lower() == "maintainer" else word
