"""Identifies the base of an image: by the index of known bases, by local images, and by its files."""

from __future__ import annotations

import functools
import os
import time

import msgspec

from ...oci import reference as references
from ...store.rows import images
from ..index import known
from . import answers, claim_evidence, history, image, likeness, lineage, release
from .answers import UNKNOWN, Candidate, Link
from .claims import REFUTED, UNCHECKED, Claim
from .image_source import STORE, names_of
from .marks import sources
from .names import roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...paths import Paths
    from ...store.rows.images import ImageRow
    from ...store.store import Store
    from ..index.known import Known
    from .image import Step
    from .image_source import Subject

SCRATCH = "scratch"
_HERE = 0.99  # all layers of an image that is here, in order: that is it, or a twin of it
_TWIN = 0.9  # its layers agree, its steps do not
LIKELY = 0.5  # an answer with less is no answer
_UNREAD = 0.95  # "made from nothing" of an image whose files nobody looked at
_SUREST = 0.99  # what is told by documents alone
_MADE_ELSEWHERE = 0.6  # "made from nothing" of the files of a distribution that no step shows the making of


class Identified(msgspec.Struct, frozen=True):
    """The identified base of an image: `candidates`, the most likely first; the `chain` from the base down; whether the
    base's name refers to another build now (None: unknown); the image's own `claims`; `where` the image was found; its
    `standing`: "known", "unknown between" (something without a known build lies between what is known and the image's
    own steps) or "unknown"; `as_of`: the day (ISO 8601) of the newest build that the indexes know; who has signed the
    image (`signed_by`), where a signature was demanded, or why nobody has (`unsigned`)."""

    image: str
    id: str
    where: str
    candidates: tuple[Candidate, ...]
    chain: tuple[Link, ...]
    outdated: bool | None
    unknown: float
    claims: tuple[Claim, ...] = ()
    standing: str = answers.KNOWN
    as_of: str = ""
    signed_by: tuple[str, ...] = ()
    unsigned: str = ""

    @property
    def base(self) -> Candidate | None:
        """The most likely base; None for an image built from scratch."""
        first = self.candidates[0] if self.candidates else None
        return None if first is None or first.name == SCRATCH else first

    @property
    def certainty(self) -> float:
        """The probability that the image is built on the first candidate's build, under any of its names; 0 to 1."""
        first = self.candidates[0]
        if first.config_digest is None:
            return first.chance
        same = (candidate.confidence for candidate in self.candidates if candidate.config_digest == first.config_digest)
        return min(round(sum(same), 4), 1.0 if self.where == STORE else _SUREST)


def directory(store: Store) -> str:
    """Return where an installation keeps what it has learned of bases."""
    return store.paths.root + "/bases"


def indexes(store: Store) -> list[Known]:
    """Return the indexes of known bases, an installation's own first. Raises Corrupt."""
    result = []
    own = directory(store) + "/known.bases"
    if os.path.exists(own):
        result.append(known.open_index(own))
    return [*result, known.shipped()]


