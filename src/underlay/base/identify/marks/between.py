"""Weighs what the index says of an image's base against the marks of bases that no index knows."""

from __future__ import annotations

import msgspec

from .. import history, ranking
from ..answers import BETWEEN, KNOWN, NOT_KNOWN, UNKNOWN, Candidate, LineageReport, Link, less_likely
from ..names import naming
from . import calibration, families, sources, spelling
from .stages import Marks, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..matches import Asked
    from ..names.roots import Root
    from .sources import Sources

_LIKELY, _RATHER, _HARDLY = 0.5, 0.3, 0.18
_OPENJDK = 1_471_996_800.0  # until that day in August 2016 the repository openjdk was called java
ROOT = "root"  # that names itself
SEAM = "seam above"
PAUSE, PAUSE_EXACT = "pause above", "pause above a known build"
AGREED = "agreed"  # with an answer of the index
_OLD = 3 * 365 * 86_400.0  # seconds: before that repositories called their tags otherwise than they do now


def weighed(
    asked: Asked, report: LineageReport, root: Root | None, limit: int, known: Sources | None = None
) -> LineageReport:
    """Return an answer of the index with the bases that are known by their marks only, and with how it stands.

    `known` are an installation's own Dockerfiles; those of official images come with the code."""
    if not asked.texts:
        return _standing(report)
    first = report.candidates[0]
    ground = _ground(asked, first, root)
    marks = Marks(asked.texts, asked.times, spelling.repositories)
    system = _system(report, root)
    followed = known.follow(asked.texts, ground, system) if known is not None else []
    followed = followed or sources.official().follow(asked.texts, ground, system)
    stages = marks.stages(ground, followed)
    known_end = first.history if first.config_digest or first.confidence >= _LIKELY else 0
    if stages and _knows_better(first, stages[-1], system):
        report = _agreed(report, stages[-1])
        first = report.candidates[0]
        stages = []
    while stages and not _outweighs(stages[-1], first, marks):
        stages.pop()
    if not stages or stages[-1].end <= known_end:
        return _standing(_doubted(report, marks, max(first.history, ground)))
    kind = _kind(asked, stages[-1])
    top = _calibrated(_candidate(asked, stages[-1], system), kind, stages[-1].agreement)
    chance = top.chance
    others = [candidate for candidate in report.candidates if not set(candidate.names) & set(top.names)]
    candidates = (top, *less_likely(others, chance))[:limit]
    beneath = [_candidate(asked, stage, system).link() for stage in reversed(stages[:-1])]
    rest = report.chain if first.name != "scratch" else (Link(UNKNOWN),)
    kept = [link for link in rest if not link.history or link.history < stages[0].end]
    return LineageReport(
        candidates,
        _apart([top.link(), *beneath, *kept]),
        None,
        round(max(report.unknown, chance), 4),
        BETWEEN if chance >= _LIKELY else NOT_KNOWN,
        kind=kind,
        score=stages[-1].agreement,
    )


def _kind(asked: Asked, stage: Stage) -> str:
    """Return the kind of answer that a stage is, as answers are calibrated."""
    made = asked.times[stage.end - 1] if len(asked.times) >= stage.end else 0.0
    return " ".join(
        (
            "steps" if stage.names else "marks",
            "official" if stage.repository in spelling.repositories() else "other",
            "old" if 0 < made < spelling.day() - _OLD else "new",
            "version" if stage.version else "plain",
        )
    )


def _calibrated(candidate: Candidate, kind: str, score: float) -> Candidate:
    """Return a candidate with the shares of right names and repositories that answers of its kind had."""
    name = ranking.calibrated(calibration.NAME[kind], score)
    family = ranking.calibrated(calibration.FAMILY[kind], score)
    return msgspec.structs.replace(candidate, confidence=round(min(name, family), 4), family=round(family, 4))


def _knows_better(first: Candidate, stage: Stage, system: str) -> bool:
    """Tell whether the first candidate of the index, which ends where a stage ends, has the better name for it."""
    if first.history != stage.end or not (first.config_digest or first.like):
        return False
    tag = naming.form(first.name)
    if tag.repository != stage.repository:
        return bool(first.config_digest) or first.confidence >= _RATHER
    # The index has real names of such an image; it must only mean the same version, on the same distribution.
    if stage.names and first.confidence < _HARDLY:
        return False
    if stage.version:
        return bool(tag.version) and naming.agrees(tag.version, [stage.version])
    return not system or tag.tag.startswith(system.partition(":")[2].removesuffix("-slim"))


def _agreed(report: LineageReport, stage: Stage) -> LineageReport:
    """Return an answer of the index with the confidence that it has when marks say the same repository and end."""
    first = report.candidates[0]
    if first.name.rpartition(":")[0] != stage.repository or first.confidence >= stage.score:
        return report
    # Marks tell the repository; which of its tags, the index knows better.
    score = (first.confidence + stage.agreement) / 2
    agreed = _calibrated(first, AGREED, score)
    if agreed.confidence < first.confidence:
        agreed = msgspec.structs.replace(agreed, confidence=first.confidence)
    candidates = (agreed, *less_likely(report.candidates[1:], agreed.confidence))
    return msgspec.structs.replace(report, candidates=candidates, kind=AGREED, score=score)


