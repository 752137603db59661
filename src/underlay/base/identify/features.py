"""What speaks for and against each possible base of an image, as numbers between about -2 and 4.

Every number is about how things agree, never about which names they have, so that what was learnt from some images
holds for others.
"""

from __future__ import annotations

import math

from ..index import known
from . import history, matches
from .boundaries import Seams, TwinBases, gaps_of
from .matches import depth_of
from .names.sibling_tags import Beside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .matches import Asked, PossibleBase, Twins

# Names of the numbers, in order; `SCRATCH` and `OTHER` have their own.
POSSIBLE_BASE = (
    # How the build agrees.
    "shallower shallower2 steps_all steps_part steps_equal layers_all layers_part steps_not_layers root_size root_size_far "
    "sizes sizes_far days newer no_times gap gap_most gap_rest deeper_exact ghost whole like_whole "
    "exact_else twin_depth twin_depth_not twin_name twin_name_not twin_whole_depth twin_whole_not "
    "repo_share name_share unknown_sizes size_part deeper_like deeper_sized "
    # What the name looks like.
    "latest dated no_version depth1 depth2 depth3 depth4 words words_extra numbered numbered_extra code code_other_version "
    "builds_share builds_log usage_share usage_none not_yet gone version_yes version_no word_above word_above_not "
    "newest_suite short_version_latest shorter alias_count first_word_version "
    "channel echo steady lived deeper_than_lived shallower_than_lived shallower2_than_lived as_deep_as_lived "
    "more_words_than_lived fewer_words_than_lived fewer2_words_than_lived as_lived versionless_lived root_fine root_finer "
    "partial partial_tail partial_matched partial_between "
    # What the steps around the end of the base look like.
    "gap_greatest after_cmd before_maintainer maintainer_later commands_later "
    "exact_here exact_here_else "
    "in_series in_parallel as_line deeper_than_line shallower_than_line code_spoken short line_words "
    "beyond_exact beyond_equal beyond_rare next_known last_known steps_log"
).split()
SCRATCH = (
    "bias nothing twin_root twin_based whole_root few_steps steps_log gap_log exact_below like_below first_adds one_layer "
    "deepest_share no_steps unsure_below sizes_below from_steps "
    "commands_more maintainers_later long_gap runs_log gap_nothing"
).split()
# For a base that is not known, of so many steps.
UNKNOWN = (
    "bias gap gap_greatest gap_greatest_of_cmd gap_rest no_times after_cmd after_entrypoint commands_before commands_later "
    "before_maintainer before_env before_arg before_run before_copy maintainer_later steps_log rest_log part known_here "
    "partly_known_here below_exact at_exact beyond_exact beyond_known first_adds twin_here "
    "next_known last_known"
).split()
OTHER = "bias nothing distance exact_below twins_apart steps_log no_steps best_equal best_size".split()


class Table:
    """Numbers for each possible base, for `scratch`, for unknown bases of so many steps, and for `other`."""

    __slots__ = ("other", "rows", "scratch", "unknown")

    def __init__(
        self,
        rows: list[list[float]],
        scratch: list[float],
        unknown: list[tuple[int, list[float]]],
        other: list[float],
    ) -> None:
        self.rows = rows
        self.unknown = unknown
        self.scratch = scratch
        self.other = other


class _Facts:
    """What a build's agreement with the image is, worked out once for all of its names."""

    __slots__ = ("equal", "layers_all", "layers_part", "numbers", "root", "sizes", "steps_all")

    equal: float
    layers_all: bool
    layers_part: float
    numbers: list[float]
    root: float
    sizes: list[float]
    steps_all: bool


