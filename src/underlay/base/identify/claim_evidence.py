"""Checks an image's claims about its base against the local images and the index of known bases."""

from __future__ import annotations

import msgspec

from ...errors import UnderlayError
from ...oci import reference as references
from ...store.rows import images
from . import claims, lineage
from .answers import UNKNOWN, Candidate, Link, less_likely
from .claims import Claim
from .image_source import names_of
from .names import naming
from .ranking import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.store import Store
    from ..index.known import Known
    from .image import ImageContent
    from .image_source import Subject

_CONFIRMED = 0.97
# A claim that nothing here speaks for or against. Labels are inherited: they may be the base's own, of its base; anyone
# may hang provenance on an image.
_ALONE = {claims.LABEL: 0.6, claims.PROVENANCE: 0.6}
_ALONE_ELSE = 0.85
_SIGNED = 0.97  # who is trusted with the image is believed what it was made of


def of(subject: Subject) -> list[Claim]:
    """Return what an image says, not yet judged."""
    execution = subject.view.config
    labels = (execution.labels if execution else None) or {}
    endorsement = subject.endorsement
    statements = [(who, statement) for who, statement in endorsement.statements] if endorsement is not None else []
    # Whoever signs an index signs what it hangs on its images.
    signed = endorsement.indexes if endorsement is not None else {}
    statements += [(signed.get(index, ""), statement) for index, statement in subject.provenance()]
    bases = [claim for who, statement in statements for claim in claims.in_provenance(statement, who)]
    return claims.read(subject.annotations, labels, bases, claims.in_history(subject.view.history or []))


def judged(store: Store, claim: Claim, asked: ImageContent, subject: Subject, indexes: Sequence[Known]) -> Claim:
    """Compare a claim with what is known of the base that it names: an image here, or builds of the indexes. `asked` is the
    subject's content as indexes are asked."""
    chains: list[tuple[str, Sequence[str]]] = []
    name = familiar(claim.name)
    for row in images.every(store.meta):
        digests = {row.manifest, *(digest for _, digest, _ in images.repository_digests(store.meta, row.id))}
        if (claim.digest and claim.digest in digests) or (not claim.digest and name in names_of(store, row)):
            chains.append((f"{name or claim.digest[:19]}, which is here", row.diff_ids))
    compared = claims.judged(claim, chains, subject.view.diff_ids)
    if compared.verdict != claims.UNCHECKED:
        return compared
    for index in indexes:
        vouched = lineage.vouch(asked, index, name, claim.digest)
        if vouched is not None:
            verdict = claims.CONFIRMED if vouched[0] else claims.REFUTED
            return msgspec.structs.replace(claim, verdict=verdict, because=vouched[1])
    return compared


def familiar(name: str) -> str:
    """Return the short form of a name, "" for what is none."""
    try:
        return references.parse(name).familiar if name else ""
    except UnderlayError:
        return ""


def apply_claims(
    candidates: Sequence[Candidate], chain: Sequence[Link], claimed: Sequence[Claim], subject: Subject
) -> tuple[list[Candidate], Sequence[Link]]:
    """Return candidates and chain with what is claimed: a confirmed claim says under which of its names a base was asked
    for, an unchecked one is a candidate or speaks for one, a refuted one says nothing."""
    ordered = list(candidates)
    for claim in claimed:
        name = familiar(claim.name)
        if not name or claim.verdict == claims.REFUTED:
            continue
        confirmed = claim.verdict == claims.CONFIRMED
        if claim.vague and not confirmed:
            continue
        sure = bool(ordered) and ordered[0].config_digest is not None
        position = _position_of(ordered, name, claim.digest)
        alone = _SIGNED if claim.signed else _ALONE.get(claim.source, _ALONE_ELSE)
        if position < 0 and ordered and _marked_as(ordered[0], name):
            # The image's own steps say the same.
            position, alone = 0, max(alone, _ALONE_ELSE) if claim.signed else _ALONE_ELSE
        first = position >= 0 and _build(ordered[position]) == _build(ordered[0])
        if position >= 0 and (confirmed or first or (not sure and alone > ordered[0].chance)):
            base = _named(ordered.pop(position), claim, name, _CONFIRMED if confirmed or (sure and first) else alone)
            if not first:
                chain = (base.link(), Link(UNKNOWN))
            elif chain:
                chain = (msgspec.structs.replace(chain[0], name=name, names=base.names), *chain[1:])
            ordered = [base, *less_likely(ordered, base.confidence)]
        elif position < 0 and not sure:
            base = _new(claim, name, alone, subject)
            # That nothing known is beneath its layers says little, when it says itself what is.
            if not ordered or ordered[0].name == SCRATCH or base.confidence > ordered[0].chance:
                ordered = [base, *less_likely(ordered, base.confidence)]
                chain = _beneath(base, chain, subject)
            else:
                ordered.append(msgspec.structs.replace(base, confidence=round(1 - ordered[0].chance, 4)))
        elif position < 0 and claim.source != claims.LABEL:
            # What is known is beneath the image; whether what is claimed lies between, nothing tells.
            most = min(ordered[0].confidence, _ALONE_ELSE)
            ordered[0] = msgspec.structs.replace(ordered[0], confidence=most)
            ordered.append(_new(claim, name, round(1 - most, 4), subject))
    return ordered, chain


