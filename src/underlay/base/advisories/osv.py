"""Advisories in OSV form (ossf.github.io/osv-schema), as far as they are needed to match packages against them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...errors import Corrupt
from . import cvss

# Families of ecosystems (what stands before the first colon) whose packages can be found in images, and the order of
# their versions. Others are left out of the store.
FAMILIES = {
    "Debian": "dpkg",
    "Ubuntu": "dpkg",
    "Alpine": "apk",
    "Wolfi": "apk",
    "Chainguard": "apk",
    "MinimOS": "apk",
    "AlmaLinux": "rpm",
    "Rocky Linux": "rpm",
    "Red Hat": "rpm",
    "SUSE": "rpm",
    "openSUSE": "rpm",
    "Mageia": "rpm",
    "Photon OS": "rpm",
    "openEuler": "rpm",
    "Azure Linux": "rpm",
    "PyPI": "pep440",
    "npm": "semver",
    "Go": "semver",
    "crates.io": "semver",
    "Maven": "maven",
    "RubyGems": "gem",
    "Packagist": "composer",
    "NuGet": "nuget",
}
_DISTRIBUTIONS = ("dpkg", "apk", "rpm")
RECORD_LIMIT = 64 << 20  # bytes of one record; the longest known list some thousand versions for dozens of releases
_SUMMARY = 240
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_EVENTS = (("introduced", "i"), ("fixed", "f"), ("last_affected", "l"), ("limit", "m"))

Events = list[tuple[str, str]]


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What an advisory says of itself. `names` are those of the same thing elsewhere, CVE numbers above all; `score` is
    the base score of CVSS, 0 when it has none; `label` is one of cvss.LABELS; times are texts as they came."""

    id: str
    names: list[str]
    summary: str
    score: float
    label: str
    published: str
    modified: str


