"""The lineage of an image: the whole chain of bases, from its content and an index of known builds, with evidence."""

from __future__ import annotations

import msgspec

from ...errors import Corrupt
from ...human import duration, lowest_layers_are, short_id
from ..index import known
from . import boundaries, matches, ranking
from .answers import UNKNOWN, Candidate, LineageReport, Link, less_likely
from .marks import between, calibration
from .matches import Asked, depth_of
from .names import roots
from .ranking import SCRATCH, Named, Ranking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..index.known import Known
    from .image import ImageContent
    from .marks.sources import Sources
    from .matches import PossibleBase

_SHOWN = 10
_LONGEST_CHAIN = 32


def identify(image: ImageContent, index: Known, limit: int = _SHOWN, sources: Sources | None = None) -> LineageReport:
    """Return what an image stands on, with at most `limit` candidates. Raises Corrupt when the index is damaged.

    `sources` are Dockerfiles that are known beside those of official images."""
    try:
        asked = Asked(image, index)
        ranked = ranking.rank(asked)
        root = roots.read(asked.texts, image.layers[0].size if image.layers else 0)
        candidates = [_candidate(asked, ranked, named) for named in ranked.names[: max(limit, 1)]]
        most = boundaries.nothing_at_most(asked) if root is None else 1.0
        doubted = candidates[0].name == SCRATCH and candidates[0].confidence > most
        if doubted:
            candidates[0] = _doubted(candidates[0], most, bool(asked.texts))
        stated = _self_named_root(asked, ranked, root, candidates)
        if stated is not None:
            others = [
                candidate for candidate in less_likely(candidates, stated.confidence) if candidate.name != stated.name
            ]
            chain = _chain_of_root(stated)
            score = 1 - ranked.unknown / 2
            report = LineageReport(
                (stated, *others)[:limit], chain, None, ranked.unknown, kind=between.ROOT, score=score
            )
            return between.weighed(asked, report, root, limit, sources)
        first = ranked.names[0]
        if doubted:
            report = LineageReport(tuple(candidates), (Link(UNKNOWN),), None, round(1 - most, 4))
            return between.weighed(asked, report, root, limit, sources)
        links = tuple(_chain(asked, first, candidates[0], root))
        report = LineageReport(tuple(candidates), links, _outdated(asked, ranked, first), ranked.unknown)
        return between.weighed(asked, report, root, limit, sources)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise Corrupt(f"damaged index of known bases: {error}") from None


def vouch(image: ImageContent, index: Known, name: str, digest: str) -> tuple[bool, str] | None:
    """Tell whether the base that an image says it has is beneath it, and why; None when the index cannot tell.

    `name` is in its short form; it and `digest` are "" where the image does not say. Raises Corrupt for a damaged index.
    """
    try:
        return _vouch(Asked(image, index), name, digest)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise Corrupt(f"damaged index of known bases: {error}") from None


def _vouch(asked: Asked, name: str, digest: str) -> tuple[bool, str] | None:
    index = asked.index
    number = index.number(name) if name else None
    whole = [build for match in asked.layers for build in asked.layers_by.order[match.low : match.full]]
    for build in whole:
        if number in index.names(build) or (digest and index.manifest_digest(build) == digest):
            layers = _with_empty(asked, index.layer_filled[build])
            return True, f"{lowest_layers_are(layers)} of a known build of {name or digest[:19]}"
    if number is None:
        return None
    # A newer build of what stands on something may stand on the same; what is made from nothing shares no layer with what
    # another repository has made from nothing.
    roots = [build for build in whole if index.traits[build] & known.ROOT and not index.traits[build] & known.GHOST]
    own = name.rpartition(":")[0]
    others = [index.name(name_number) for build in roots for name_number in index.names(build)]
    if (
        others
        and all(other.rpartition(":")[0] != own for other in others)
        and all(index.traits[build] & known.ROOT for build in index.builds(number))
    ):
        return False, f"{others[0]} is beneath it, which is made from nothing, as {name} is"
    return None