def table(asked: Asked, possible_bases: list[PossibleBase], twins: Twins | None) -> Table:
    """Return the numbers for the possible bases of an image."""
    depths = sorted({depth_of(asked, base) for base in possible_bases}, reverse=True)
    facts: dict[tuple[int, int], _Facts] = {}
    for base in possible_bases:
        key = (base.steps, base.build)
        if key not in facts:
            facts[key] = _build_facts(asked, base)
    exact = [depth_of(asked, p) for p in possible_bases if not p.partial and _exact(asked, facts[p.steps, p.build])]
    wholly = {(base.steps, base.build) for base in possible_bases if matches.exact(asked, base)}
    depths_exact = {depth_of(asked, base) for base in possible_bases if (base.steps, base.build) in wholly}
    sized = [depth_of(asked, p) for p in possible_bases if facts[p.steps, p.build].root < 0.1]
    gaps = gaps_of(asked)
    based = TwinBases(asked, twins)
    groups = Beside(asked, possible_bases)
    seams = Seams(asked, gaps)
    rows: list[list[float]] = []
    for base in possible_bases:
        fact = facts[base.steps, base.build]
        depth = depth_of(asked, base)
        rank = depths.index(depth)
        row = [float(min(rank, 3)), float(rank > 0)]
        row += fact.numbers
        row += _gap_numbers(asked, base, gaps, depths)
        row += [
            float(bool(exact) and max(exact) > depth),
            float(bool(asked.index.traits[base.build] & known.GHOST)),
            float(base.layers == asked.layer_total and asked.layer_total > 0 and not asked.texts),
            float(base.layers == asked.layer_total and asked.layer_total > 0 and bool(asked.texts)),
            float(bool(exact) and not _exact(asked, fact)),
        ]
        row += based.numbers(base)
        row += groups.numbers(base)
        row += [
            float(not fact.sizes),
            min(fact.root, 1.0) * (1 - fact.layers_part),
            float(rank > 0),
            float(bool(sized) and max(sized) > depth),
        ]
        row += groups.name_numbers(base)
        row += [
            min(fact.root, 0.03) * 33 if asked.layer_total else 0.0,
            min(fact.root, 0.006) * 166 if asked.layer_total else 0.0,
            float(base.partial is not None),
        ]
        row += [*base.partial] if base.partial else [0.0, 0.0, 0.0]
        row += seams.numbers(base.steps)
        is_exact = (base.steps, base.build) in wholly
        row += [float(is_exact), float(not is_exact and depth in depths_exact)]
        row += groups.line_numbers(base)
        row += _beyond(asked, base, max((depth for depth in depths_exact if depth < base.steps), default=0))
        rows.append(row)
    return Table(
        rows,
        _scratch(asked, possible_bases, facts, twins, gaps, groups),
        seams.unknown(possible_bases, max(exact, default=0), based),
        _other(asked, possible_bases, facts, twins),
    )


def _beyond(asked: Asked, base: PossibleBase, below: int) -> list[float]:
    """Return how much of a possible base lies above a build that is wholly in the image, and how rare its steps are."""
    steps = base.steps
    if not asked.texts or not 0 < steps < len(asked.texts):
        return [0.0] * 6
    start = asked.index.step_start[base.build]
    known_hashes = asked.index.step_hash[start + below : start + steps]
    equal = sum(
        own_hash == known_hash for own_hash, known_hash in zip(asked.hashes[below:steps], known_hashes, strict=False)
    )
    return [
        math.log1p(steps - below) / 2,
        math.log1p(equal) / 2,
        max(asked.rarity[below:steps], default=0.0) / 5,
        asked.rarity[steps] / 5,
        asked.rarity[steps - 1] / 5,
        math.log(steps) / 2,
    ]


def _exact(asked: Asked, fact: _Facts) -> bool:
    return fact.layers_all if asked.layers else fact.steps_all


