"""Answers to what is beneath an image: candidates for its base, the chain of images, how the answer stands."""

from __future__ import annotations

import msgspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = "?"
# How an answer stands: the base is one that is known; something that is not known lies between what is known and the
# image's own steps; nothing beneath the image is known well enough.
KNOWN, BETWEEN, NOT_KNOWN = "known", "unknown between", "unknown"


class Candidate(msgspec.Struct, frozen=True):
    """One name that the base may have.

    `names` are all names of that build, this one first. `config_digest` (image id) and `digest` (of the manifest or
    index) are set when the base is a build that is known. `layers` and `history` count what it contributes;
    `confidence` is the share, 0 to 1, of answers like this one whose name proved right. `family` is that of answers whose
    repository did, where it is told apart (0: it is not): marks are surer of a repository than of its tag.
    """

    name: str
    names: tuple[str, ...]
    confidence: float
    layers: int
    history: int
    config_digest: str | None = None
    digest: str | None = None
    like: str | None = None  # image id of the known build that the base is most like, when it is not a known build
    evidence: tuple[str, ...] = ()
    family: float = 0.0

    @property
    def chance(self) -> float:
        """How likely this is what the image stands on, under whichever tag."""
        return max(self.confidence, self.family)

    def link(self) -> Link:
        """Return it as the top of a chain that nothing is known of beneath it."""
        return Link(self.name, self.names, self.config_digest, self.digest, self.layers, self.history, self.evidence)


class Link(msgspec.Struct, frozen=True):
    """One image of a chain of bases: its names, and the layers and history steps it adds to the base below."""

    name: str
    names: tuple[str, ...] = ()
    config_digest: str | None = None
    digest: str | None = None
    layers: int = 0
    history: int = 0
    evidence: tuple[str, ...] = ()


class LineageReport(msgspec.Struct, frozen=True):
    """What is beneath an image.

    `candidates`: the most likely first, `scratch` for made from nothing. `chain`: from the base downwards; ends in
    `scratch`, or in `?` where it cannot be followed. `outdated`: whether the base's name points at another build
    now; None when that is not known. `unknown`: how likely the base is none that the index knows, 0 to 1.
    `standing`: KNOWN, BETWEEN or NOT_KNOWN. `undoubted`: how often, 0 to 1, the first candidate was right of those with
    such steps above them; 1 where they show no end of another Dockerfile. `kind` and `score`: how the first candidate was
    found by marks, and how well they agree, before calibration (`marks.calibration`); "" where it was not.
    """

    candidates: tuple[Candidate, ...]
    chain: tuple[Link, ...]
    outdated: bool | None
    unknown: float
    standing: str = KNOWN
    undoubted: float = 1.0
    kind: str = ""
    score: float = 0.0

    @property
    def chain_names(self) -> list[str]:
        """The names of the chain."""
        return [link.name for link in self.chain]


def less_likely(candidates: Sequence[Candidate], better: float) -> list[Candidate]:
    """Return candidates behind one found by other means, which is right with the chance `better`: they have the rest."""
    left, sum_of_all = 1 - better, sum(candidate.confidence for candidate in candidates)
    share = left / sum_of_all if sum_of_all > left else 1.0
    return [
        msgspec.structs.replace(candidate, confidence=round(candidate.confidence * share, 4))
        for candidate in candidates
    ]
