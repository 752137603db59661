"""Candidates for a base: known builds that share layers or steps with an image, and how far they agree."""

from __future__ import annotations

import math
from bisect import bisect_left

import msgspec

from ...lean.hashing import sha256
from ..index import known
from ..index.index_builder import bucket_item, digest_item, size_bucket
from . import history

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..index.known import Known, Match, Sequences
    from .image import ImageContent

# Bounds on the work for one image; they are above what any image of the corpus needs.
_BUILDS_WEIGHED = 600
_NAMES_WEIGHED = 48
_TWINS = 40
_SPREAD = 24
_STEPS = 600
_OUTLINES = 150
_OUTLINES_WEIGHED = 24
_OUTLINES_KEPT = 5
_PARTIAL_NAMES = 10
_JUMP = 12
_LAYERS = 160


class PossibleBase(msgspec.Struct, gc=False):
    """A known build under its name `name` as the possible base of an image: its first `steps` steps, `layers` layers.

    `layers` counts those that are not empty. `distance` is a rough measure by which only the nearest are kept.
    """

    steps: int
    layers: int
    build: int
    name: int
    distance: float
    # When only some of the build's steps have the shape of the image's: how many behind the last of those that have
    # are missing, which share has, and which share of the image's steps up to there has none like it.
    partial: tuple[float, float, float] | None = None


def depth_of(asked: Asked, base: PossibleBase) -> int:
    """Return how deep a possible base is: in steps, or in layers when steps are hidden."""
    return base.steps if asked.texts else base.layers


class Asked:
    """An image prepared for look-up, with what is known of each of its beginnings."""

    def __init__(self, image: ImageContent, index: Known) -> None:
        self.image = image
        self.index = index
        filled = [layer for layer in image.layers[:_LAYERS] if not layer.empty]
        self.sizes = [layer.size for layer in filled]
        # Steps that say nothing, all of them, are a history that is not there.
        steps = image.steps[:_STEPS] if any(step.text for step in image.steps) else ()
        self.texts = [step.text for step in steps]
        self.hashes = [history.short_hash(text) for text in self.texts]
        self.times = _times([step.created for step in steps])
        self.layer_total = len(filled)
        self.layers: list[Match] = []
        self.layers_by: Sequences = index.by_layers
        if filled and filled[0].digest:
            self.layers = index.by_layers.beginnings(known.chain(digest_item(layer.digest) for layer in filled))
        if filled and filled[0].diff_id and not self.layers:
            matches = index.by_diff_ids.beginnings(known.chain(digest_item(layer.diff_id) for layer in filled))
            if matches:
                self.layers, self.layers_by = matches, index.by_diff_ids
        # Layers that are known neither by what they are nor by their compressed sizes say nothing; the steps must do.
        self.by_steps_alone = bool(self.texts and filled and not self.layers and not any(self.sizes))
        if self.by_steps_alone:
            self.sizes, self.layer_total = [], 0
        items = [step.to_bytes(8, "little") for step in self.hashes]
        self.steps = index.by_steps.beginnings(known.chain(items))
        self.outline = [history.shape(text) for text in self.texts]
        self.shape_hashes = [history.short_hash(shape) for shape in self.outline]
        # How few of the known outlines have a step like each one; 0 where none has.
        total = math.log(len(index.outline_low) + 1)
        having = [len(index.outlines(key)) for key in self.shape_hashes]
        self.rarity = [total - math.log(count) if count else 0.0 for count in having]
        self.shapes = index.by_shapes.beginnings(known.chain(shape.encode() for shape in self.outline))

    def layers_alike(self, build: int) -> int:
        """Return how many layers of a build, from the lowest on, are those of the image."""
        return _common(self.layers, self.layers_by.position[build])

    def steps_alike(self, build: int) -> int:
        """Return how many steps of a build, from the first on, are those of the image to the letter."""
        return _common(self.steps, self.index.by_steps.position[build])

    def steps_equal(self, build: int) -> int:
        """Return how many steps of a build are the same as the image's at the same position."""
        start = self.index.step_start[build]
        other = self.index.step_hash[start : self.index.step_start[build + 1]]
        return sum(a == b for a, b in zip(self.hashes, other, strict=False))

    def size_differences(self, build: int) -> list[float]:
        """Return for each layer of a build by how much its size differs (natural logarithm); [] if not comparable.

        What is the same layer has the same size, however it is compressed.
        """
        index = self.index
        start, end = index.layer_start[build], index.layer_start[build + 1]
        if index.layer_filled[build] != end - start or end - start > len(self.sizes):
            return []
        same = self.layers_alike(build) if self.layers else 0
        sizes = self.sizes[same : end - start]
        if sizes and not any(sizes):
            return []  # they are told by diff ids alone
        pairs = zip(sizes, index.layer_size[start + same : end], strict=True)
        different = [abs(math.log(own / known_size)) if own and known_size else 1.0 for own, known_size in pairs]
        return [0.0] * min(same, end - start) + different


