"""Expansion of words: quotes, escapes, variables and their modifiers."""

from __future__ import annotations

import pytest

from underlay.dockerfile.problems import DockerfileError
from underlay.dockerfile.words import expand, process, split

VALUES = {"A": "foo.tar.gz", "E": "", "W": "a b", "B": "foobarbaz", "P": "a*b?c", "S": "a/b/a"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A", "foo.tar.gz"),
        ("${A}x", "foo.tar.gzx"),
        ("$A$N$E.", "foo.tar.gz."),
        ("$Ax-$E-${E}", "--"),
        ("$", "$"),
        ("$ $.", "$ $."),
        ("$1x$12x", "xx"),
        ("a\\$A", "a$A"),
        ("a\\\\b\\", "a\\b"),
        ("'$A\\'", "$A\\"),
        ('"$A \\$A \\" \\\\ \\n"', 'foo.tar.gz $A " \\ \\n'),
        ("\"'\"'\"'", "'\""),
        ("${N:-x}${N-y}", "xy"),
        ("${E:-x}${E-y}", "x"),
        ("${A:-x}", "foo.tar.gz"),
        ("${N:+x}${N+y}${E:+z}${E+w}${A:+v}", "wv"),
        ("${N:-${A}}", "foo.tar.gz"),
        ("${N:-'} '}", "} "),
        ("${N:-\\}}", "}"),
        ("${A:?no}${E?no}", "foo.tar.gz"),
        ("${A#*.}", "tar.gz"),
        ("${A##*.}", "gz"),
        ("${A%.*}", "foo.tar"),
        ("${A%%.*}", "foo"),
        ("${B#f*b}", "arbaz"),
        ("${B##f*b}", "az"),
        ("${B%b*}", "foobar"),
        ("${B%%b*}", "foo"),
        ("${B#?}", "oobarbaz"),
        ("${B%?}", "foobarba"),
        ("${B#x}${N#x}", "foobarbaz"),
        ("${P#a\\*}", "b?c"),
        ("${P%\\?c}", "a*b"),
        ("${B/ba/fo}", "fooforbaz"),
        ("${B//ba/fo}", "fooforfoz"),
        ("${B/o*a/-}", "f-z"),
        ("${B//?/-}", "---------"),
        ("${S//\\//-}", "a-b-a"),
        ("${S/b/}", "a//a"),
        ("${B/x/y}", "foobarbaz"),
        ("${N/x/y}", ""),
        ("${B/$E/y}", "yfoobarbaz"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, VALUES.get) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${", "missing '}'"),
        ("${A", "missing '}'"),
        ("${}", "bad substitution"),
        ("${{A}}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${A:x}", r"unsupported modifier \(:x\)"),
        ("${A!}", r"unsupported modifier \(!\)"),
        ("${A:-x", "missing '}'"),
        ("${A:-'x}", "missing '}'"),
        ("${A/x}", "missing '/' in"),
        ("${A/x/y", "missing '}'"),
        ("${A#\\x}", "invalid escape"),
        ("'a", "single-quote"),
        ('"a', "double-quote"),
        ('"a\\', "double-quote"),
        ("${N?}", "N: is not allowed to be unset"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${N:?give it}", "N: give it"),
        ("${A:-" * 200, "nested more than"),
    ],
)
def test_what_cannot_be_expanded(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError, match=problem):
        expand(text, VALUES.get)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("$W x", ["a", "b", "x"]),
        ('"$W" x', ["a b", "x"]),
        ("a\\ b c", ["a b", "c"]),
        ("x$W'y z'", ["xa", "by z"]),
        ("'' \"\" a", ["a"]),
        ("$E", []),
        ("  ", []),
        ("a\u00a0b", ["a", "b"]),
    ],
)
def test_split(text: str, words: list[str]) -> None:
    assert split(text, VALUES.get) == words


def test_backtick_as_escape() -> None:
    assert expand("c:\\x`$A`` $A", VALUES.get, "`") == "c:\\x$A` foo.tar.gz"


def test_names_without_a_value_are_told() -> None:
    unset: set[str] = set()
    expand("$A ${N:-$M} $E '$Q' \\$R", VALUES.get, unset=unset)
    assert unset == {"N", "M"}
    assert process("$A ${N:-$M} $E", VALUES.get).used == {"A", "E"}


def test_a_long_text_is_no_trouble() -> None:
    value = "ab" * 100_000
    assert expand("${V//b*b*b*b*c/x}", {"V": value}.get) == value
    assert len(expand("${V//b/}", {"V": value}.get)) == 100_000