def _candidate(asked: Asked, ranked: Ranking, named: Named) -> Candidate:
    index, base = asked.index, named.possible_base
    if base is None:
        return Candidate(SCRATCH, (SCRATCH,), round(named.confidence, 4), 0, 0, evidence=_scratch_evidence(asked))
    build = base.build
    others = sorted(
        (index.name(name) for name in index.names(build) if name != base.name),
        key=lambda name: next((-other.probability for other in ranked.names if other.name == name), 0.0),
    )
    wholly = matches.exact(asked, base) and depth_of(asked, base) == named.depth and not asked.by_steps_alone
    steps = named.depth if asked.texts else index.step_count(build)
    layers = index.layer_count(build)
    if asked.layer_total:
        layers = _with_empty(asked, base.layers) if wholly else min(layers, len(asked.image.layers))
    identity = index.config_digest(build)
    return Candidate(
        named.name,
        (named.name, *others),
        round(named.confidence, 4),
        layers,
        steps,
        identity if wholly else None,
        index.manifest_digest(build) if wholly else None,
        None if wholly else identity,
        tuple(_evidence(asked, base, named)),
    )


def _with_empty(asked: Asked, filled: int) -> int:
    """Return how many layers the first `filled` layers that are not empty make, with the empty ones among them."""
    left = filled
    for number, layer in enumerate(asked.image.layers):
        if not layer.empty:
            if not left:
                return number
            left -= 1
    return len(asked.image.layers)


def _evidence(asked: Asked, base: PossibleBase, named: Named) -> list[str]:
    """Return what speaks for a candidate, the strongest first, in words for people."""
    index, build, name = asked.index, base.build, named.name
    lines: list[str] = []
    identity = short_id(index.config_digest(build) or "")
    layers = asked.layers_alike(build) if asked.layers else 0
    if layers:
        whole = "all " if layers >= base.layers else ""
        lines.append(f"{whole}{layers} of {base.layers} layers of {name} ({identity}) are in the image, in order")
    if asked.texts:
        alike = asked.steps_alike(build)
        if alike >= base.steps:
            lines.append(f"steps 1-{base.steps} are those of {name} to the letter")
        elif base.partial is not None:
            lines.append(f"{base.partial[1]:.0%} of the steps of {name} have the shape of steps up to {named.depth}")
        else:
            equal = asked.steps_equal(build)
            lines.append(f"steps 1-{base.steps} have the shape of {name}; {equal} of them are the same to the letter")
        if asked.times and 0 < named.depth < len(asked.times):
            pause = asked.times[named.depth] - asked.times[named.depth - 1]
            if pause > 3600:
                lines.append(f"{duration(pause)} passed between step {named.depth} and the next")
    if not layers and asked.sizes:
        differences = asked.size_differences(build)
        if differences and max(differences) < 0.1:
            lines.append(f"its layers are as large as those of {name} ({identity}), within {max(differences):.1%}")
    if index.traits[build] & known.GHOST:
        lines.append("that build is known only from others that stand on it")
    return lines


def _doubted(nothing: Candidate, most: float, has_history: bool) -> Candidate:
    """Return `scratch` as an answer that is hardly true."""
    reason = (
        "its steps are not those of something made from nothing"
        if has_history
        else "it says nothing of how it was made"
    )
    return msgspec.structs.replace(nothing, confidence=most, evidence=(f"{reason}, and no base with such is known",))


def _scratch_evidence(asked: Asked) -> tuple[str, ...]:
    if asked.texts:
        return (f"it begins with {asked.texts[0][:60]!r}, and nothing known ends further up",)
    return ("none of its layers is known as another image's",)


def _self_named_root(
    asked: Asked, ranked: Ranking, root: roots.Root | None, candidates: list[Candidate]
) -> Candidate | None:
    """Return the root that names itself, unless the index knows better or something unknown lies on it."""
    if root is None or root.steps >= len(asked.texts) or ranked.sure:
        return None
    if ranked.depth > root.steps and candidates[0].confidence > 1 - calibration.ROOT_SAID[0]:
        return None
    for candidate in candidates:
        if candidate.name == root.name and candidate.config_digest and candidate.history == root.steps:
            return msgspec.structs.replace(
                candidate,
                confidence=max(candidate.confidence, round(calibration.ROOT_SAID[0] * (1 - ranked.unknown / 2), 4)),
            )
    layers = sum(1 for text in asked.texts[: root.steps] if text.startswith(("ADD", "COPY", "RUN")))
    chance = calibration.ROOT_SAID[0] * (1 - ranked.unknown / 2)
    return Candidate(
        root.name, (root.name,), round(chance, 4), layers, root.steps, evidence=(f"its root says so: {root.step}",)
    )


