"""Bytes that nobody meant, as databases of packages and as advisories: an answer, or an error of ours."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from advisories import fixed, record
from packagedatabases import MemoryFiles, elf, inline, jar, ndb_database, rpm_header
from underlay.base.advisories import cvss, osv, vulnerabilities
from underlay.errors import UnderlayError
from underlay.packages import osrelease, rpm, sbom, sqlitefile, versions
from underlay.packages.installed import installed

BOUNDED = settings(max_examples=150, deadline=2000, suppress_health_check=list(HealthCheck))
PLACES = (
    "var/lib/dpkg/status",
    "lib/apk/db/installed",
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "var/lib/rpm/rpmdb.sqlite",
    "etc/os-release",
    "x/node_modules/y/package.json",
    "x/y.dist-info/METADATA",
    "x/y.jar",
    "x/specifications/y.gemspec",
    "x/composer/installed.json",
    "x/y.deps.json",
    "x/conda-meta/y.json",
    "x/program",
)
# What is nearly right: JSON of the wrong shapes, an archive, an executable with a section of Go.
SHAPES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["package", "a/1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "version", "packages", "libraries", "type", "a/1"]), inner, max_size=3
        )
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
JAR = jar(**{"META-INF/MANIFEST.MF": "Implementation-Version: 1\n", "a-1.jar": jar(a="b")})
GO = elf(".go.buildinfo", inline("go1.22.1", "path\ta\ndep\tb\tv1.0.0\n"))


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """An archive or an executable with a few bytes changed."""
    data = bytearray(draw(st.sampled_from([JAR, GO])))
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, min(len(data), 600) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


LINES = st.lists(
    st.sampled_from(
        ["Package: a", "Version: 1", "Status: x installed", "Source: a (", "P:a", "V:1", "", "ID=a", "Name: b"]
    ),
    max_size=12,
).map(lambda lines: "\n".join(lines).encode())


@BOUNDED
@given(
    st.dictionaries(st.sampled_from(PLACES), st.one_of(st.binary(max_size=600), LINES, SHAPES, nearly()), max_size=4)
)
def test_any_files(files: dict[str, bytes]) -> None:
    found = installed(MemoryFiles({**files}))
    for form in sbom.FORMS:
        json.dumps(sbom.bill(found, "x", "sha256:1", form, 0))


@BOUNDED
@given(st.binary(max_size=400))
@example(ndb_database([rpm_header("a", "1", "2")])[:4200])
def test_any_header_and_file(data: bytes) -> None:
    for read in (
        lambda: rpm._package(rpm.Header(data)),
        lambda: list(
            sqlitefile.SqliteFile(b"SQLite format 3\0\x10\0\1\1\0\x40\x20\x20" + data.ljust(8192), data).rows(
                "Packages"
            )
        ),
    ):
        try:
            read()
        except UnderlayError:
            pass


WORDS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2)
)
EVENTS = st.lists(
    st.dictionaries(
        st.sampled_from(["introduced", "fixed", "last_affected", "limit"]), st.sampled_from(["0", "1", "2a", "*"])
    ),
    max_size=5,
)


@BOUNDED
@given(EVENTS, st.sampled_from(["0", "1", "1.5", "2"]), st.sampled_from(["dpkg", "rpm", "apk", "pep440", "semver"]))
def test_any_events(events: list[dict[str, str]], version: str, order: str) -> None:
    part = {"package": {"ecosystem": "npm", "name": "x"}, "ranges": [{"type": "SEMVER", "events": events}]}
    for _, _, affected in osv.read(record("X", part)).affected:
        vulnerabilities.vulnerable(affected, order, version, versions.key(order, version))


@BOUNDED
@given(st.dictionaries(st.sampled_from(["id", "aliases", "severity", "affected", "summary", "withdrawn"]), WORDS))
def test_any_record(members: dict[str, object]) -> None:
    try:
        osv.read(json.dumps({**json.loads(record("X", fixed("npm", "x", "1"))), **members}).encode())
    except UnderlayError:
        pass


@BOUNDED
@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text(text: str, other: str) -> None:
    score = cvss.base_score(f"CVSS:3.1/{text}")
    assert score is None or 0 <= score <= 10
    osrelease.parse(f"{text}={other}\n{other}")