def _build_facts(asked: Asked, base: PossibleBase) -> _Facts:
    fact = _Facts()
    index, build = asked.index, base.build
    steps = base.steps if asked.texts else 0
    steps_alike = asked.steps_alike(build) if steps else 0
    layers_alike = asked.layers_alike(build) if asked.layers else 0
    fact.steps_all = bool(steps) and steps_alike >= steps
    fact.layers_all = bool(base.layers) and layers_alike >= base.layers
    fact.layers_part = layers_alike / base.layers if base.layers else 0.0
    fact.equal = asked.steps_equal(build) / steps if steps else 0.0
    fact.sizes = asked.size_differences(build) if base.layers else []
    fact.root = fact.sizes[0] if fact.sizes else 0.5
    if not fact.sizes and layers_alike:
        fact.root = 0.0
    elif not fact.sizes and asked.sizes and base.layers and asked.sizes[0]:
        size = index.layer_size[index.layer_start[build]]
        fact.root = abs(math.log(asked.sizes[0] / size)) if size else 0.5
    mean = sum(min(x, 1.0) for x in fact.sizes) / len(fact.sizes) if fact.sizes else 0.0
    days = 0.0
    newer = 0.0
    if asked.times and steps:
        apart = (index.made[build] - asked.times[steps - 1]) / known.DAY
        days = min(math.log1p(abs(apart)), 7.0) / 2
        newer = float(apart > 0.01)
    fact.numbers = [
        float(fact.steps_all),
        steps_alike / steps if steps else 0.0,
        fact.equal,
        float(fact.layers_all),
        fact.layers_part,
        float(fact.steps_all and bool(asked.layer_total) and not fact.layers_all),
        min(fact.root, 0.2) * 5 if asked.layer_total else 0.0,
        min(fact.root, 1.5) if asked.layer_total else 0.0,
        min(mean, 0.2) * 5,
        mean,
        days,
        newer,
        float(not asked.times),
    ]
    return fact


def _gap_numbers(asked: Asked, base: PossibleBase, gaps: list[float], depths: list[int]) -> list[float]:
    if not asked.texts or not asked.times or base.steps >= len(gaps):
        return [0.0, 0.0, 0.0]
    gap = gaps[base.steps]
    others = [gaps[depth] for depth in depths if depth < len(gaps)]
    after = max(gaps[base.steps + 1 :], default=0.0)
    return [gap / 4, float(gap >= max(others)), max(0.0, after - gap) / 2]


def _scratch(
    asked: Asked,
    possible_bases: list[PossibleBase],
    facts: dict[tuple[int, int], _Facts],
    twins: Twins | None,
    gaps: list[float],
    groups: Beside,
) -> list[float]:
    count = len(twins.bases) if twins else 0
    roots = sum(base is None for base in twins.bases) / count if twins and count else 0.0
    exact = any(_exact(asked, facts[possible.steps, possible.build]) for possible in possible_bases)
    first = history.instruction(asked.texts[0]) if asked.texts else ""
    biggest = max(gaps) if asked.texts else 0.0
    words = [history.instruction(text) for text in asked.texts]
    near = min((facts[p.steps, p.build].root for p in possible_bases), default=1.0)
    deepest = max((depth_of(asked, possible) for possible in possible_bases), default=0)
    total = len(asked.texts) or asked.layer_total or 1
    return [
        1.0,
        float(not possible_bases),
        roots,
        1 - roots if count else 0.0,
        roots * (twins is not None and twins.whole),
        float(len(asked.texts) <= 2),
        math.log1p(len(asked.texts)) / 2,
        biggest / 4,
        float(exact),
        float(bool(possible_bases)),
        float(first in ("ADD", "COPY")),
        float(asked.layer_total == 1),
        deepest / total,
        float(not asked.texts),
        min(near, 1.0) if asked.layer_total else 0.0,
        float(near < 0.1 and bool(asked.layer_total)),
        float(first not in ("ADD", "COPY", "") and not possible_bases),
        min(max(words.count("CMD") - 1, 0), 2) / 2,
        float("MAINTAINER" in words[1:]),
        float(biggest > 4.7),
        math.log1p(words.count("RUN")) / 2,
        biggest / 4 * (not possible_bases),
    ]


def _other(
    asked: Asked, possible_bases: list[PossibleBase], facts: dict[tuple[int, int], _Facts], twins: Twins | None
) -> list[float]:
    all_facts = [facts[possible.steps, possible.build] for possible in possible_bases]
    exact = any(_exact(asked, fact) for fact in all_facts)
    return [
        1.0,
        float(not possible_bases),
        min(max(min((possible.distance for possible in possible_bases), default=0.0) + 4, 0.0), 8.0) / 4,
        float(exact),
        float(twins is not None and all(base is None for base in twins.bases)),
        math.log1p(len(asked.texts)) / 2,
        float(not asked.texts),
        max((fact.equal for fact in all_facts), default=0.0),
        min((min(fact.root, 1.0) for fact in all_facts), default=1.0) if asked.layer_total else 0.0,
    ]
