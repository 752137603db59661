"""The orders of versions: examples from their descriptions, and that each is an order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.errors import InvalidInput
from underlay.packages import versions

# Each line from the oldest to the newest; = is the same.
ASCENDING = {
    "dpkg": [
        "1.0~~ 1.0~~a 1.0~ 1.0 1.0-1 1.0a 1.0+b1 1.0.1 1:0.1",
        "1.0-1+deb8u9 1.0-1+deb8u10",
        "1.0=1.0-0=0:1.0=1.00",
        "2.9 2.10",
        "5.20.2-3+deb8u9 5.20.2-3+deb8u10",
    ],
    "rpm": [
        "1.0~rc1-1 1.0-1 1.0^git1-1 1.0a-1 1.0.1-1 1:0.1-1",
        "1.0-1.el8=1.0-1_el8",
        "1-1.el8 1-1.el8_10 1-1.el9",
        "fc4 4",
        "1.05-1=1.5-1",
    ],
    "apk": [
        "1.0_alpha 1.0_alpha1 1.0_beta 1.0_pre 1.0_rc 1.0_rc2 1.0 1.0-r0 1.0-r1 1.0-r10",
        "1.0-r9 1.0_cvs 1.0_svn 1.0_git20200101 1.0_hg 1.0_p 1.0_p1 1.0a 1.0b 1.0.0 1.1 1.10",
        "1.00 1.0 1.05 1.1",
    ],
    "pep440": [
        "1.0.dev1 1.0a1.dev1 1.0a1 1.0b2 1.0rc1=1.0c1=1.0.RC-1 1.0=1=v1.0.0 1.0+local 1.0+1",
        "1.0 1.0.post1.dev1 1.0.post1=1.0-1 1!0.1",
        "2015.4.28=2015.04.28",
    ],
    "semver": [
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0",
        "1.0.0=v1.0.0=1.0.0+build 1.0.1 1.10.0",
    ],
    "nuget": ["1.0.0-Alpha=1.0.0-alpha 1.0.0-beta 1.0=1.0.0.0 1.0.0.1 1.0.1"],
    "maven": [
        "1-alpha2=1a2 1-beta-1=1b1 1-milestone 1-rc=1-cr 1-SNAPSHOT 1=1.0=1-ga=1.final=1.0.0-RELEASE 1-sp 1-foo 1-1 1.1",
        "1.0.0.M2 1.0.0.RC1 1-RC2 1.0.0.Final",
        "2.0-alpha 2.0 2.0.1-jre 2.0.1.1 2.9.10 2.10 2.10.0.Final1",
        "31.1-android 31.1-jre",
    ],
    "gem": ["1.a 1.0.0.b2 1.0.0.b10 1.0.0-1 1=1.0=1.0.0 1.0.1 1.10"],
    "composer": ["1.0-dev 1.0-alpha 1.0.0alpha2 1.0b1=1.0.0-beta1 1.0-RC1 1.0=v1.0.0.0 1.0-patch1=1.0pl1 1.0.1"],
}


@pytest.mark.parametrize("order", ASCENDING)
def test_examples(order: str) -> None:
    for line in ASCENDING[order]:
        steps = [step.split("=") for step in line.split(" ")]
        for at, same in enumerate(steps):
            for each in same:
                assert versions.compare(order, same[0], each) == 0, (same[0], each)
                for later in steps[at + 1 :]:
                    assert versions.compare(order, each, later[0]) == -1, (each, later[0])
                    assert versions.compare(order, later[0], each) == 1, (later[0], each)


def texts(order: str) -> st.SearchStrategy[str]:
    if order == "pep440":
        return st.from_regex(versions._PEP440, fullmatch=True).filter(
            lambda text: text.isascii() and text == text.strip()
        )
    by_pattern = {
        "semver": versions._SEMVER, "nuget": versions._SEMVER, "gem": versions._GEM, "composer": versions._COMPOSER,
    }  # fmt: skip
    if order in by_pattern:
        return st.from_regex(by_pattern[order], fullmatch=True).filter(lambda text: text.isascii())
    start = st.sampled_from(["0", "1", "2:1", "1.0"]) if order in ("apk", "maven") else st.just("")
    pieces = st.sampled_from(list("019.~^+-_:aZ\u00e9") + ["00", "_rc", "_p", "_git", "-r1", ".0"])
    return st.builds(lambda head, tail: head + "".join(tail), start, st.lists(pieces, max_size=8))


@pytest.mark.parametrize("order", versions.ORDERS)
def test_is_an_order(order: str) -> None:
    @given(texts(order), texts(order), texts(order))
    def check(one: str, two: str, three: str) -> None:
        assert versions.compare(order, one, one) == 0
        assert versions.compare(order, one, two) == -versions.compare(order, two, one)
        low, middle, high = sorted((one, two, three), key=lambda text: versions.key(order, text))
        assert versions.compare(order, low, middle) <= 0 and versions.compare(order, middle, high) <= 0
        assert versions.compare(order, low, high) <= 0

    check()


@given(st.sampled_from(sorted(versions.ORDERS)), st.text(max_size=40))
def test_whatever_comes_is_placed_or_refused(order: str, text: str) -> None:
    try:
        versions.key(order, text)
    except InvalidInput:
        pass


@pytest.mark.parametrize("order", versions.ORDERS)
def test_a_version_without_end_is_refused(order: str) -> None:
    with pytest.raises(InvalidInput):
        versions.key(order, "9" * 100_000)
    versions.key(order, "9" * 1000)


@pytest.mark.parametrize(
    ("order", "text"), [("apk", "edge"), ("pep440", "2004d-x"), ("semver", "latest"), ("semver", "1.x")]
)
def test_no_versions(order: str, text: str) -> None:
    with pytest.raises(InvalidInput):
        versions.key(order, text)
