"""Matching: which advisories mean which packages, what is the same vulnerability, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from advisories import affected, fixed, image, record
from underlay.base.advisories import Advisories, vulnerabilities
from underlay.base.advisories.osv import Affected
from underlay.packages import versions
from underlay.packages.model import Package


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Advisories]:
    with Advisories(str(tmp_path / "advisories")) as found:
        yield found


def rows(report: vulnerabilities.VulnerabilityReport) -> list[tuple[str, str, str, str]]:
    return sorted((each.id, each.name, each.version, each.fixed) for each in report.findings)


PERL = Package("deb", "perl-base", "5.20-1", "amd64", "perl", "5.20-1")


def test_by_source_and_release(store: Advisories) -> None:
    store.add(
        [
            record("DSA-1", fixed("Debian:8", "perl", "5.20-2"), upstream=["CVE-2018-0001"]),
            record("DSA-2", fixed("Debian:8", "perl", "5.20-1")),
            record("DSA-3", fixed("Debian:9", "perl", "9")),
            record("DSA-4", fixed("Debian:8", "perl-base", "9")),
        ]
    )
    report = vulnerabilities.match(image("debian", "8", PERL), store)
    assert rows(report) == [("CVE-2018-0001", "perl", "5.20-1", "5.20-2")]
    assert report.gaps == [] and report.checked == {"deb": 1}
    assert [package.name for package in report.findings[0].packages] == ["perl-base"]


@pytest.mark.parametrize(
    ("distribution", "version", "ecosystem", "package", "name"),
    [
        ("ubuntu", "22.04", "Ubuntu:22.04:LTS", Package("deb", "b", "1", "", "s"), "s"),
        ("ubuntu", "23.10", "Ubuntu:23.10", Package("deb", "b", "1", "", "s"), "s"),
        ("alpine", "3.5.2", "Alpine:v3.5", Package("apk", "b", "1-r0", "", "s"), "s"),
        ("alpine", "3.21_alpha20240923", "Alpine:v3.21", Package("apk", "b", "1-r0", "", "s"), "s"),
        ("wolfi", "20230201", "Wolfi", Package("apk", "b", "1-r0", "", "s"), "b"),
        ("almalinux", "9.4", "AlmaLinux:9", Package("rpm", "b", "1:1-1.el9", "", "s"), "b"),
        ("rocky", "9.3", "Rocky Linux:9", Package("rpm", "b", "1-1.el9", "", "s"), "s"),
        ("rhel", "8.9", "Red Hat:enterprise_linux:8::baseos", Package("rpm", "b", "1-1", "", "s"), "b"),
        ("sles", "15.5", "SUSE:Linux Enterprise Server 15 SP5", Package("rpm", "b", "1-1", "", "s"), "s"),
        ("opensuse-leap", "15.6", "openSUSE:Leap 15.6", Package("rpm", "b", "1-1", "", "s"), "s"),
        ("debian", "12", "PyPI", Package("pypi", "b-b", "1.0", path="x"), "B_b"),
        ("debian", "12", "npm", Package("npm", "@a/b", "1.0.0", path="x"), "@a/b"),
    ],
)
def test_ecosystems(
    store: Advisories, distribution: str, version: str, ecosystem: str, package: Package, name: str
) -> None:
    store.add([record("X-1", fixed(ecosystem, name, "2:2")), record("X-2", fixed(ecosystem, name, "2.0.0"))])
    report = vulnerabilities.match(image(distribution, version, package), store)
    assert report.findings, report.gaps
    other = Package(package.kind, "other", package.version, "", "other")
    assert vulnerabilities.match(image(distribution, version, other), store).findings == []


def test_one_finding_of_several_streams_and_names(store: Advisories) -> None:
    store.add(
        [
            record(
                "RHSA-1",
                *(fixed(f"Red Hat:enterprise_linux:9::{part}", "b", "2-1") for part in ("baseos", "appstream")),
            ),
            record("CGA-1", fixed("Wolfi", "s", "2-r0"), fixed("Wolfi", "b", "2-r0")),
        ]
    )
    for distribution, version, kind in (("rhel", "9.4", "rpm"), ("wolfi", "1", "apk")):
        packages = [Package(kind, name, "1-1" if kind == "rpm" else "1-r0", "", "s") for name in ("b", "c")]
        report = vulnerabilities.match(image(distribution, version, *packages), store)
        assert len(report.findings) == 1, distribution


def test_what_is_not_asked(store: Advisories) -> None:
    store.add(
        [
            record("PRO", fixed("Ubuntu:Pro:16.04:LTS", "s", "9")),
            record("BARE", fixed("Alpine", "s", "9"), fixed("Debian", "s", "9")),
            record(
                "V", fixed("Alpine:3.5", "s", "9"), fixed("Ubuntu:16.04:LTS", "t", "9"), fixed("Debian:8", "t", "9")
            ),
        ]
    )
    for distribution, version, kind in (("ubuntu", "16.04", "deb"), ("alpine", "3.5.2", "apk"), ("debian", "8", "deb")):
        assert vulnerabilities.match(image(distribution, version, Package(kind, "s", "1")), store).findings == []


def test_gaps_are_told(store: Advisories) -> None:
    store.add([record("DSA-1", fixed("Debian:8", "perl", "9"))])

    def gap(distribution: str, version: str, *packages: Package) -> str:
        report = vulnerabilities.match(image(distribution, version, *packages), store)
        assert report.findings == [] and report.checked == {}
        return "; ".join(report.gaps)

    assert "rpm packages of fedora 40: 1 not checked" in gap("fedora", "40", Package("rpm", "x", "1-1"))
    assert "deb packages of debian: 1 not checked" in gap("debian", "", PERL)
    assert "rpm packages of debian 8: 1 not checked" in gap("debian", "8", Package("rpm", "perl", "1-1"))
    assert "do not cover Debian:13" in gap("debian", "13", PERL)
    assert "no advisories of Alpine in the store" in gap("alpine", "3.20.1", Package("apk", "x", "1-r0"))


def test_packages_of_the_system_are_left_to_it(store: Advisories) -> None:
    store.add([record("PYSEC-1", fixed("PyPI", "six", "2"))])
    mine, its = Package("pypi", "six", "1", path="a"), Package("pypi", "six", "1", path="b", owner="deb:python3-six")
    report = vulnerabilities.match(image("debian", "12", mine, its), store)
    assert [each.path for each in report.findings[0].packages] == ["a"]


@pytest.mark.parametrize(
    ("events", "hits", "misses", "fix"),
    [
        ("i:0 f:2", "0 1.9", "2 3", "2"),
        ("i:0", "0 99", "", ""),
        ("i:1 l:2", "1 1.5 2", "0.9 2.0.1", ""),
        ("i:1 f:2 i:3 f:4", "1 3.5", "0 2 2.5 4", None),
        ("i:3 f:4 i:1 f:2", "1 3.5", "0 2 2.5 4", None),
        ("f:2 i:0", "1", "2", "2"),
        ("i:2 f:2", "", "1 2 3", ""),
        ("i:0 m:2", "1", "2 3", ""),
        ("i:0 m:*", "1 9", "", ""),
        ("i:1.0a1 f:1.0", "1.0a1 1.0rc1", "1.0", "1.0"),
    ],
)
def test_ranges(events: str, hits: str, misses: str, fix: str | None) -> None:
    pairs = [(word[0], word[2:]) for word in events.split()]
    part = Affected([pairs], [])
    for version in hits.split():
        found = vulnerabilities.vulnerable(part, "pep440", version, versions.key("pep440", version))
        assert found is not None and (fix is None or found == fix), version
    for version in misses.split():
        assert vulnerabilities.vulnerable(part, "pep440", version, versions.key("pep440", version)) is None, version


def test_the_nearest_fix_of_the_branch() -> None:
    part = Affected([[("i", "0"), ("f", "1.5"), ("i", "2"), ("f", "2.5")]], [])
    key = versions.key("pep440", "1.0")
    assert vulnerabilities.vulnerable(part, "pep440", "1.0", key) == "1.5"
    assert vulnerabilities.vulnerable(part, "pep440", "2.1", versions.key("pep440", "2.1")) == "2.5"


def test_listed_versions_and_versions_that_are_none() -> None:
    part = Affected([[("i", "what"), ("f", "ever?")]], ["1.0"])
    assert vulnerabilities.vulnerable(part, "pep440", "1.0", versions.key("pep440", "1.0")) == ""
    assert vulnerabilities.vulnerable(part, "pep440", "1.1", versions.key("pep440", "1.1")) is None


def test_installed_versions_that_are_none(store: Advisories) -> None:
    store.add([record("PYSEC-1", fixed("PyPI", "six", "2"))])
    report = vulnerabilities.match(image("debian", "12", Package("pypi", "six", "unknown", path="a")), store)
    assert report.findings == [] and report.gaps == ["1 versions of PyPI packages cannot be compared"]


def test_the_same_under_several_names(store: Advisories) -> None:
    vector = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
    store.add(
        [
            record("PYSEC-1", fixed("PyPI", "six", "2.0"), aliases=["CVE-2020-0001", "GHSA-a"]),
            record("GHSA-a", fixed("PyPI", "six", "2.1"), aliases=["CVE-2020-0001"], severity=vector),
            record("PYSEC-2", fixed("PyPI", "six", "2"), aliases=["GHSA-b"]),
            record("GHSA-b", fixed("PyPI", "six", "2")),
            record("DEBIAN-CVE-2021-0001", affected("Debian:12", "s", {"introduced": "0"}), upstream=["CVE-2021-0001"]),
            record("DEBIAN-CVE-2021-0002", fixed("Debian:12", "s", "2"), upstream=["CVE-2021-0002"]),
            record("DSA-1", fixed("Debian:12", "s", "2"), upstream=["CVE-2021-0001", "CVE-2021-0002"]),
            record("DSA-2", fixed("Debian:12", "s", "3"), upstream=["CVE-2021-0002", "CVE-2021-0003"]),
        ]
    )
    packages = (Package("pypi", "six", "1.0", path="x"), Package("deb", "b", "1", "", "s"))
    report = vulnerabilities.match(image("debian", "12", *packages), store)
    found = {each.id: each for each in report.findings}
    assert sorted(found) == ["CVE-2020-0001", "CVE-2021-0001", "CVE-2021-0002", "DSA-2", "GHSA-b"]
    both = found["CVE-2020-0001"]
    assert [notice.id for notice in both.notices] == ["GHSA-a", "PYSEC-1"]
    assert (both.fixed, both.label, both.score) == ("2.1", "critical", 9.8) and report.findings[0] is both
    assert [notice.id for notice in found["CVE-2021-0002"].notices] == ["DEBIAN-CVE-2021-0002", "DSA-1"]
    assert found["DSA-2"].cves == ["CVE-2021-0002", "CVE-2021-0003"]
    assert [each[0] for each in report.notices()] == sorted(
        ["GHSA-a", "PYSEC-1", "PYSEC-2", "GHSA-b", "DEBIAN-CVE-2021-0001", "DEBIAN-CVE-2021-0002", "DSA-1", "DSA-2"]
    )


def test_whose_it_is_and_what_a_newer_base_mends(store: Advisories) -> None:
    store.add(
        [
            record("DSA-1", fixed("Debian:12", "openssl", "3.0-2"), upstream=["CVE-2024-0001"]),
            record(
                "DSA-2", fixed("Debian:12", "zlib", "9"), fixed("Debian:13", "zlib", "9"), upstream=["CVE-2024-0002"]
            ),
            record("DSA-3", fixed("Debian:12", "curl", "9"), upstream=["CVE-2024-0003"]),
            record("DSA-4", fixed("Debian:12", "bash", "9"), upstream=["CVE-2024-0004"]),
        ]
    )
    openssl = Package("deb", "libssl3", "3.0-1", "amd64", "openssl", "3.0-1")
    zlib = Package("deb", "zlib1g", "1.3-1", "amd64", "zlib", "1.3-1")
    bash_before, bash = Package("deb", "bash", "5.1", "amd64"), Package("deb", "bash", "5.2", "amd64")
    curl = Package("deb", "curl", "8.0", "amd64")
    report = vulnerabilities.match(image("debian", "12", openssl, zlib, bash, curl), store)
    vulnerabilities.attribute(report.findings, [openssl, zlib, bash_before])
    assert {each.name: each.origin for each in report.findings} == {
        "openssl": "base", "zlib": "base", "curl": "yours", "bash": "yours",
    }  # fmt: skip
    newer = image(
        "debian",
        "13",
        Package("deb", "libssl3t64", "3.5-1", "", "openssl"),
        Package("deb", "zlib1g", "1.3-1", "", "zlib"),
    )
    vulnerabilities.compare_newer(report.findings, vulnerabilities.match(newer, store))
    assert {each.name: each.newer_fixes for each in report.findings} == {
        "openssl": True, "zlib": False, "curl": None, "bash": None,
    }  # fmt: skip
    # Of a base that nobody can judge nothing is said.
    unknown = image("debian", "14", Package("deb", "libssl3t64", "3.5-1", "", "openssl"))
    vulnerabilities.compare_newer(report.findings, vulnerabilities.match(unknown, store))
    assert {each.newer_fixes for each in report.findings} == {None}
    vulnerabilities.compare_newer(report.findings, vulnerabilities.match(image("scratch", ""), store))
    assert {each.name: each.newer_fixes for each in report.findings}["zlib"] is True


@pytest.mark.parametrize(
    ("package", "ecosystem", "name", "mended"),
    [
        (Package("golang", "golang.org/x/net", "v0.17.0", path="a"), "Go", "golang.org/x/net", "0.17.1"),
        (Package("golang", "stdlib", "1.22.1", path="a"), "Go", "stdlib", "1.22.2"),
        (Package("cargo", "serde", "1.0.1", path="a"), "crates.io", "serde", "1.0.2"),
        (Package("maven", "org.x:y", "1.0.Final", path="a"), "Maven", "org.x:y", "1.1.0.Final"),
        (Package("gem", "rack", "2.2.3", path="a"), "RubyGems", "rack", "2.2.10"),
        (Package("composer", "a/b", "v1.9.0", path="a"), "Packagist", "A/b", "1.10"),
        (Package("nuget", "Newtonsoft.Json", "12.0.1", path="a"), "NuGet", "newtonsoft.json", "13.0.1"),
    ],
)
def test_packages_of_languages(store: Advisories, package: Package, ecosystem: str, name: str, mended: str) -> None:
    store.add([record("X-1", fixed(ecosystem, name, mended)), record("X-2", fixed(ecosystem, name, "0.0.1"))])
    report = vulnerabilities.match(image("", "", package), store)
    assert [(finding.id, finding.fixed) for finding in report.findings] == [("X-1", mended)]
    assert report.checked == {package.kind: 1} and not report.gaps


def test_packages_that_no_advisory_can_name(store: Advisories) -> None:
    store.add([record("X-1", fixed("Maven", "y", "2"))])
    packages = [Package("maven", "y", "1", path="a"), Package("conda", "y", "1", path="b")]
    report = vulnerabilities.match(image("debian", "12", *packages), store)
    assert report.findings == [] and len(report.gaps) == 2
    assert "1 Java archives do not say of which group" in report.gaps[0] and "conda" in report.gaps[1]