def identify(
    store: Store,
    subject: Subject,
    limit: int = 10,
    above: frozenset[str] = frozenset(),
    among: list[Known] | None = None,
) -> Identified:
    """Return what an image stands on. Raises Corrupt when an index is damaged.

    `above` are the lowest layers of images that stand on it by their files: what has one of them is not beneath it, however
    alike they are. `among` are the indexes, where they are open already.
    """
    asked = image.from_config(subject.view, subject.layers)
    asked_of = among or indexes(store)
    own = sources.load(directory(store) + "/" + sources.FILE)
    known_sources = sources.Sources(own) if own else None
    reports = [lineage.identify(asked, index, limit, known_sources) for index in asked_of]
    # That an index knows nothing beneath an image says little when another does.
    best = max(reports, key=lambda report: (_exact(report), _named(report), report.candidates[0].chance))
    candidates = list(best.candidates)
    chain: Sequence[Link] = best.chain
    for other in reports:
        names = {SCRATCH, *(candidate.name for candidate in candidates)}
        new = [candidate for candidate in other.candidates if candidate.name not in names]
        said = candidates[0].chance + sum(candidate.confidence for candidate in candidates[1:])
        candidates += answers.less_likely(new, min(1.0, said))
    local = _local(store, subject)
    if local is not None and local.layers >= candidates[0].layers:
        candidates = [local, *_left(candidates, local)]
        chain = _chain_onto(local, _chain_of(store, local.config_digest, local.name, above, asked_of))
    elif not any(candidate.config_digest for candidate in candidates[:1]):
        # That nothing known is beneath its layers says little, when nearly all files of something known are in them.
        nothing = candidates[0].name == SCRATCH
        like = likeness.by_files(store, subject, above, asked_of)
        if like is None and (nothing or candidates[0].chance < likeness.PACKAGES):
            like = likeness.by_packages(store, subject, above, asked_of)
        if like is not None and (nothing or like.confidence > candidates[0].chance):
            candidates = [like, *_left(candidates, like)]
            higher = above | set(subject.view.diff_ids[:1])
            chain = (like.link(), *_chain_of(store, like.like, like.name, higher, asked_of))
        elif nothing and (named := likeness.by_release(subject)) is not None:
            candidates, chain = _beside_nothing(candidates, chain, named, asked.steps)
    claimed = [claim_evidence.judged(store, claim, asked, subject, asked_of) for claim in claim_evidence.of(subject)]
    # An exact build needs no files to tell its distribution, unless something is claimed that layers do not judge.
    open_claims = any(claim.verdict == UNCHECKED for claim in claimed)
    told = release.of(subject) if open_claims or not candidates[0].config_digest else None
    candidates, chain = release.weigh(candidates, chain, told, best.undoubted)
    if told is not None:
        candidates, chain = release.at_root(candidates, chain, told, asked.steps, best.undoubted)
    if told is None and not candidates[0].config_digest and release.bare(subject):
        candidates = release.doubt_bare(candidates, chain)
    judged = [release.judge(claim, told) for claim in claimed]
    credible_claims = [claim for claim in judged if not (claim.vague and claim.verdict == REFUTED)]
    candidates, chain = claim_evidence.apply_claims(candidates, chain, credible_claims, subject)
    ordered = candidates[:1] + sorted(candidates[1:], key=lambda candidate: -candidate.confidence)
    if subject.files() is None:
        looked_at = subject.deep and subject.seen() is not None
        ordered[0] = _not_here(ordered[0], looked_at, subject.unseen)
    outdated = best.outdated if ordered[0] is best.candidates[0] else _moved(store, ordered[0])
    return Identified(
        subject.name,
        subject.id,
        subject.where,
        tuple(ordered[:limit]),
        tuple(chain),
        outdated,
        best.unknown,
        tuple(credible_claims),
        _standing(ordered[0], best),
        _day(max(index.end for index in asked_of)),
        subject.endorsement.signers if subject.endorsement is not None else (),
        subject.endorsement.problem if subject.endorsement is not None else "",
    )


def _day(days: int) -> str:
    """Return a day since the epoch in the form of ISO 8601."""
    return time.strftime("%Y-%m-%d", time.gmtime(days * known.DAY))


def _not_here(first: Candidate, looked_at: bool = False, why: str = "") -> Candidate:
    """Return the first candidate of an image that is not in the store: of that nothing is quite sure, less so when nobody
    has `looked_at` its files; `why` they could not be."""
    if first.name != SCRATCH or looked_at:
        confidence, family = min(first.confidence, _SUREST), min(first.family, _SUREST)
        return msgspec.structs.replace(first, confidence=confidence, family=family)
    evidence = (*first.evidence, f"its files were not looked at{f': {why}' if why else ''}")
    return msgspec.structs.replace(first, confidence=min(first.confidence, _UNREAD), evidence=evidence)


def _standing(first: Candidate, best: answers.LineageReport) -> str:
    """Return how an answer stands, whose first candidate may have been found by other means than the index."""
    if first.config_digest:
        return answers.KNOWN if first.name not in best.candidates[0].names else best.standing
    if first.name == best.candidates[0].name and first.chance <= best.candidates[0].chance:
        unsure = best.standing == answers.KNOWN and first.chance < LIKELY <= best.candidates[0].chance
        return answers.NOT_KNOWN if unsure else best.standing
    return answers.KNOWN if first.chance >= LIKELY else answers.NOT_KNOWN


def _beside_nothing(
    candidates: Sequence[Candidate], chain: Sequence[Link], named: Candidate, steps: Sequence[Step]
) -> tuple[list[Candidate], Sequence[Link]]:
    """Put the distribution that an image's files name behind `scratch`, as the image may have been made of these files
    alone; before `scratch` where the image has no history (`steps`) that would show it."""
    if not steps:
        return [named, *_left(candidates, named)], (named.link(), Link(UNKNOWN))
    chance = candidates[0].confidence
    if history.instruction(steps[0].text) != "ADD" and roots.read([step.text for step in steps]) is None:
        # Distributions add an archive of theirs; what was imported, or copied whole, was made somewhere else before.
        chance = min(chance, _MADE_ELSEWHERE)
    evidence = (*candidates[0].evidence, *named.evidence)
    nothing = msgspec.structs.replace(candidates[0], confidence=chance, evidence=evidence)
    rest = round(1 - nothing.confidence, 4)
    return [nothing, msgspec.structs.replace(named, confidence=rest), *_left(candidates[1:], named)], chain