class Affected(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Which versions of a package an advisory means: in any of `ranges`, or one of `versions`.

    The events of a range are (kind, version): `i` introduced, `f` fixed, `l` last affected, `m` limit. `label` is a
    severity for this package alone, "" for none.
    """

    ranges: list[Events]
    versions: list[str]
    label: str = ""


class Advisory:
    """A record and what it affects: (ecosystem, name, Affected) each, none when it is `withdrawn`; and the `families` of
    ecosystems that it speaks or spoke of."""

    __slots__ = ("affected", "families", "record", "withdrawn")

    def __init__(self, record: Record, affected: list[tuple[str, str, Affected]], withdrawn: bool) -> None:
        self.record = record
        self.families = {ecosystem.partition(":")[0] for ecosystem, _, _ in affected}
        self.affected = [] if withdrawn else affected
        self.withdrawn = withdrawn


class _Severity(msgspec.Struct):
    type: str = ""
    score: str = ""


class _Package(msgspec.Struct):
    ecosystem: str = ""
    name: str = ""


class _Range(msgspec.Struct):
    type: str = ""
    events: list[dict[str, str]] = []


class _Affected(msgspec.Struct):
    package: _Package | None = None
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    severity: list[_Severity] | None = None
    ecosystem_specific: Any = None
    database_specific: Any = None


class _Osv(msgspec.Struct):
    id: str
    modified: str = ""
    published: str | None = ""
    withdrawn: str | None = None
    summary: str | None = ""
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    related: list[str] | None = None
    severity: list[_Severity] | None = None
    affected: list[_Affected] | None = None
    database_specific: Any = None


_decoder = msgspec.json.Decoder(_Osv)


def read(data: bytes | memoryview) -> Advisory:
    """Return the advisory in a record (JSON); raises Corrupt when it is none."""
    try:
        raw = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Corrupt(f"not an advisory in OSV form: {error}") from None
    if not raw.id or len(raw.id) > 200:
        raise Corrupt("not an advisory in OSV form: its id is missing or too long")
    affected = []
    for affected_package in raw.affected or ():
        if affected_package.package is None or not affected_package.package.name:
            continue
        family = affected_package.package.ecosystem.partition(":")[0]
        if family in FAMILIES:
            part = _affected(affected_package, family)
            if part.ranges or part.versions:
                name = affected_package.package.name
                affected.append((affected_package.package.ecosystem, normalised(family, name), part))
    score, word = _severity(raw, any(FAMILIES[part[0].partition(":")[0]] in _DISTRIBUTIONS for part in affected))
    names = list(dict.fromkeys([*(raw.aliases or ()), *(raw.upstream or ())]))
    if not names:
        # AlmaLinux names the CVEs of an erratum as related.
        names = [name for name in raw.related or () if name.startswith("CVE-")]
    summary = (raw.summary or "").split("\n")[0]
    record = Record(raw.id, names, summary[:_SUMMARY], score, word, _time(raw.published), _time(raw.modified))
    return Advisory(record, affected, bool(raw.withdrawn))


def _time(text: str | None) -> str:
    """Return a time as RFC 3339 has it: some sources write a space and an offset of zero."""
    return (text or "").replace(" ", "T").replace("+00:00", "Z")


def normalised(family: str, name: str) -> str:
    """Return a package's name as the registry of its family compares it."""
    if family == "PyPI":
        from ...packages.languages import python

        return python.normalised(name)
    return name.lower() if family in ("NuGet", "Packagist") else name


def _affected(raw: _Affected, family: str) -> Affected:
    ranges: list[Events] = []
    for version_range in raw.ranges or ():
        if version_range.type == "GIT":
            continue
        events = [(letter, event[word]) for event in version_range.events for word, letter in _EVENTS if word in event]
        if events:
            ranges.append(events)
    versions = raw.versions or []
    if ranges and FAMILIES[family] in _DISTRIBUTIONS:
        # Distributions list what their ranges mean: thousands of versions that tell nothing new.
        versions = []
    return Affected(ranges, versions, _label(raw.ecosystem_specific, raw.database_specific, raw.severity))


def _word(ecosystem: Any, database: Any, severities: list[_Severity] | None) -> str:
    """Return the label that the source's own word stands for, "" when it says none."""
    for source in (ecosystem, database):
        if isinstance(source, dict):
            for word in ("severity", "urgency", "ubuntu_priority"):
                value = source.get(word)
                if isinstance(value, str) and (label := cvss.label(value)) != "unknown":
                    return label
    for severity in severities or ():
        if (label := cvss.label(severity.score)) != "unknown":
            return label
    return ""


def _label(ecosystem: Any, database: Any, severities: list[_Severity] | None) -> str:
    if word := _word(ecosystem, database, severities):
        return word
    for severity in severities or ():
        if (score := cvss.base_score(severity.score)) is not None:
            return cvss.rating(score)
    return ""


def _severity(raw: _Osv, distribution: bool) -> tuple[float, str]:
    """Return the highest base score, 0 without one, and its label, else that of the source's own word.

    The word of a `distribution` counts more: its tracker rates the package as it is built there.
    """
    every = list(raw.severity or ())
    for affected in raw.affected or ():
        every += affected.severity or ()
    word = _word(None, raw.database_specific, raw.severity)
    # The newest form counts; the second version's scale has no "critical".
    for kind in ("CVSS_V3", "CVSS_V2"):
        scores = [cvss.base_score(severity.score) for severity in every if severity.type == kind]
        score = max((candidate for candidate in scores if candidate is not None), default=None)
        if score is not None:
            return score, word if word and distribution else cvss.rating(score)
    if not word:
        # "Important: curl security update"
        head, colon, _ = (raw.summary or "").partition(":")
        word = cvss.label(head) if colon else "unknown"
    return 0.0, word


def cves(record: Record) -> list[str]:
    """Return the CVE numbers that a record is about: its own id and its names may hold them in a source's prefix."""
    numbers = {}
    for name in (record.id, *record.names):
        if match := _CVE.search(name):
            numbers[match[0]] = True
    return sorted(numbers)
