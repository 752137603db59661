"""Known vulnerabilities of images, each told as the base's or one's own; what a newer base mends; bills of materials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_base_rebase import RELEASE, packages, root

from engines import Installation, needs_root


def advisory(id: str, package: str, fixed: str | None, cve: str, score: str = "") -> dict[str, Any]:
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    return {
        "id": id,
        "modified": "2026-01-01T00:00:00Z",
        "summary": f"what {cve} is",
        "upstream": [cve],
        "affected": [
            {
                "package": {"ecosystem": "Debian:12", "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
        ],
        "severity": [{"type": "CVSS_V3", "score": score}] if score else [],
    }


WORST = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
RECORDS = [
    advisory("DSA-1", "zlib", "1.3", "CVE-2026-0001", WORST),
    advisory("DSA-2", "openssl", "3.0.9", "CVE-2026-0002", "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"),
    advisory("DSA-3", "curl", None, "CVE-2026-0003"),
    advisory("DSA-4", "glibc", "2.36-9", "CVE-2026-0004", WORST),
]


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a base, today's build of it, and an image with packages of its own."""
    needs_root()
    place = tmp_path_factory.mktemp("vulns")
    made = Installation(place)
    base = {"zlib": "1.2", "openssl": "3.0.8", "glibc": "2.36-9"}
    for tag, versions in (("1", base), ("2", {**base, "zlib": "1.3"})):
        files = {"etc/os-release": RELEASE.format("12", 12), "var/lib/dpkg/status": packages(**versions)}
        made("import", "-", f"base:{tag}", input=root(files))
    status = packages(**base, curl="7.88").replace("\n", "\\n")
    made("tag", "base:1", "base:now")
    made(
        "build", "-q", "-t", "app", "-", input=f"FROM base:now\nRUN printf '{status}' > /var/lib/dpkg/status\n".encode()
    )
    refused = made("base", "vulns", "app", code=2).stderr.decode()
    assert "no advisories in the store" in refused and "advisories update" in refused
    (place / "osv.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    assert "Debian: 4 advisories" in made.out("base", "advisories", "import", str(place / "osv.jsonl"))
    yield made
    made.clean()


def vulns(ul: Installation, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    found = json.loads(ul.out("base", "vulns", "--format", "json", *words, "app", code=code))
    return {each["id"]: each for each in found["found"]}


def test_each_is_told_as_the_bases_or_ones_own(ul: Installation) -> None:
    found = vulns(ul)
    assert list(found) == ["CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0003"] or set(found) == {
        "CVE-2026-0001",
        "CVE-2026-0002",
        "CVE-2026-0003",
    }
    told = {id: (each["origin"], each["fixed"], each["severity"]) for id, each in found.items()}
    assert told["CVE-2026-0001"] == ("base", "1.3", "critical")
    assert told["CVE-2026-0002"][:2] == ("base", "3.0.9") and told["CVE-2026-0002"][2] == "low"
    assert told["CVE-2026-0003"][:2] == ("yours", "")
    assert next(iter(found)) == "CVE-2026-0001"  # the worst first
    text = ul.out("base", "vulns", "app")
    assert text.splitlines()[0].split() == "VULNERABILITY SEVERITY PACKAGE VERSION FIXED FROM NEWER BASE".split()


def test_choosing(ul: Installation) -> None:
    assert set(vulns(ul, "--from", "yours")) == {"CVE-2026-0003"}
    assert set(vulns(ul, "--fixable")) == {"CVE-2026-0001", "CVE-2026-0002"}
    assert set(vulns(ul, "--severity", "high", "--exit-code", code=1)) == {"CVE-2026-0001"}
    assert vulns(ul, "--from", "yours", "--fixable", "--exit-code") == {}
    # What a choice leaves out is not said to be nothing.
    assert "not shown: 1 of unknown severity" in ul.out("base", "vulns", "--severity", "high", "app")
    text = ul.out("base", "vulns", "--from", "yours", "--fixable", "app")
    assert "nothing of this kind is known against its" in text
    assert b"one of low, medium" in ul("base", "vulns", "--severity", "huge", "app", code=2).stderr


def test_what_a_newer_base_mends(ul: Installation) -> None:
    assert {each["newer_fixes"] for each in vulns(ul).values()} == {None}
    ul("tag", "base:2", "base:now")
    try:
        found = vulns(ul)
        assert found["CVE-2026-0001"]["newer_fixes"] is True
        assert found["CVE-2026-0002"]["newer_fixes"] is False
        assert found["CVE-2026-0003"]["newer_fixes"] is None
        assert "fixes it" in ul.out("base", "vulns", "app")
        # The page says what that is worth.
        assert "rebuild or rebase on today's base:now (it brings fixes)" in ul.out("base", "report", "app")
    finally:
        ul("tag", "base:1", "base:now")


def test_rules_about_them(ul: Installation, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[bases]\nfixable = "critical"\n')
    assert "1 critical with a fix" in ul.out("base", "check", "--policy", str(rules), "app", code=1)
    ul("base", "check", "--policy", str(rules), "base:2")
    # One that cannot be seen hides nothing of the others.
    both = ("nobody:1", "app")
    assert ul.out("base", "check", "--policy", str(rules), *both, code=1).count("\n") == 1
    assert "base:now: 1 image" in ul.out("base", "report", *both, code=1)


@pytest.mark.parametrize("form", ["cyclonedx", "spdx"])
def test_a_bill_of_materials(ul: Installation, tmp_path: Path, form: str) -> None:
    path = tmp_path / "bill.json"
    ul("base", "sbom", "--format", form, "-o", str(path), "app")
    value = json.loads(path.read_text())
    listed = value["components"] if form == "cyclonedx" else value["packages"]
    assert {"zlib", "openssl", "curl"} <= {each["name"] for each in listed}
    assert b"unknown form" in ul("base", "sbom", "--format", "x", "app", code=1).stderr


def test_what_cannot_be_taken(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04nothing")
    for path in (tmp_path / "no", tmp_path / "bad.zip", tmp_path):
        message = ul("base", "advisories", "import", str(path), code=1).stderr.decode()
        assert message.startswith("underlay: ") and "Traceback" not in message
