"""Reports of vulnerabilities for other programs, what is ignored until when, VEX in and out, lists of exploits."""

from __future__ import annotations

import datetime
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from test_base_rebase import RELEASE, packages, root
from test_base_vulns import RECORDS

from engines import Installation, needs_root

pytestmark = pytest.mark.root
CVES = {f"CVE-2026-000{number}" for number in (1, 2, 3)}


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with an image that has three vulnerabilities."""
    needs_root()
    place = tmp_path_factory.mktemp("reports")
    made = Installation(place)
    versions = {"zlib": "1.2", "openssl": "3.0.8", "glibc": "2.36-9", "curl": "7.88"}
    files = {"etc/os-release": RELEASE.format("12", 12), "var/lib/dpkg/status": packages(**versions)}
    made("import", "-", "team/app:1", input=root(files))
    (place / "osv.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    made("base", "advisories", "import", str(place / "osv.jsonl"))
    yield made
    made.clean()


def report(ul: Installation, form: str, *words: str) -> str:
    return ul.out("base", "vulns", "--format", form, *words, "team/app:1")


def found(ul: Installation, *words: str) -> set[str]:
    return {each["id"] for each in json.loads(report(ul, "json", *words))["found"]}


@pytest.fixture
def accepted(tmp_path: Path) -> Path:
    """An ignore file that accepts one of the three."""
    path = tmp_path / "ignore.toml"
    day = datetime.datetime.now(datetime.UTC).date()
    path.write_text(f'[[ignore]]\nid = "DSA-2"\npackage = "openssl"\nuntil = {day}\nreason = "no TLS <here>"\n')
    return path


def test_sarif(ul: Installation, accepted: Path) -> None:
    text = report(ul, "sarif", "--ignore-file", str(accepted))
    log = json.loads(text)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "underlay" and {rule["id"] for rule in driver["rules"]} == CVES
    assert len(driver["rules"]) == 3 == len(run["results"])
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"] and result["level"] in ("error", "warning", "note")
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] and place["logicalLocations"]
    worst = next(rule for rule in driver["rules"] if rule["id"] == "CVE-2026-0001")
    assert worst["properties"]["security-severity"] == "9.8"
    (suppressed,) = [result for result in run["results"] if "suppressions" in result]
    assert suppressed["ruleId"] == "CVE-2026-0002"
    assert "no TLS <here>" in suppressed["suppressions"][0]["justification"]
    assert all(each["executionSuccessful"] is True for each in run["invocations"])
    sarif = pytest.importorskip("sarif_pydantic", reason="the package sarif-pydantic is not installed")
    assert sarif.Sarif.model_validate_json(text).runs[0].tool.driver.name == "underlay"


def test_cyclonedx(ul: Installation, accepted: Path) -> None:
    text = report(ul, "cyclonedx", "--ignore-file", str(accepted))
    value = json.loads(text)
    assert (value["bomFormat"], value["specVersion"], value["version"]) == ("CycloneDX", "1.6", 1)
    refs = {each["bom-ref"] for each in value["components"]}
    assert {each["id"] for each in value["vulnerabilities"]} == CVES
    for each in value["vulnerabilities"]:
        assert {ref["ref"] for ref in each["affects"]} <= refs and each["ratings"]
    analysed = [each for each in value["vulnerabilities"] if "analysis" in each]
    assert [each["id"] for each in analysed] == ["CVE-2026-0002"]
    validation = pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion

    for document in (text, ul.out("base", "sbom", "team/app:1")):
        assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None


def test_openvex_out_and_in(ul: Installation, tmp_path: Path) -> None:
    value = json.loads(report(ul, "openvex"))
    assert value["@context"] == "https://openvex.dev/ns/v0.2.0" and value["version"] == 1
    assert value["@id"] and value["author"] and value["timestamp"].endswith("Z")
    assert {each["vulnerability"]["name"] for each in value["statements"]} == CVES
    for each in value["statements"]:
        assert each["status"] == "affected" and each["action_statement"]
        (product,) = each["products"]
        assert product["@id"].startswith("pkg:oci/app@sha256%3A") and product["subcomponents"]
    # Given back as it is, it changes nothing; worked on, it clears what it says.
    path = tmp_path / "vex.json"
    path.write_text(json.dumps(value))
    assert found(ul, "--vex", str(path)) == CVES
    first = next(each for each in value["statements"] if each["vulnerability"]["name"] == "CVE-2026-0001")
    first |= {"status": "not_affected", "justification": "vulnerable_code_not_present"}
    del first["action_statement"]
    path.write_text(json.dumps(value))
    assert found(ul, "--vex", str(path)) == CVES - {"CVE-2026-0001"}
    told = ul.out("base", "vulns", "--vex", str(path), "team/app:1")
    assert "ignored: CVE-2026-0001 in zlib: VEX: not_affected (vulnerable_code_not_present)" in told
    again = json.loads(report(ul, "openvex", "--vex", str(path)))
    (kept,) = [each for each in again["statements"] if each["status"] == "not_affected"]
    assert kept["justification"] == "vulnerable_code_not_present"


def test_junit(ul: Installation, accepted: Path) -> None:
    top = ElementTree.fromstring(report(ul, "junit", "--ignore-file", str(accepted)))
    assert top.tag == "testsuites"
    (suite,) = top
    assert [suite.get(name) for name in ("name", "tests", "failures", "errors", "skipped")] == [
        "team/app:1", "3", "2", "0", "1",
    ]  # fmt: skip
    cases = suite.findall("testcase")
    assert all(case.get("name") and case.get("classname") for case in cases) and len(cases) == 3
    assert [len(suite.findall(f"testcase/{word}")) for word in ("failure", "skipped")] == [2, 1]
    skipped = suite.find("testcase/skipped")
    assert skipped is not None and "no TLS <here>" in str(skipped.get("message"))
    nothing = ElementTree.fromstring(report(ul, "junit", "--from", "base"))
    assert nothing[0].get("failures") == "0" and len(nothing[0].findall("testcase")) == 1


def test_formats_and_exit_codes(ul: Installation) -> None:
    refused = ul("base", "vulns", "--format", "sarfi", "team/app:1", code=2).stderr.decode()
    assert "unknown format 'sarfi'" in refused and "sarif, cyclonedx, openvex, junit" in refused
    assert ul.out("base", "vulns", "--format", "{{len .found}}", "team/app:1") == "3"
    assert report(ul, "table") == ul.out("base", "vulns", "team/app:1")
    ul("base", "vulns", "--exit-code", "team/app:1", code=1)
    ul("base", "vulns", "--exit-code", "--from", "base", "team/app:1", code=0)
    ul("base", "vulns", "--exit-code", "nobody/nothing:1@sha256:" + "0" * 64, code=2)
    ul("base", "vulns", code=2)
    ul("base", "vulns", "--exploited", "team/app:1", code=2)


def test_an_entry_ends(ul: Installation, tmp_path: Path) -> None:
    path = tmp_path / "ignore.toml"
    entry = '[[ignore]]\nid = "CVE-2026-000{}"\nuntil = {}\nreason = "because"\n'
    path.write_text(entry.format(1, "2026-01-31") + entry.format(2, "2999-01-01") + entry.format(9, "2999-01-01"))
    assert found(ul, "--ignore-file", str(path)) == CVES - {"CVE-2026-0002"}
    told = ul.out("base", "vulns", "--ignore-file", str(path), "team/app:1")
    assert "the ignore entry for CVE-2026-0001 ended on 2026-01-31 (because)" in told
    assert "the ignore entry for CVE-2026-0009 matches nothing" in told
    assert "ignored: CVE-2026-0002 in openssl: ignored until 2999-01-01: because" in told
    ul("base", "vulns", "--exit-code", "--ignore-file", str(path), "team/app:1", code=1)
    for broken, word in (
        ('[[ignore]]\nid = "CVE-2026-0001"\nreason = "x"\n', "until"),
        ('[[ignore]]\nid = "CVE-2026-0001"\nuntil = 2999-01-01\n', "reason"),
        ('[[ignore]]\nid = "CVE-2026-0001"\nuntil = 2999-01-01\nreason = " "\n', "reason"),
        ("[[ignore]]\nid = 3\n", "id"),
        ("[[ignore", "TOML"),
        ('[[ignore]]\nid = "x"\nuntil = 2999-01-01\nreason = "y"\nuntill = 1\n', "untill"),
    ):
        path.write_text(broken)
        refused = ul("base", "vulns", "--ignore-file", str(path), "team/app:1", code=2).stderr.decode()
        assert str(path) in refused and "Traceback" not in refused, (broken, word)
    ul("base", "vulns", "--ignore-file", str(tmp_path / "none"), "team/app:1", code=2)


def statement(**changes: Any) -> dict[str, Any]:
    return {
        "vulnerability": {"name": "CVE-2026-0001"},
        "products": [{"@id": "pkg:oci/app?repository_url=docker.io/team/app&tag=1"}],
        "status": "not_affected",
        "justification": "component_not_present",
        **changes,
    }


def vex(path: Path, *statements: dict[str, Any]) -> str:
    head = {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "x", "timestamp": "2026-01-01T00:00:00Z"}
    path.write_text(json.dumps({**head, "version": 1, "statements": statements}))
    return str(path)


@pytest.mark.parametrize(
    ("changes", "clears"),
    [
        ({}, True),
        ({"vulnerability": "DSA-1"}, True),
        ({"vulnerability": {"name": "x", "aliases": ["CVE-2026-0001"]}}, True),
        ({"status": "fixed"}, True),
        ({"status": "affected"}, False),
        ({"status": "under_investigation"}, False),
        ({"products": ["team/app"]}, True),
        ({"products": [{"@id": "docker.io/team/app:1"}]}, True),
        ({"products": [{"@id": "docker.io/team/app:2"}]}, False),
        ({"products": [{"@id": "pkg:oci/app@sha256%3A" + "0" * 64}]}, False),
        ({"products": [{"@id": "pkg:deb/debian/zlib"}]}, True),
        ({"products": [{"@id": "pkg:deb/debian/zlib@1.2"}]}, True),
        ({"products": [{"@id": "pkg:deb/debian/zlib@1.1"}]}, False),
        ({"products": [{"@id": "pkg:deb/debian/openssl"}]}, False),
        ({"products": [{"@id": "team/app", "subcomponents": [{"@id": "pkg:deb/debian/zlib"}]}]}, True),
        ({"products": [{"@id": "team/app", "subcomponents": [{"@id": "pkg:deb/debian/curl"}]}]}, False),
        ({"products": []}, False),
    ],
)
def test_whom_a_statement_means(ul: Installation, tmp_path: Path, changes: dict[str, Any], clears: bool) -> None:
    path = vex(tmp_path / "vex.json", statement(**changes))
    assert ("CVE-2026-0001" not in found(ul, "--vex", path)) == clears


def test_the_last_statement_counts(ul: Installation, tmp_path: Path) -> None:
    early = statement(timestamp="2026-02-01T00:00:00Z")
    late = statement(status="affected", timestamp="2026-03-01T00:00:00Z")
    assert "CVE-2026-0001" in found(ul, "--vex", vex(tmp_path / "a.json", late, early))
    first, second = vex(tmp_path / "b.json", late), vex(tmp_path / "c.json", early)
    assert "CVE-2026-0001" in found(ul, "--vex", first, "--vex", second)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"@context": "https://openvex.dev/ns/v0.2.0"}', '{"bomFormat": "CycloneDX"}',
     '{"@context": "https://openvex.dev/ns", "statements": [{"vulnerability": "x", "status": "maybe"}]}',
     '{"@context": "https://openvex.dev/ns", "statements": [{"vulnerability": "x", "status": "not_affected"}]}',
     '{"@context": "https://openvex.dev/ns", "statements": [{"status": "fixed"}]}'],
)  # fmt: skip
def test_no_vex(ul: Installation, tmp_path: Path, text: str) -> None:
    (tmp_path / "vex.json").write_text(text)
    refused = ul("base", "vulns", "--vex", str(tmp_path / "vex.json"), "team/app:1", code=2).stderr.decode()
    assert "vex.json" in refused and "Traceback" not in refused


KEV = {
    "title": "Catalog of Known Exploited Vulnerabilities",
    "catalogVersion": "2026.11.20",
    "dateReleased": "2026-11-20T14:00:00.1Z",
    "count": 1,
    "vulnerabilities": [{"cveID": "CVE-2026-0003", "dateAdded": "2026-10-01", "dueDate": "2026-10-22"}],
}
EPSS = "#model_version:v2025.03.14,score_date:2026-11-20T00:00:00+0000\ncve,epss,percentile\nCVE-2026-0001,0.25,0.97\n"


def test_lists_of_exploits(ul: Installation, tmp_path: Path) -> None:
    """Last: they stay."""
    for name, data in (
        ("epss.csv", b"cve,epss,percentile\nCVE-2026-0001,2,0.97\n"),
        ("other.csv", b"a,b\n1,2\n"),
        ("cut.csv.gz", gzip.compress(EPSS.encode())[:-9]),
        ("kev.csv", b"cveID,dateAdded\nCVE-2026-0003,yesterday\n"),
    ):
        (tmp_path / name).write_bytes(data)
        refused = ul("base", "advisories", "import", str(tmp_path / name), code=1).stderr.decode()
        assert name in refused and "Traceback" not in refused
    (tmp_path / "kev.json").write_text(json.dumps(KEV))
    (tmp_path / "epss.csv.gz").write_bytes(gzip.compress(EPSS.encode()))
    assert ul.out("base", "advisories", "import", str(tmp_path / "kev.json")) == "KEV: 1 vulnerabilities"
    assert ul.out("base", "advisories", "import", str(tmp_path / "epss.csv.gz")) == "EPSS: 1 vulnerabilities"
    value = json.loads(report(ul, "json"))
    assert value["lists"] == {"KEV": "2026-11-20", "EPSS": "2026-11-20"}
    first, second = value["found"][:2]
    # What is exploited comes first, though nobody has rated it.
    assert (first["id"], first["exploited"], first["epss"]) == ("CVE-2026-0003", "2026-10-01", None)
    assert (second["id"], second["exploited"], second["epss"]) == ("CVE-2026-0001", "", 0.25)
    assert found(ul, "--exploited") == {"CVE-2026-0003"}
    told = ul.out("base", "vulns", "team/app:1")
    assert "since 2026-10-01" in told and "25.0% likely" in told
    (tmp_path / "kev.csv").write_text('cveID,vendorProject,dateAdded\n"CVE-2026-0002","x, y",2026-09-01\n')
    ul("base", "advisories", "import", str(tmp_path / "kev.csv"))
    assert found(ul, "--exploited") == {"CVE-2026-0002"}