def _outweighs(stage: Stage, first: Candidate, marks: Marks) -> bool:
    """Return whether a stage tells more about an image's base than the index's first candidate, a build beneath it."""
    if not (first.config_digest or first.like) or stage.names or marks.commanded(stage):
        return True
    # Where no command shows that a Dockerfile ended, a known build that is wholly there may be all that is beneath.
    if first.name.rpartition(":")[0] == stage.repository:
        return False
    return stage.repository in families.WITHOUT_COMMAND or stage.score > first.confidence


def _ground(asked: Asked, first: Candidate, root: Root | None) -> int:
    """Return how many steps are surely those of something else: a known build's, or the root's."""
    exact = first.history if first.config_digest else 0
    own = root.steps if root is not None else 0
    if not own and history.instruction(asked.texts[0]) in ("ADD", "COPY"):
        own = 2 if len(asked.texts) > 1 and history.instruction(asked.texts[1]) == "CMD" else 1
    return max(exact, own)


def _system(report: LineageReport, root: Root | None) -> str:
    """Return the name of the distribution beneath; "" when it is not known."""
    name = root.name if root is not None else ""
    if not name:
        named = [link.name for link in report.chain if link.name not in ("scratch", UNKNOWN)]
        name = named[-1] if named else ""
    return name


def _candidate(asked: Asked, stage: Stage, system: str) -> Candidate:
    own = "\n".join(asked.texts[stage.start : stage.end])
    made = asked.times[stage.end - 1] if len(asked.times) >= stage.end else 0.0
    if stage.repository == "openjdk" and 0 < made < _OPENJDK:
        stage = msgspec.structs.replace(stage, repository="java")
    names = stage.names
    if not names or (stage.version and stage.repository in spelling.repositories()):
        names = tuple(spelling.names(stage.repository, stage.version, stage.suffix, system, own))
    beneath = f", on {system}" if system else ""
    return Candidate(
        names[0],
        names,
        round(stage.score, 4),
        _layers(asked, stage.end),
        stage.end,
        evidence=(
            f"by {'its steps' if stage.names else 'its marks'}: {stage.evidence}{beneath}",
            "no build of it is known",
        ),
    )


def _layers(asked: Asked, end: int) -> int:
    """Return how many layers the first `end` steps have made, as far as can be told."""
    steps = asked.image.steps
    total = len(asked.image.layers)
    if all(step.filled is not None for step in steps):
        return min(sum(bool(step.filled) for step in steps[:end]), total)
    made = [history.leaves_layer(text) for text in asked.texts]
    folders = made.count(None) > 0 and total >= sum(each is not False for each in made)
    return min(sum(each is True or (each is None and folders) for each in made[:end]), total)


def _apart(links: Sequence[Link]) -> tuple[Link, ...]:
    """Return the links of stages, which count from the ground, so that each counts what it adds to the one beneath."""
    result = []
    for spot, link in enumerate(links):
        below = links[spot + 1] if spot + 1 < len(links) else None
        if below is not None and link.evidence and link.evidence[-1] == "no build of it is known":
            under = links[spot + 1 :]
            marked = below.evidence and below.evidence[-1] == "no build of it is known"
            layers = below.layers if marked else sum(other.layers for other in under)
            steps = below.history if marked else sum(other.history for other in under)
            link = msgspec.structs.replace(
                link, layers=max(link.layers - layers, 0), history=max(link.history - steps, 0)
            )
        result.append(link)
    return tuple(result)


def _doubted(report: LineageReport, marks: Marks, end: int) -> LineageReport:
    """Return an answer with less confidence where something without a name seems to lie between base and image."""
    first = report.candidates[0]
    if first.name == "scratch":
        return report
    if marks.ends_between(end):
        kind, shares, why = SEAM, calibration.SEAM_ABOVE, "another Dockerfile seems to end above it"
    elif marks.rests_between(end):
        kind, shares = (
            (PAUSE_EXACT, calibration.PAUSE_ABOVE_EXACT) if first.config_digest else (PAUSE, calibration.PAUSE_ABOVE)
        )
        why = "a day or more passed between steps above it"
    else:
        return report
    name, family = shares
    if first.config_digest:
        family = 0.0  # a known build is told by its names alone
    doubted = [
        msgspec.structs.replace(candidate, confidence=round(candidate.confidence * name, 4))
        if candidate is first or (candidate.config_digest and candidate.config_digest == first.config_digest)
        else candidate
        for candidate in report.candidates
    ]
    doubted[0] = msgspec.structs.replace(doubted[0], family=family, evidence=(*first.evidence, why))
    return msgspec.structs.replace(
        report,
        candidates=tuple(doubted),
        unknown=round(max(report.unknown, 1 - shares[1]), 4),
        standing=BETWEEN if kind == SEAM else report.standing,
        undoubted=name,
        kind=kind,
        score=first.confidence,
    )


def _standing(report: LineageReport) -> LineageReport:
    if report.standing != KNOWN:
        return report
    first = report.candidates[0]
    standing = KNOWN if first.config_digest or first.chance >= _LIKELY else NOT_KNOWN
    return msgspec.structs.replace(report, standing=standing)