def _times(given: Sequence[float | None]) -> list[float]:
    """Return a time for each step; those that are not recorded are taken from the step before. [] if none is."""
    if not any(given):
        return []
    times: list[float] = []
    for moment in given:
        times.append(moment or (times[-1] if times else 0.0))
    return times


def _common(matches: Sequence[Match], position: int) -> int:
    for match in reversed(matches):
        if match.low <= position < match.high:
            return match.depth
    return 0


def possible_bases(asked: Asked) -> list[PossibleBase]:
    """Return the known builds that may be the base: for each prefix of the image's steps or layers, the nearest first."""
    bases: list[PossibleBase] = []
    if asked.texts:
        for match in asked.shapes:
            if match.full > match.low and match.depth < len(asked.texts):
                builds = asked.index.by_shapes.order[match.low : match.full]
                bases += _nearest(asked, builds, match.depth)
        return _above_exact(asked, _by_layers(asked, bases) + _partial(asked))
    builds_seen: set[int] = set()
    for match in asked.layers:
        if match.full > match.low:
            builds = asked.layers_by.order[match.low : match.full]
            builds_seen.update(builds)
            bases += _nearest(asked, builds, 0)
    like = [build for build in _alike_in_size(asked) if build not in builds_seen]
    by_depth: dict[int, list[int]] = {}
    for build in like:
        by_depth.setdefault(asked.index.layer_filled[build], []).append(build)
    for depth in sorted(by_depth):
        bases += _nearest(asked, by_depth[depth], 0)
    return _above_exact(asked, bases)


def exact(asked: Asked, base: PossibleBase) -> bool:
    """Tell whether all of a build, as far as it can be compared, is in the image."""
    if base.partial:
        return False
    layers = not asked.layer_total or (base.layers > 0 and asked.layers_alike(base.build) >= base.layers)
    if not asked.texts:
        return layers and 0 < base.layers < asked.layer_total
    return layers and asked.steps_alike(base.build) >= base.steps


def _above_exact(asked: Asked, bases: list[PossibleBase]) -> list[PossibleBase]:
    """Leave out what a build that is wholly in the image rules out: everything beneath it."""
    sure = [base for base in bases if exact(asked, base)]
    if not sure:
        return bases
    deepest = max(depth_of(asked, base) for base in sure)
    return [base for base in bases if depth_of(asked, base) >= deepest]


def _by_layers(asked: Asked, bases: list[PossibleBase]) -> list[PossibleBase]:
    """Leave out builds that have the image's steps but not its layers, where one with as many has its layers but not its
    steps: steps are words, which stay when layers are exchanged."""
    if not asked.layers:
        return bases
    whole = [base for base in bases if base.layers and asked.layers_alike(base.build) >= base.layers]
    depths = {base.steps for base in whole if asked.steps_alike(base.build) < base.steps}
    depths -= {base.steps for base in whole if asked.steps_alike(base.build) >= base.steps}
    return [base for base in bases if base.steps not in depths or base in whole]


def _partial(asked: Asked) -> list[PossibleBase]:
    """Return the known builds of which not all steps, but many that are rare, have the shape of the image's."""
    index = asked.index
    hashes = asked.shape_hashes
    spots: dict[int, list[int]] = {}
    for spot, key in enumerate(hashes):
        spots.setdefault(key, []).append(spot)
    total = len(index.outline_low)
    if not total:
        return []
    weights: dict[int, float] = {}
    scores: dict[int, float] = {}
    for key in spots:
        having = index.outlines(key)
        if not len(having):
            continue
        weights[key] = math.log((total + 1) / len(having))
        if len(having) <= _OUTLINES:
            for outline in having:
                scores[outline] = scores.get(outline, 0.0) + weights[key]
    best = sorted(scores, key=lambda outline: -scores[outline])[:_OUTLINES_WEIGHED]
    rated: list[tuple[float, int, int, tuple[float, float, float]]] = []
    for outline in best:
        start, end = index.outline_start[outline], index.outline_start[outline + 1]
        shapes = index.outline_shape[start:end]
        last = -1
        matched = 0
        tail = 0
        score = 0.0
        for shape in shapes:
            after = next((spot for spot in spots.get(shape, ()) if spot > last and spot < last + _JUMP), None)
            if after is None:
                tail += 1
                score -= 1.0
            else:
                matched += 1
                tail = 0
                last = after
                score += weights[shape]
        steps = last + 1
        if not 0 < steps < len(asked.texts) or matched == len(shapes) == steps:
            continue
        between = steps - matched
        score -= between
        rated.append((score, outline, steps, (min(tail, 4) / 2, matched / len(shapes), between / steps)))
    rated.sort(key=lambda item: -item[0])
    bases: list[PossibleBase] = []
    for score, outline, steps, partial in rated[:_OUTLINES_KEPT]:
        if score <= 0:
            break
        builds = index.by_shapes.order[index.outline_low[outline] : index.outline_full[outline]]
        for base in _nearest(asked, builds, steps)[:_PARTIAL_NAMES]:
            base.partial = partial
            bases.append(base)
    return bases


