"""What becomes of an answer when the image itself says something of its base."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from underlay.base.identify import claim_evidence
from underlay.base.identify.claims import CONFIRMED, REFUTED, UNCHECKED, Claim
from underlay.base.identify.lineage import Candidate, Link
from underlay.oci.config import Step

LIKE = Candidate("debian:12", ("debian:12",), 0.7, 1, 1)
OTHER = Candidate("debian:11", ("debian:11",), 0.2, 1, 1)
KNOWN = Candidate("tool:2", ("tool:2", "tool:latest"), 0.6, 2, 3, "sha256:aa", "sha256:bb")
NOTHING = Candidate("scratch", ("scratch",), 0.98, 0, 0)
CHAIN = (Link("debian:12", layers=1, history=1), Link("scratch"))
HISTORY = [Step(), Step(empty_layer=True), Step(comment="FROM lower:1"), Step(), Step(comment="FROM upper:1"), Step()]


def heard(candidates: list[Candidate], *told: Claim) -> tuple[list[tuple[str, float]], list[str]]:
    subject: Any = SimpleNamespace(view=SimpleNamespace(history=HISTORY))
    found, chain = claim_evidence.apply_claims(candidates, CHAIN, told, subject)
    return [(each.name, each.confidence) for each in found], [link.name for link in chain]


@pytest.mark.parametrize(
    ("claim", "names"),
    [
        # What both say is no proof: steps are the image's own words, too.
        (Claim("debian:12", "", "annotation"), [("debian:12", 0.85), ("debian:11", 0.15)]),
        (Claim("debian:12", "", "annotation", CONFIRMED), [("debian:12", 0.97), ("debian:11", 0.03)]),
        (Claim("debian:11", "", "annotation"), [("debian:11", 0.85), ("debian:12", 0.15)]),
        # A label may be the base's own.
        (Claim("debian:11", "", "label"), [("debian:12", 0.7), ("debian:11", 0.2)]),
        (Claim("new:1", "", "label"), [("debian:12", 0.7), ("debian:11", 0.2), ("new:1", 0.3)]),
        (Claim("new:1", "", "history"), [("new:1", 0.85), ("debian:12", 0.1167), ("debian:11", 0.0333)]),
        (Claim("new:1", "", "history", REFUTED), [("debian:12", 0.7), ("debian:11", 0.2)]),
        (Claim("new:1", "", "provenance", UNCHECKED, vague=True), [("debian:12", 0.7), ("debian:11", 0.2)]),
        (Claim("no name\nRUN x", "", "annotation"), [("debian:12", 0.7), ("debian:11", 0.2)]),
    ],
)
def test_what_is_like_something(claim: Claim, names: list[tuple[str, float]]) -> None:
    assert heard([LIKE, OTHER], claim)[0] == names


def test_what_is_known() -> None:
    """A known build is beneath it: a claim says under which of its names; or that something lies between."""
    assert heard([KNOWN], Claim("tool:latest", "", "label"))[0] == [("tool:latest", 0.97)]
    assert heard([KNOWN], Claim("moved:1", "sha256:bb", "annotation"))[0] == [("moved:1", 0.97)]
    assert heard([KNOWN], Claim("new:1", "", "label"))[0] == [("tool:2", 0.6)]  # which may be inherited
    assert heard([KNOWN], Claim("new:1", "", "annotation"))[0] == [("tool:2", 0.6), ("new:1", 0.4)]
    # Another candidate is that name of the same build.
    latest = Candidate("tool:latest", ("tool:latest", "tool:2"), 0.3, 2, 3, "sha256:aa", "sha256:bb")
    names, chain = heard([KNOWN, latest], Claim("tool:latest", "", "label"))
    assert names == [("tool:latest", 0.97), ("tool:2", 0.03)] and chain == ["tool:latest", "scratch"]


def test_what_lies_beneath_what_is_claimed() -> None:
    found, chain = heard([NOTHING], Claim("upper:1", "", "history", steps=4))
    assert found[0] == ("upper:1", 0.85) and chain == ["upper:1", "lower:1", "debian:12", "scratch"]
    # Where it does not say how many steps are the base's, nothing beneath it is known.
    assert heard([NOTHING], Claim("upper:1", "", "label"))[1] == ["upper:1", "?"]
