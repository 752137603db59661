"""Ranks the candidates for a base: probabilities of names and of where the base ends, by fitted weights."""

from __future__ import annotations

import math
from bisect import bisect_right
from operator import mul

import msgspec

from . import features, matches
from .matches import depth_of
from .weights import CALIBRATION, WEIGHTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .matches import Asked, PossibleBase

SCRATCH = "scratch"
# What is unknown altogether is more often something that stands on a base than something made from nothing.
_OTHER_BASED = {"all": 0.7, "history": 0.7, "layers": 0.3}


class Named(msgspec.Struct):
    """A name the base may have: its best possible base, the steps (layers, when steps are hidden) it would have."""

    name: str
    probability: float
    depth: int
    possible_base: PossibleBase | None
    confidence: float = 0.0


class Ranking(msgspec.Struct):
    """The answer before it is put into words. `unknown`: how likely the base is none that is known, 0 to 1."""

    kind: str
    names: list[Named]
    depth: int
    unknown: float
    sure: bool  # a known build is in the image to the letter, and the first name is one of its


def kind_of(asked: Asked) -> str:
    """Return which evidence there is: `all`, `history` (no layers) or `layers` (no history)."""
    if not asked.texts:
        return "layers"
    return "all" if asked.layer_total else "history"


def rank(asked: Asked) -> Ranking:
    """Return the names that the base of an image may have, the most likely first."""
    possible_bases = matches.possible_bases(asked)
    deepest = max((depth_of(asked, base) for base in possible_bases if base.partial is None), default=0)
    table = features.table(asked, possible_bases, matches.twins(asked, deepest))
    kind = kind_of(asked)
    chances, scratch, unknown, other = _chances(table, WEIGHTS[kind])
    names: dict[int, float] = {}
    depths: dict[int, float] = {}
    at: dict[int, dict[int, float]] = {}
    best: dict[int, tuple[float, PossibleBase]] = {}
    for base, chance in zip(possible_bases, chances, strict=True):
        depth = depth_of(asked, base)
        names[base.name] = names.get(base.name, 0.0) + chance
        depths[depth] = depths.get(depth, 0.0) + chance
        by_depth = at.setdefault(base.name, {})
        by_depth[depth] = by_depth.get(depth, 0.0) + chance
        if base.name not in best or best[base.name][0] < chance:
            best[base.name] = (chance, base)
    for (depth, _), chance in zip(table.unknown, unknown, strict=True):
        depths[depth] = depths.get(depth, 0.0) + chance
    unsure = sum(unknown) + other
    ranked = [
        Named(asked.index.name(name), chance, max(at[name], key=at[name].__getitem__), best[name][1])
        for name, chance in names.items()
    ]
    nothing = Named(SCRATCH, scratch, 0, None)
    if scratch > sum(chances) + sum(unknown) + _OTHER_BASED[kind] * other or not possible_bases:
        ranked.sort(key=lambda named: -named.probability)
        return _calibrated(asked, Ranking(kind, [nothing, *ranked], 0, unsure, False))
    depth = max(depths, key=depths.__getitem__)
    if depths[depth] > 0.5 * sum(depths.values()):
        chances_of_depth = {asked.index.name(name): chance.get(depth, 0.0) for name, chance in at.items()}
        ranked.sort(key=lambda named: -(named.probability + 2 * chances_of_depth[named.name]))
    else:
        ranked.sort(key=lambda named: -named.probability)
    ranked[0].depth = depth
    ranked = [ranked[0], *sorted([*ranked[1:], nothing], key=lambda named: -named.probability)]
    first = ranked[0].possible_base
    sure = first is not None and matches.exact(asked, first) and depth_of(asked, first) == depth
    return _calibrated(asked, Ranking(kind, ranked, depth, unsure, sure))


def best_name(asked: Asked, build: int) -> int:
    """Return the name of a known build that its user is most likely to have written."""
    index = asked.index
    names = index.names(build)
    steps = index.step_count(build)
    if len(names) < 2 or (asked.texts and steps >= len(asked.texts)):
        return names[0] if names else -1
    possible_bases = [matches.PossibleBase(steps, index.layer_filled[build], build, name, 0.0) for name in names]
    chances = _chances(features.table(asked, possible_bases, None), WEIGHTS[kind_of(asked)])[0]
    return max(zip(chances, names, strict=True))[1]


def _chances(
    table: features.Table, weights: dict[str, tuple[float, ...]]
) -> tuple[list[float], float, list[float], float]:
    scores = [sum(map(mul, weights["possible_base"], row)) for row in table.rows]
    scratch = sum(map(mul, weights["scratch"], table.scratch))
    unknown = [sum(map(mul, weights["unknown"], row)) for _, row in table.unknown]
    other = sum(map(mul, weights["other"], table.other))
    most = max([scratch, other, *scores, *unknown])
    exponents = [math.exp(score - most) for score in scores]
    of_unknown = [math.exp(score - most) for score in unknown]
    of_scratch, of_other = math.exp(scratch - most), math.exp(other - most)
    total = sum(exponents) + sum(of_unknown) + of_scratch + of_other
    return (
        [value / total for value in exponents],
        of_scratch / total,
        [value / total for value in of_unknown],
        of_other / total,
    )


def _calibrated(asked: Asked, ranking: Ranking) -> Ranking:
    """Give each name the share of right answers that answers like it had when that was measured."""
    first = ranking.names[0]
    if first.possible_base is None:
        kind = "scratch"
    else:
        kind = f"{ranking.kind} {'sure' if ranking.sure else 'like'}"
    table = CALIBRATION[kind]
    left = 1.0
    for named in ranking.names:
        named.confidence = min(calibrated(table, named.probability), left) if named.probability > 0 else 0.0
        left = max(left - named.confidence, 0.0)
    return ranking


def calibrated(table: tuple[tuple[float, float], ...], probability: float) -> float:
    """Return the confidence for a probability: between the points of a table (probability, share that was right)."""
    spot = bisect_right(table, (probability, 2.0))
    if spot == 0:
        return table[0][1] * probability / table[0][0] if table[0][0] else table[0][1]
    if spot == len(table):
        return table[-1][1]
    (below, low), (above, high) = table[spot - 1], table[spot]
    return low + (high - low) * (probability - below) / (above - below)
