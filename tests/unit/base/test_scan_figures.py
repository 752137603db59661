"""Figures and differences of scans."""

from __future__ import annotations

from underlay.base.fleet.policy import Standing, Vulnerabilities
from underlay.base.scan import comparing, metrics


def image(name: str, base: str = "debian:12", **more: object) -> Standing:
    return Standing(name, base, **more)  # type: ignore[arg-type]


def test_metrics() -> None:
    hit = Vulnerabilities({"high": 3, "low": 1}, {"high": 2}, {"high": 1})
    images = [
        image("a", distribution='de"bi\\an\n12', life="supported", vulnerabilities=hit),
        image("b", life="past its end", outdated=True, vulnerabilities=hit),
        Standing("c", problems=("not there",)),
    ]
    lines = metrics.text(images, 1700000000).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert samples == [
        'underlay_images{base="",distribution=""} 1',
        'underlay_images{base="debian:12",distribution=""} 1',
        'underlay_images{base="debian:12",distribution="de\\"bi\\\\an\\n12"} 1',
        'underlay_images_by_support{support="past its end"} 1',
        'underlay_images_by_support{support="supported"} 1',
        'underlay_images_by_support{support="unknown"} 1',
        'underlay_vulnerabilities{severity="high",fixable="false"} 2',
        'underlay_vulnerabilities{severity="high",fixable="true"} 4',
        'underlay_vulnerabilities{severity="low",fixable="false"} 2',
        'underlay_vulnerabilities{severity="low",fixable="true"} 0',
        'underlay_base_vulnerabilities_fixable{severity="high"} 2',
        "underlay_images_outdated 1",
        "underlay_images_unseen 1",
        "underlay_scan_timestamp_seconds 1700000000",
    ]
    # Each family is described once, before its samples.
    kinds = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds)) == 7 and all(line.endswith(" gauge") for line in lines if "# TYPE" in line)


def test_differences() -> None:
    some, more = (Vulnerabilities({"high": number}) for number in (1, 2))
    before = [
        image("a"),
        image("b", digest="sha256:" + "a" * 64, vulnerabilities=more),
        image("c", "debian:11", life="supported"),
        image("d", vulnerabilities=some),
        image("e", ""),
    ]
    after = [
        image("b", digest="sha256:" + "b" * 64, vulnerabilities=some),
        image("c", "debian:12", life="past its end"),
        image("d", vulnerabilities=more),
        image("e", "scratch"),
        image("f", ""),
    ]
    assert [tuple(each) for each in comparing.compare(before, after)] == [
        ("a", "gone", "debian:12", ""),
        ("b", "build", "a" * 12, "b" * 12),
        ("b", "better", "2 vulnerabilities", "1 vulnerability"),
        ("c", "base", "debian:11", "debian:12"),
        ("c", "support", "supported", "past its end"),
        ("d", "worse", "1 vulnerability", "2 vulnerabilities"),
        ("e", "base", "unknown", "scratch"),
        ("f", "new", "", "unknown"),
    ]
    assert comparing.compare(after, after) == []
