"""Patterns of names in filters: what they find, as Python's own regular expressions do, and what is refused."""

from __future__ import annotations

import re
import time

import pytest

from underlay.engine.filters import networks
from underlay.engine.filters.names import fits
from underlay.errors import InvalidInput

NAMES = ("", "web", "/web-1", "web-12.db", "a/b_c", "AAAA", "aaaab", "we.b", "web_x-dev")


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            "web",
            "^web",
            "web$",
            "^/web-1$",
            "^$",
            "$",
            "^",
            ".",
            "w.b",
            "w.*b",
            "^we?b?",
            "a+b",
            "[0-9]+$",
            "[^a-z]",
        ),
        *(
            "(web|db)",
            "^(?:web|a/b)",
            "web|",
            "a{2,3}b",
            "a{4}$",
            "a{2,}b",
            "a{0}b$",
            r"web-\d+\.db",
            r"\bdb\b",
            r"\Aweb",
        ),
        *(
            "(?i)aaaa$",
            "[]a]",
            r"[\[&a]",
            "(-dev)?$",
            "(x|(y|b))$",
            r"\w-\S",
            "a*?b",
            "(?P<n>web)",
            ".*.*.*x",
            r"[\]w]",
        ),
    ],
)
def test_it_finds_what_regular_expressions_find(pattern: str) -> None:
    for name in NAMES:
        assert (name, fits(pattern, name)) == (name, re.search(pattern, name) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a+)+$", "(a|b)*", "(a)(?:b){2}", "a**", "a{2}{3}", r"(a)\1", "a" * 257, "(?=a)", "(?(1)a|b)", "a{1001}"),
        *("[", "(", ")", "*", "a|*", "a{3,2}", "[z-a]", "\\"),
    ],
)
def test_what_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="invalid filter"):
        fits(pattern, "web")


@pytest.mark.parametrize(
    "pattern", ["a?" * 100 + "a" * 50 + "$", ".*" * 127 + "x", "(a|a)" * 51, "a{0,999}" * 28 + "x"]
)
def test_it_is_fast(pattern: str) -> None:
    begin = time.monotonic()
    fits(pattern, "a" * 60 + "b")
    assert time.monotonic() - begin < 1


def test_networks_and_volumes_ask_it() -> None:
    with pytest.raises(InvalidInput):
        networks.passes({"name": ["(a+)+$"]}, "a" * 60 + "b", "0" * 64, "bridge", {}, ())
    assert networks.passes({"name": ["^br"]}, "bridge", "0" * 64, "bridge", {}, ())
    assert not networks.passes({"name": ["["]}, "bridge", "0" * 64, "bridge", {}, ())


def test_signs_in_a_class_are_themselves() -> None:
    assert fits("[[&|a]$", "x[") and fits("[[&|a]$", "x&") and not fits("[[&|a]$", "x")