def _left(candidates: Sequence[Candidate], better: Candidate) -> list[Candidate]:
    """Return what else a base may be than what is found better."""
    others = [candidate for candidate in candidates if candidate.name not in better.names]
    return answers.less_likely(others, better.confidence)


def _named(report: answers.LineageReport) -> bool:
    return report.candidates[0].name != SCRATCH


def _exact(report: answers.LineageReport) -> int:
    first = report.candidates[0]
    return first.layers if first.config_digest else 0


# Images that are here


def _local(store: Store, subject: Subject) -> Candidate | None:
    """Return the image here whose layers are the longest beginning of this one's."""
    diff_ids = subject.view.diff_ids
    steps = [step.created_by for step in subject.view.history or []]
    best: Candidate | None = None
    for row in images.every(store.meta):
        count = len(row.diff_ids)
        if row.id == subject.id or not count or count > len(diff_ids) or list(row.diff_ids) != diff_ids[:count]:
            continue
        history = _history(store.paths, row.id)
        alike = bool(history) and history == steps[: len(history)]
        if count == len(diff_ids) and (not alike or len(history) >= len(steps)):
            continue  # the same files, and nothing on top: a twin, and no base
        names = names_of(store, row) or _former_names(store, row, subject)
        if not names:
            continue
        steps_text = ", and its steps are this image's first ones" if alike else ""
        layers = "the only layer" if count == 1 else f"all {count} layers"
        verb = "is in the image" if count == 1 else "are in the image, in order"
        evidence = f"{layers} of {names[0]} ({row.id[7:19]}), which is here, {verb}{steps_text}"
        candidate = Candidate(
            names[0],
            tuple(names),
            _HERE if alike else _TWIN,
            count,
            len(history) if alike else 0,
            row.id,
            row.manifest,
            None,
            (evidence,),
        )
        if best is None or (candidate.layers, candidate.history, candidate.confidence) > (
            best.layers,
            best.history,
            best.confidence,
        ):
            best = candidate
    return best


@functools.lru_cache(2048)
def _history(paths: Paths, image_id: str) -> list[str | None]:
    """Return the commands of an image's steps. They are kept, since lists of images ask for those of the same ones."""
    return [step.get("created_by") for step in images.config(paths, image_id).get("history") or []]


def _former_names(store: Store, row: ImageRow, subject: Subject) -> list[str]:
    """Return what an image was called that has lost its names: as the asked image says, or by its digest."""
    known = images.repository_digests(store.meta, row.id)
    digests = {row.manifest, *(digest for _, digest, _ in known)}
    own_claims = claim_evidence.of(subject)
    claimed = [
        name for claim in own_claims if claim.digest in digests and (name := claim_evidence.familiar(claim.name))
    ]
    return claimed + [f"{references.familiar(repository)}@{digest}" for repository, digest, _ in known]


def _chain_onto(local: Candidate, below: Sequence[Link]) -> tuple[Link, ...]:
    """Put an image that is here on what is beneath it."""
    layers = max(local.layers - sum(link.layers for link in below), 0)
    steps = max(local.history - sum(link.history for link in below), 0)
    return (msgspec.structs.replace(local.link(), layers=layers, history=steps), *below)


def _chain_of(
    store: Store, identity: str | None, name: str, above: frozenset[str], among: list[Known]
) -> tuple[Link, ...]:
    """Return what is beneath an image that is here; nothing with a layer of those `above` it."""
    from .image_source import of_image

    row = images.get(store.meta, identity or "")
    return identify(store, of_image(store, row, name), 1, above, among).chain if row is not None else (Link(UNKNOWN),)


def _moved(store: Store, base: Candidate) -> bool | None:
    """Tell whether the name of a base that is here stands for another image by now."""
    if base.config_digest is None:
        return None
    try:
        return images.resolve(store.meta, base.name).id != base.config_digest
    except Exception as error:
        from ...errors import UnderlayError

        if not isinstance(error, UnderlayError):
            raise
        return None
