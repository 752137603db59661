"""Compares the distribution that an image's steps and labels claim with its files, which refute forged ones."""

from __future__ import annotations

import msgspec

from ...packages import osrelease
from .answers import UNKNOWN, Candidate, Link, less_likely
from .claims import CONFIRMED, REFUTED, Claim
from .names import distribution, roots, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .image import Step
    from .image_source import Subject

# The root's own step and the files' os-release agree, and nothing known says otherwise.
_AGREED = 0.92
# Steps say one distribution and files another: the files are what runs.
_FILES = 0.7
# A root that only files name, beneath steps of another Dockerfile.
_ROOT = 0.8
# Steps say a distribution of which no file is there: tools that make images slim leave such.
_BARE = 0.4


class Release(msgspec.Struct, frozen=True):
    """What the files of an image say of its distribution: the `names` that images of it have, and its `title`."""

    names: tuple[str, ...]
    title: str

    @property
    def repository(self) -> str:
        """The repository of the distribution's images."""
        return self.names[0].rpartition(":")[0]

    def refutes(self, name: str) -> bool:
        """Tell whether an image of that name is of another distribution."""
        repository = name.rpartition(":")[0].rpartition("/")[2]
        return distribution.is_one(repository) and repository != self.repository.rpartition("/")[2]


def of(subject: Subject) -> Release | None:
    """Return what the files of an image say of its distribution, None when they are not here or say nothing."""
    files = subject.seen()
    if files is None:
        return None
    release = osrelease.read(files)
    if not witnesses.agrees(release, files):
        release = witnesses.release_by_packages(files)
    names = distribution.names(release)
    if not names:
        return None
    title = release.get("PRETTY_NAME", "")[:80] or f"{release['ID']} {release.get('VERSION_ID', '')}".strip()
    return Release(tuple(names), title)


def at_root(
    candidates: Sequence[Candidate], chain: Sequence[Link], told: Release, steps: Sequence[Step], undoubted: float
) -> tuple[list[Candidate], Sequence[Link]]:
    """Return candidates and chain for an image whose first steps make a root that does not say what it is: it is what files
    say, where nothing is known of it or only what its like were."""
    first = candidates[0]
    root = roots.unnamed([step.text for step in steps])
    chance = round(_ROOT * undoubted, 4)
    if not root or first.config_digest or (first.like is None and first.history):
        return list(candidates), chain
    if first.history > root or first.chance >= chance:
        return list(candidates), chain
    layers = sum(bool(step.filled) for step in steps[:root])
    text = f"its files say that they are {told.title!r}; steps 1-{root} put a root there, and others follow its command"
    base = Candidate(told.names[0], told.names, chance, layers, root, evidence=(text,))
    others = [candidate for candidate in candidates if candidate.name not in told.names]
    return [base, *less_likely(others, chance)], (base.link(), Link("scratch"))


def bare(subject: Subject) -> bool:
    """Tell whether an image's files were looked at and are of no distribution: no release, packages or loader."""
    files = subject.seen()
    return files is not None and not osrelease.read(files) and not witnesses.any_of(files)


def doubt_bare(candidates: Sequence[Candidate], chain: Sequence[Link]) -> list[Candidate]:
    """Return candidates for an image whose files are of no distribution: that it stands on one is little likely then."""
    first = candidates[0]
    ground = next((link for link in reversed(chain) if link.name not in ("scratch", UNKNOWN)), None)
    repository = ground.name.rpartition(":")[0].rpartition("/")[2] if ground is not None else ""
    if first.config_digest or not distribution.is_one(repository) or first.chance <= _BARE:
        return list(candidates)
    text = "its files are those of no distribution"
    return [
        msgspec.structs.replace(
            first, confidence=min(first.confidence, _BARE), family=0.0, evidence=(*first.evidence, text)
        ),
        *candidates[1:],
    ]


def judge(claim: Claim, release: Release | None) -> Claim:
    """Return a claim, refuted where it names another distribution than the files are of."""
    if release is None or claim.verdict in (REFUTED, CONFIRMED) or not release.refutes(_short(claim.name)):
        return claim
    return msgspec.structs.replace(claim, verdict=REFUTED, because=f"its files say that they are {release.title!r}")


def weigh(
    candidates: Sequence[Candidate], chain: Sequence[Link], release: Release | None, undoubted: float = 1.0
) -> tuple[list[Candidate], Sequence[Link]]:
    """Return candidates and chain with what files say: a distribution that only steps tell of is confirmed or refuted.

    `undoubted`: how often nothing unknown lies above such a distribution, as `LineageReport` has it."""
    if release is None or candidates[0].config_digest:
        return list(candidates), chain
    first = candidates[0]
    ground = next((link for link in reversed(chain) if link.name not in ("scratch", UNKNOWN)), None)
    if ground is not None and ground.config_digest is None and release.refutes(ground.name):
        text = f"its files say that they are {release.title!r}, not {ground.name} as its steps do"
        files = Candidate(release.names[0], release.names, _FILES, 0, 0, evidence=(text,))
        others = [candidate for candidate in candidates if not release.refutes(candidate.name)]
        return [files, *less_likely(others, files.confidence)], (files.link(), Link(UNKNOWN))
    same = [name for name in first.names if name in release.names or name.removesuffix("-slim") in release.names]
    chance = round(_AGREED * undoubted, 4)
    if same and first.history and first.confidence < chance:
        text = f"its files say that they are {release.title!r}"
        agreed = msgspec.structs.replace(first, confidence=chance, evidence=(*first.evidence, text))
        return [agreed, *less_likely(candidates[1:], chance)], chain
    return list(candidates), chain


def _short(name: str) -> str:
    from .claim_evidence import familiar

    return familiar(name)
