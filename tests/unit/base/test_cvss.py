"""Base scores: examples that FIRST and NVD publish with their vectors."""

from __future__ import annotations

import pytest

from underlay.base.advisories import cvss

SCORES = {
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": 9.8,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H": 10.0,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N": 6.1,
    "CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N": 6.4,
    "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N": 7.5,
    "CVSS:3.1/AV:L/AC:H/PR:H/UI:N/S:U/C:L/I:L/A:L": 3.9,
    "CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:N": 4.6,
    "CVSS:3.0/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L": 4.2,
    "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:N/A:N": 0.0,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N/E:P/RL:O": 7.5,
    "AV:N/AC:L/Au:N/C:N/I:N/A:C": 7.8,
    "AV:N/AC:L/Au:N/C:C/I:C/A:C": 10.0,
    "(AV:L/AC:H/Au:N/C:C/I:C/A:C)": 6.2,
    "AV:N/AC:L/Au:N/C:N/I:N/A:N": 0.0,
}


@pytest.mark.parametrize("vector", SCORES)
def test_scores(vector: str) -> None:
    assert cvss.base_score(vector) == SCORES[vector]


@pytest.mark.parametrize(
    "text", ["", "medium", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H", "CVSS:3.1/AV:N", "CVSS:3.1/AV:X/AC:L", "/" * 1000]
)
def test_no_vectors(text: str) -> None:
    assert cvss.base_score(text) is None


def test_labels() -> None:
    assert [cvss.rating(score) for score in (0, 0.1, 3.9, 4.0, 7.0, 9.0)] == [
        "negligible", "low", "low", "medium", "high", "critical",
    ]  # fmt: skip
    assert [cvss.label(word) for word in ("Important", "MODERATE", "unimportant", "not yet assigned")] == [
        "high", "medium", "negligible", "unknown",
    ]  # fmt: skip