def _position_of(candidates: Sequence[Candidate], name: str, digest: str) -> int:
    """Return which candidate is meant, -1 if none is: by its name, as another name of its build, by digest (names move)."""
    for is_meant in (
        lambda candidate: candidate.name == name,
        lambda candidate: name in candidate.names,
        lambda candidate: digest and candidate.digest == digest,
    ):
        position = next((number for number, candidate in enumerate(candidates) if is_meant(candidate)), -1)
        if position >= 0:
            return position
    return -1


def _marked_as(candidate: Candidate, name: str) -> bool:
    """Tell whether a candidate that only marks tell of may be what is claimed, under the name that it has somewhere."""
    if candidate.config_digest or candidate.like or not candidate.history:
        return False
    told, claimed = naming.form(candidate.name), naming.form(name)
    same = told.repository.rpartition("/")[2] == claimed.repository.rpartition("/")[2]
    short, long = sorted((told.version, claimed.version), key=len)
    return same and bool(short) and naming.agrees(short, [long])


def _build(candidate: Candidate) -> str:
    """Return what tells builds apart: candidates may be names of one."""
    return candidate.config_digest or candidate.like or candidate.name


def _says(claim: Claim) -> str:
    """Return who says what is claimed."""
    if claim.signed:
        return f"its {claim.source} says so, signed by {claim.signed}"
    unsigned = ", unsigned" if claim.source == claims.PROVENANCE else ""
    return f"the image says so itself ({claim.source}{unsigned})"


def _named(base: Candidate, claim: Claim, name: str, confidence: float) -> Candidate:
    and_why = f", and {claim.because}" if claim.verdict == claims.CONFIRMED else ""
    return msgspec.structs.replace(
        base,
        name=name,
        names=(name, *(other for other in base.names if other != name)),
        confidence=max(base.confidence, confidence),
        evidence=(*base.evidence, f"{_says(claim)}{and_why}"),
    )


def _new(claim: Claim, name: str, confidence: float, subject: Subject) -> Candidate:
    history = subject.view.history or []
    steps = min(claim.steps, len(history))
    layers = sum(not step.empty_layer for step in history[:steps])
    text = f"{_says(claim)}; {claim.because}"
    return Candidate(name, (name,), confidence, layers, steps, None, claim.digest or None, None, (text,))


def _beneath(claimed_base: Candidate, chain: Sequence[Link], subject: Subject) -> tuple[Link, ...]:
    """Put a base that is only claimed on what the history notes beneath it, and that on what is known to be there."""
    if not claimed_base.history:
        return claimed_base.link(), Link(UNKNOWN)
    noted = [claim for claim in claims.in_history(subject.view.history or []) if claim.steps < claimed_base.history]
    named = [(claim, name) for claim in noted if (name := familiar(claim.name))]
    bases = [claimed_base, *(_new(claim, name, claimed_base.confidence, subject) for claim, name in named)]
    fits = sum(link.history for link in chain) < bases[-1].history
    rest = tuple(chain) if chain and fits else (Link(UNKNOWN),)
    links = []
    for base, below in zip(bases, [*bases[1:], None], strict=True):
        layers = below.layers if below else sum(link.layers for link in rest)
        steps = below.history if below else sum(link.history for link in rest)
        link = base.link()
        links.append(
            msgspec.structs.replace(link, layers=max(base.layers - layers, 0), history=max(base.history - steps, 0))
        )
    return (*links, *rest)
