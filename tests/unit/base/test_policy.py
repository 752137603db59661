"""Rules over bases: read strictly, and each broken by what it means."""

from __future__ import annotations

import msgspec
import pytest

from underlay.base.fleet import policy
from underlay.base.fleet.policy import PAST, SUPPORTED, Policy, Standing, Vulnerabilities
from underlay.errors import InvalidInput

NOW = 1_700_000_000.0
APP = Standing(
    "app:1",
    "debian:12-slim",
    ("debian:12-slim", "debian:bookworm-slim"),
    "sha256:" + "a" * 64,
    0.98,
    ("debian:12-slim", "scratch"),
    "debian 12",
    NOW - 10 * 86400,
    SUPPORTED,
    "2028-06-30",
    False,
    vulnerabilities=Vulnerabilities({"critical": 1}, {}, {}),
)


def changed(**values: object) -> Standing:
    return msgspec.structs.replace(APP, **values)


def broken(rules: Policy, *images: Standing) -> list[str]:
    return [each.rule for each in policy.check(rules, images or (APP,), NOW)]


def test_nothing_is_broken_without_rules() -> None:
    assert broken(Policy(), changed(base="", confidence=0.0, life=PAST, outdated=True)) == []


@pytest.mark.parametrize(
    ("rules", "image", "rule"),
    [
        (Policy(known=True), changed(base="", names=(), confidence=0.0), "known"),
        (Policy(known=True), changed(confidence=0.5, digest=""), "known"),
        (Policy(allow=["alpine:*"]), APP, "allow"),
        (Policy(allow=["alpine:*"]), changed(base="", names=()), "allow"),
        (Policy(deny=["debian:*"]), APP, "deny"),
        (Policy(end_of_life=False), changed(life=PAST, ends="2024-06-30"), "end-of-life"),
        (Policy(outdated=False), changed(outdated=True), "outdated"),
        (Policy(max_age=5), APP, "max-age"),
        (Policy(max_age=5), changed(created=None), "max-age"),
        (Policy(fixable="high"), changed(vulnerabilities=Vulnerabilities({}, {"critical": 2}, {})), "fixable"),
        (Policy(fixable="high"), changed(vulnerabilities=None), "fixable"),
        (Policy(fixable="high"), changed(vulnerabilities=Vulnerabilities(complete=False)), "fixable"),
        # What has no severity may be of any.
        (Policy(fixable="low"), changed(vulnerabilities=Vulnerabilities({}, {"unknown": 2}, {})), "fixable"),
        # A name that is only claimed gives no leave.
        (Policy(allow=["debian:*"]), changed(confidence=0.85, digest=""), "allow"),
    ],
)
def test_a_rule_is_broken(rules: Policy, image: Standing, rule: str) -> None:
    assert broken(rules, image) == [rule]


@pytest.mark.parametrize(
    "rules",
    [
        Policy(known=True, allow=["debian:bookworm-*"], deny=["debian:11*"], end_of_life=False, outdated=False),
        Policy(max_age=30, fixable="critical", max_distributions=1, max_bases=1),
        Policy(allow=["debian:*"], confidence=0.8),
    ],
)
def test_a_rule_holds(rules: Policy) -> None:
    assert broken(rules) == []


def test_rules_over_all_images() -> None:
    other = changed(image="b", base="alpine:3.20", digest="sha256:" + "b" * 64, distribution="alpine 3.20")
    assert broken(Policy(max_distributions=1), APP, other) == ["max-distributions"]
    assert broken(Policy(max_bases=1), APP, other) == ["max-bases"]


def test_reading() -> None:
    text = b'[bases]\nallow = ["debian:*"]\nmax-age = 90\nend-of-life = false\nfixable = "critical"\nknown = true\n'
    found = policy.read(text, "rules.toml")
    assert found == Policy(allow=["debian:*"], max_age=90, end_of_life=False, fixable="critical", known=True)


@pytest.mark.parametrize(
    "text",
    [
        b"[bases\n",
        b"[other]\n",
        b"",
        b"[bases]\nunknown = 1\n",
        b'[bases]\nallow = "debian"\n',
        b'[bases]\nfixable = "huge"\n',
        b"[bases]\nconfidence = 90\n",
        b"[bases]\nconfidence = nan\n",
        b"[bases]\nmax-age = -1\n",
        b"\xff",
    ],
)
def test_what_cannot_be_read(text: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        policy.read(text, "rules.toml")
    assert caught.value.message.startswith("rules.toml: ")
