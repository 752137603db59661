"""The orders of versions: dpkg, rpm, apk, Python (PEP 440), npm, Go and Rust (SemVer 2.0.0), NuGet, Maven, RubyGems,
Composer.

Each order is a function from a version to a key; keys of one order compare as its versions do, so that a sort or a
search needs no comparison function. Sources: deb-version(7); rpm-version(7) and rpm's own description of `~` and `^`;
apk-package(5) and Gentoo's PMS, from which apk has its suffixes; PEP 440; semver.org, clause 11;
Maven's POM reference, "Version Order Specification";
RubyGems' guides and Gem::Version; Composer's documentation of versions and stabilities.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import InvalidInput
from ..human import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Key = tuple[Any, ...]

# Longer is no version; and what is shorter stays below the digits that int() takes from a text.
_LONGEST = 1024


@lru_cache(maxsize=1 << 14)
def key(order: str, version: str) -> Key:
    """Return the key of `version` in `order` (a name in ORDERS); raises InvalidInput when that order cannot place it."""
    if len(version) > _LONGEST:
        raise InvalidInput(f"not a version: {len(version)} characters")
    return ORDERS[order](version.strip())


def compare(order: str, left: str, right: str) -> int:
    """Return -1, 0 or 1 as `left` is older than, the same as, or newer than `right`; raises InvalidInput."""
    one, other = key(order, left), key(order, right)
    return (one > other) - (one < other)


def _epoch(version: str) -> tuple[int, str]:
    """Return the number before the first colon, 0 without one, and the rest."""
    head, colon, rest = version.partition(":")
    if not colon:
        return 0, version
    if whole(head) >= 0:
        return whole(head), rest
    return 0, version


# dpkg

_PAIR = re.compile(r"([^0-9]*)([0-9]*)")


def _dpkg(version: str) -> Key:
    epoch, rest = _epoch(version)
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, _dpkg_part(upstream if dash else rest), _dpkg_part(revision if dash else ""))


def _dpkg_part(text: str) -> Key:
    """Alternating texts and numbers. A text ends with 0: `~` is less than that, letters are more, the others most."""
    parts: list[Any] = []
    at = 0
    while at < len(text) or not parts:
        match = _PAIR.match(text, at)
        assert match is not None
        parts += (_dpkg_text(match[1]), int(match[2] or "0"))
        at = match.end()
    return (*parts, (0,))


def _dpkg_text(text: str) -> Key:
    return (*(-1 if c == "~" else ord(c) if c.isascii() and c.isalpha() else ord(c) + 256 for c in text), 0)


# rpm

_SEGMENT = re.compile(r"([0-9]+)|([A-Za-z]+)|([~^])")


def _rpm(version: str) -> Key:
    epoch, rest = _epoch(version)
    number, dash, release = rest.partition("-")
    return (epoch, _rpm_part(number), _rpm_part(release) if dash else ())


def _rpm_part(text: str) -> Key:
    """Segments: `~` is less than the end, `^` more, words are more than that, numbers most. All else only separates."""
    segments: list[Key] = []
    for digits, letters, mark in _SEGMENT.findall(text):
        segments.append((4, int(digits)) if digits else (3, letters) if letters else (0,) if mark == "~" else (2,))
    return (*segments, (1,))


# apk

_APK_SUFFIXES = ("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p")
_APK_FINAL = _APK_SUFFIXES.index("")
_APK_TOKEN = re.compile(
    r"(?P<number>\.[0-9]+)|(?P<letter>[a-z](?![a-z]))|_(?P<suffix>alpha|beta|pre|rc|cvs|svn|git|hg|p)(?P<count>[0-9]*)"
    r"|~(?P<hash>[0-9a-f]+)|-r(?P<revision>[0-9]+)$"
)


def _apk(version: str) -> Key:
    """Tokens of a kind each. A kind that may come earlier in a version is newer than one that may come only later."""
    first = re.match(r"[0-9]+", version)
    if first is None:
        raise InvalidInput(f"not a version of apk: {version!r:.80}")
    tokens: list[Key] = [(7, int(first[0]))]
    at = first.end()
    while at < len(version):
        match = _APK_TOKEN.match(version, at)
        if match is None:
            tokens.append((1, version[at:]))  # apk stops reading: less than an end there
            return tuple(tokens)
        at = match.end()
        if match["number"]:
            digits = match["number"][1:]
            # As apk 2 has it: zeros in front are a token of their own, the less the more they are.
            rest = digits.lstrip("0")
            if rest == digits:
                tokens.append((7, int(digits)))
            else:
                tokens.append((7, len(rest) - len(digits)))
                if rest:
                    tokens.append((8, int(rest)))
        elif match["letter"]:
            tokens.append((6, match["letter"]))
        elif match["suffix"]:
            rank = _APK_SUFFIXES.index(match["suffix"])
            tokens.append((0, rank) if rank < _APK_FINAL else (5, rank))
            if match["count"]:
                tokens.append((4.5, int(match["count"])))
        elif match["hash"]:
            tokens.append((4, match["hash"]))
        else:
            tokens.append((3, int(match["revision"])))
    return (*tokens, (2,))


# Python

_PEP440 = re.compile(
    r"v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>[0-9]*))?"
    r"(?P<post>-(?P<post_short>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>[0-9]*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_number>[0-9]*))?(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
    re.ASCII | re.IGNORECASE,
)
_LEAST, _MOST = (-1,), (2,)


def _pep440(version: str) -> Key:
    match = _PEP440.fullmatch(version)
    if match is None:
        raise InvalidInput(f"not a version of a Python package: {version!r:.80}")
    release = [int(part) for part in match["release"].split(".")]
    while len(release) > 1 and not release[-1]:
        release.pop()
    dev = (int(match["dev_number"] or 0),) if match["dev"] else None
    if match["pre"]:
        letter = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}.get(match["pre"].lower())
        pre: Key = (0, letter or match["pre"].lower(), int(match["pre_number"] or 0))
    else:
        # 1.0.dev1 comes before 1.0a1; 1.0 after all of its own before.
        pre = _LEAST if dev is not None and not match["post"] else _MOST
    post = (0, int(match["post_short"] or match["post_number"] or 0)) if match["post"] else _LEAST
    local: Key = _LEAST
    if match["local"]:
        words = re.split(r"[-_.]", match["local"].lower())
        local = (0, tuple((1, int(word)) if word.isdigit() else (0, word) for word in words))
    return (int(match["epoch"] or 0), tuple(release), pre, post, (0, *dev) if dev is not None else _MOST, local)


# npm

_SEMVER = re.compile(
    r"[v=\s]*([0-9]+(?:\.[0-9]+){0,3})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]*)?", re.ASCII
)


def _semver(version: str) -> Key:
    match = _SEMVER.fullmatch(version)
    if match is None:
        raise InvalidInput(f"not a semantic version: {version!r:.80}")
    numbers = [int(part) for part in match[1].split(".")]
    numbers += [0] * (4 - len(numbers))
    if match[2] is None:
        return (*numbers, (1,))
    words = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in match[2].split("."))
    return (*numbers, (0, words))


def _nuget(version: str) -> Key:
    return _semver(version.lower())  # as SemVer, with up to four numbers, and words compared without their case


# Maven

_MAVEN_TOKEN = re.compile(r"([.-]?)([0-9]+|[^0-9.-]+|(?=[.-]|$))")
_MAVEN_WORDS = {"alpha": 0, "beta": 1, "milestone": 2, "rc": 3, "cr": 3, "snapshot": 4, "sp": 6}
_MAVEN_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}
_MAVEN_NOTHING = ("", "final", "ga", "release")
_MAVEN_END = (0, 5, "")


def _maven(version: str) -> Key:
    """Tokens: words below -number below .number; the end stands among the words, after SNAPSHOT and before SP."""
    text = version.lower().replace("_", "-")
    if not text or any(c.isspace() for c in text):
        raise InvalidInput(f"not a version of Maven: {version!r:.80}")
    tokens: list[tuple[str, str]] = []  # separator, text
    at = 0
    while at < len(text):
        match = _MAVEN_TOKEN.match(text, at)
        assert match is not None
        separator, word = match[1], match[2]
        at = match.end()
        # Where digits and letters meet, a hyphen is thought of; before a word a dot counts as one.
        hyphen = tokens and (not separator or not word[:1].isdigit())
        tokens.append(("-" if hyphen else separator or ".", word))
        if word in _MAVEN_SHORT and text[at : at + 1].isdigit():
            tokens[-1] = (tokens[-1][0], _MAVEN_SHORT[word])
    kept: list[tuple[str, str]] = []
    for separator, word in [*tokens, ("-", "")]:
        if separator == "-":
            # What says nothing is dropped before a hyphen, and at the end.
            while kept and (kept[-1][1] in _MAVEN_NOTHING or not kept[-1][1].strip("0")):
                kept.pop()
        kept.append((separator, word))
    key: list[Any] = []
    for separator, word in kept[:-1]:
        if not word or (word.isascii() and word.isdigit()):
            key.append((1 if separator == "-" else 2, int(word or "0")))
        elif word in _MAVEN_NOTHING:
            key.append(_MAVEN_END)
        else:
            rank = _MAVEN_WORDS.get(word, 7)
            key.append((0, rank, word if rank == 7 else ""))
    return (*key, _MAVEN_END)


# RubyGems

_GEM = re.compile(r"[0-9]+(?:\.[0-9A-Za-z]+)*(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?", re.ASCII)


def _gem(version: str) -> Key:
    """Segments: words below numbers. The end counts as zeros for ever, so zeros before it, and those between the numbers
    and the first word, say nothing; zeros before a later word make it less than the end by less."""
    if not _GEM.fullmatch(version):
        raise InvalidInput(f"not a version of a gem: {version!r:.80}")
    kept: list[Key] = []
    zeros = 0
    words = 0
    for segment in re.findall(r"[0-9]+|[A-Za-z]+", version.replace("-", ".pre.")):
        if segment.isdigit():
            zeros += not int(segment)
            if int(segment):
                kept += [(1, 0)] * zeros + [(1, int(segment))]
                zeros = 0
            continue
        if zeros and words:
            kept.append((0.5, zeros))
        kept.append((0, segment))
        words += 1
        zeros = 0
    return (*kept, (1, 0))


# Composer

_COMPOSER = re.compile(
    r"v?([0-9]+(?:\.[0-9]+){0,3})(?:[._-]?(stable|alpha|a|beta|b|rc|patch|pl|p)((?:[.-]?[0-9]+)*))?([.-]?dev)?(?:\+\S*)?",
    re.ASCII | re.IGNORECASE,
)
_STABILITIES = {"alpha": 1, "a": 1, "beta": 2, "b": 2, "rc": 3, "stable": 4, "": 4, "patch": 5, "pl": 5, "p": 5}


def _composer(version: str) -> Key:
    match = _COMPOSER.fullmatch(version)
    if match is None:
        raise InvalidInput(f"not a version of a PHP package: {version!r:.80}")
    numbers = [int(part) for part in match[1].split(".")]
    numbers += [0] * (4 - len(numbers))
    counted = tuple(int(part) for part in re.findall(r"[0-9]+", match[3] or ""))
    word = (match[2] or "").lower()
    # 1.0-dev comes before 1.0-alpha.
    rank = 0 if match[4] and not word else _STABILITIES[word]
    return (*numbers, rank, counted, 0 if match[4] else 1)


ORDERS: dict[str, Callable[[str], Key]] = {
    "dpkg": _dpkg,
    "rpm": _rpm,
    "apk": _apk,
    "pep440": _pep440,
    "semver": _semver,
    "nuget": _nuget,
    "maven": _maven,
    "gem": _gem,
    "composer": _composer,
}