def _nearest(asked: Asked, builds: Sequence[int], steps: int) -> list[PossibleBase]:
    """Return one possible base for each name of these builds, the nearest first."""
    index = asked.index
    if len(builds) > _BUILDS_WEIGHED:
        builds = _around(asked, builds, steps)
    best: dict[int, PossibleBase] = {}
    moment = asked.times[steps - 1] if asked.times and steps else 0.0
    for build in builds:
        filled = index.layer_filled[build]
        if asked.layer_total and (filled > asked.layer_total or not filled):
            continue
        distance = abs(moment - index.made[build]) / (20 * known.DAY) if moment else 0.0
        if asked.sizes and asked.sizes[0] and filled:
            size = index.layer_size[index.layer_start[build]]
            distance += 10 * abs(math.log(asked.sizes[0] / size)) if size else 5.0
            if not steps:
                differences = asked.size_differences(build)
                distance += 10 * sum(differences) / max(len(differences), 1)
        if asked.layers:
            distance -= 4 * asked.layers_alike(build) / filled if filled else 0.0
        if asked.steps and steps:
            distance -= 4 * asked.steps_alike(build) / steps
        if index.traits[build] & known.GHOST:
            distance += 0.01
        for name in index.names(build):
            base = best.get(name)
            if base is None or distance < base.distance:
                best[name] = PossibleBase(steps or index.step_count(build), filled, build, name, distance)
    nearest = sorted(best.values(), key=lambda base: base.distance)
    return nearest[:_NAMES_WEIGHED]


def _around(asked: Asked, builds: Sequence[int], steps: int, count: int = _BUILDS_WEIGHED) -> Sequence[int]:
    """Return `count` of many builds, which are in order of time: those made around the time of the image's base."""
    if not asked.times or not steps:
        return builds[-count:]
    middle = bisect_left(builds, asked.times[steps - 1], key=asked.index.made.__getitem__)
    start = max(0, min(middle - count // 2, len(builds) - count))
    return builds[start : start + count]


def _alike_in_size(asked: Asked) -> list[int]:
    """Return builds whose layers are about as large as the image's lowest ones."""
    if not asked.sizes or not all(asked.sizes):
        return []
    sequences = asked.index.by_sizes
    builds: list[int] = []
    front: list[bytes] = [b""]
    for size in asked.sizes:
        bucket = size_bucket(size)
        following: list[tuple[bytes, Match]] = []
        for before in front:
            for item in (bucket, bucket - 1, bucket + 1):
                key = sha256(before + bucket_item(item)).digest()[:8]
                match = sequences.find(int.from_bytes(key, "little"), 0)
                if match is not None:
                    following.append((key, match))
        for _, match in following:
            builds.extend(sequences.order[match.low : match.full])
        following.sort(key=lambda pair: pair[1].low - pair[1].high)
        front = [key for key, _ in following[:_SPREAD]]
    return builds[: 2 * _BUILDS_WEIGHED]


class Twins(msgspec.Struct, gc=False):
    """Known builds that share more with the image than any base: what *they* stand on.

    `depth`: steps (or layers, when steps are hidden) shared; `whole`: they are as long as the image; `bases`: for
    each the build beneath (None: made from nothing, as far as is known).
    """

    depth: int
    whole: bool
    bases: list[int | None]


def twins(asked: Asked, deepest: int) -> Twins | None:
    """Return the builds that share more than `deepest` steps (layers, when steps are hidden); None if there are none."""
    total = len(asked.texts) or asked.layer_total
    if asked.texts:
        for matches, sequences in ((asked.steps, asked.index.by_steps), (asked.shapes, asked.index.by_shapes)):
            if matches and matches[-1].depth > deepest:
                return _twins_in(asked, sequences, matches[-1], total)
        return None
    if asked.layers and asked.layers[-1].depth > deepest:
        return _twins_in(asked, asked.layers_by, asked.layers[-1], total)
    return None


def _twins_in(asked: Asked, sequences: Sequences, match: Match, total: int) -> Twins:
    whole = match.depth == total and match.full > match.low
    low, high = match.low, match.full if whole else match.high
    builds: Sequence[int] = sequences.order[low:high]
    if whole and len(builds) > _TWINS:
        builds = _around(asked, builds, len(asked.times), _TWINS)
    elif len(builds) > _TWINS:
        builds = [builds[spot * len(builds) // _TWINS] for spot in range(_TWINS)]
    return Twins(match.depth, whole, [asked.index.parent_of(build) for build in builds])
