"""Compares the distribution that an image's steps and labels claim with its os-release, which refutes forged ones."""

from __future__ import annotations

import msgspec

from .answers import UNKNOWN, Candidate, Link, less_likely
from .claims import CONFIRMED, REFUTED, Claim
from .names import distribution

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .image_source import Subject

# The root's own step and the files' os-release agree, and nothing known says otherwise.
_AGREED = 0.92
# Steps say one distribution and files another: the files are what runs.
_FILES = 0.7


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
        repository = name.rpartition(":")[0]
        return distribution.is_one(repository) and repository != self.repository


def of(subject: Subject) -> Release | None:
    """Return what the files of an image say of its distribution, None when they are not here or say nothing."""
    files = subject.files()
    if files is None:
        return None
    from ...packages import osrelease

    release = osrelease.read(files)
    names = distribution.names(release)
    if not names:
        return None
    title = release.get("PRETTY_NAME", "")[:80] or f"{release['ID']} {release.get('VERSION_ID', '')}".strip()
    return Release(tuple(names), title)


def judge(claim: Claim, release: Release | None) -> Claim:
    """Return a claim, refuted where it names another distribution than the files are of."""
    if release is None or claim.verdict in (REFUTED, CONFIRMED) or not release.refutes(_short(claim.name)):
        return claim
    return msgspec.structs.replace(claim, verdict=REFUTED, because=f"its files say that they are {release.title!r}")


def weigh(
    candidates: Sequence[Candidate], chain: Sequence[Link], release: Release | None
) -> tuple[list[Candidate], Sequence[Link]]:
    """Return candidates and chain with what files say: a distribution that only steps tell of is confirmed or refuted."""
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
    if same and first.history and first.confidence < _AGREED:
        text = f"its files say that they are {release.title!r}"
        agreed = msgspec.structs.replace(first, confidence=_AGREED, evidence=(*first.evidence, text))
        return [agreed, *less_likely(candidates[1:], _AGREED)], chain
    return list(candidates), chain


def _short(name: str) -> str:
    from .claim_evidence import familiar

    return familiar(name)