def _chain_of_root(root: Candidate) -> tuple[Link, ...]:
    return root.link(), Link(SCRATCH)


class _Rung(msgspec.Struct):
    """One image of the chain while it is followed; `surely`: it is this build, not one like it."""

    name: str
    build: int
    layers: int
    steps: int
    surely: bool


def _chain(asked: Asked, first: Named, candidate: Candidate, root: roots.Root | None) -> list[Link]:
    """Follow the bases from the first candidate down."""
    index = asked.index
    if first.possible_base is None:
        return [Link(SCRATCH)]
    top = _Rung(
        first.name, first.possible_base.build, candidate.layers, candidate.history, candidate.config_digest is not None
    )
    rungs = [top]
    beneath = None if top.surely else _exact_beneath(asked, candidate.history)
    while len(rungs) < _LONGEST_CHAIN:
        last = rungs[-1]
        surely = last.surely
        build = beneath if beneath is not None else index.parent_of(last.build)
        if beneath is not None:
            surely, beneath = True, None
        elif build is None and not index.traits[last.build] & known.ROOT:
            build, surely = _parent_alike(index, last), False
        name = -1 if build is None else ranking.best_name(asked, build)
        if build is None or name < 0:
            break
        rungs.append(_Rung(index.name(name), build, index.layer_count(build), index.step_count(build), surely))
    links = [
        _link(index, rung, below, candidate.evidence if rung is top else ())
        for rung, below in zip(rungs, [*rungs[1:], None], strict=True)
    ]
    ended = index.traits[rungs[-1].build] & known.ROOT or (root is not None and root.name == rungs[-1].name)
    return [*links, Link(SCRATCH if ended else UNKNOWN)]


def _link(index: Known, rung: _Rung, below: _Rung | None, evidence: tuple[str, ...]) -> Link:
    names = [index.name(number) for number in index.names(rung.build)]
    return Link(
        rung.name,
        (rung.name, *(number for number in names if number != rung.name)),
        index.config_digest(rung.build) if rung.surely else None,
        index.manifest_digest(rung.build) if rung.surely else None,
        max(rung.layers - (below.layers if below else 0), 0),
        max(rung.steps - (below.steps if below else 0), 0),
        evidence,
    )


def _parent_alike(index: Known, rung: _Rung) -> int | None:
    """Return what other builds of the same name stand on, the nearest in time, where that of this one is not known."""
    number = next(
        (name_number for name_number in index.names(rung.build) if index.name(name_number) == rung.name), None
    )
    if number is None:
        return None
    moment = index.made[rung.build]
    others = [build for build in index.builds(number) if index.parent_of(build) is not None]
    nearest = min(others, key=lambda build: abs(index.made[build] - moment), default=None)
    return None if nearest is None else index.parent_of(nearest)


def _exact_beneath(asked: Asked, steps: int) -> int | None:
    """Return the longest known build that is wholly in the image and shorter than `steps` steps."""
    if not asked.texts:
        return None
    for match in reversed(asked.steps):
        if match.full > match.low and match.depth < steps and any(asked.texts[: match.depth]):
            for build in asked.index.by_steps.order[match.low : match.full]:
                filled = asked.index.layer_filled[build]
                if not asked.layers or asked.layers_alike(build) >= filled:
                    return build
    return None


def _outdated(asked: Asked, ranked: Ranking, first: Named) -> bool | None:
    """Tell whether the base's name points at another build by now, as far as the index knows."""
    if first.possible_base is None:
        return None
    index = asked.index
    builds = index.builds(first.possible_base.name)
    current = max(builds, key=lambda build: (index.last[build], index.first[build], index.made[build]))
    if ranked.sure:
        # An index that ends before the image was made knows nothing of what came after.
        late = bool(asked.times) and asked.times[-1] / known.DAY > index.end + 1
        return True if current != first.possible_base.build else None if late else False
    if asked.times and 0 < first.depth <= len(asked.times):
        moment = asked.times[first.depth - 1]
        if index.made[current] > moment + known.DAY:
            return True
    return None
