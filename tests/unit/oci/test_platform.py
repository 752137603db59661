"""Platforms: synonyms, parsing, order of preference."""

import pytest

from underlay.errors import InvalidInput
from underlay.oci import platform
from underlay.oci.platform import normalise, parse, rank


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64/v8"),
        ("armv7l", "linux/arm/v7"),
        ("armv6l", "linux/arm/v6"),
        ("i686", "linux/386"),
        ("ppc64le", "linux/ppc64le"),
        ("s390x", "linux/s390x"),
        ("riscv64", "linux/riscv64"),
        ("loongarch64", "linux/loong64"),
    ],
)
def test_the_kernels_words_become_gos(machine, expected):
    assert str(normalise("linux", machine)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm", "linux/arm/v7"),
        ("arm64", "linux/arm64/v8"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("Linux/AMD64", "linux/amd64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_parse(text, expected):
    assert str(parse(text)) == expected


def test_an_operating_system_alone_takes_the_hosts_processor():
    assert parse("linux") == platform.host()


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/amd64/v1/x", "nonsense", "linux/a b"])
def test_nonsense_is_refused(text):
    with pytest.raises(InvalidInput):
        parse(text)


def order(wanted: str, *offered: str) -> list[str]:
    ranked = [(rank(parse(wanted), parse(each)), each) for each in offered]
    return [each for place, each in sorted((p, e) for p, e in ranked if p is not None)]


def test_the_best_comes_first():
    offered = ("linux/386", "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/amd64/v3")
    assert order("linux/amd64", *offered) == ["linux/amd64", "linux/386"]
    assert order("linux/amd64/v3", *offered) == ["linux/amd64/v3", "linux/amd64", "linux/386"]
    assert order("linux/arm64", *offered) == ["linux/arm64", "linux/arm/v7", "linux/arm/v6"]
    assert order("linux/arm/v6", *offered) == ["linux/arm/v6"]
    assert order("linux/s390x", *offered) == []
    assert rank(parse("windows/amd64"), parse("linux/amd64")) is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", []),
        ((), []),
        ([""], []),
        ("linux/amd64", ["linux/amd64"]),
        (["linux/amd64"], ["linux/amd64"]),
        ("linux/amd64,arm64", ["linux/amd64", "linux/arm64/v8"]),
        (("arm64", "linux/amd64,linux/386"), ["linux/arm64/v8", "linux/amd64", "linux/386"]),
    ],
)
def test_several_platforms(given, wanted):
    """A text is one platform or a list of them, never its letters."""
    assert [str(each) for each in platform.several(given)] == wanted


def test_all_platforms_only_where_they_may_be_meant():
    assert platform.several("all", everything=True) == [platform.ALL]
    for given in ("all", ["linux/amd64", "all"], "linux/amd64,"):
        with pytest.raises(InvalidInput):
            platform.several(given)
