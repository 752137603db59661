"""Ends of life: found by os-release and by name, and what they mean on a day."""

from __future__ import annotations

import pytest

from underlay.base.fleet import lifecycle


@pytest.mark.parametrize(
    ("name", "tag", "product", "cycle"),
    [
        ("debian", "jessie", "debian", "8"),
        ("docker.io/library/debian", "jessie-slim", "debian", "8"),
        ("debian", "8.11", "debian", "8"),
        ("debian", "12-slim", "debian", "12"),
        ("python", "3.6", "python", "3.6"),
        ("docker.io/library/python", "3.6.15-slim-buster", "python", "3.6"),
        ("ubuntu", "bionic-20180101", "ubuntu", "18.04"),
        ("node", "20-alpine", "nodejs", "20"),
        ("golang", "1.21.3", "go", "1.21"),
        ("registry.access.redhat.com/ubi8/ubi-minimal", "8.9", "rhel", "8"),
        ("alpine", "3.10.9", "alpine", "3.10"),
        ("rockylinux", "9.3", "rocky", "9"),
        ("amazonlinux", "2018.03.0", "amazonlinux", "2018.03"),
        ("quay.io/centos/centos", "stream9", "centos-stream", "9"),
    ],
)
def test_by_name(name: str, tag: str, product: str, cycle: str) -> None:
    found = lifecycle.of_name(name, tag)
    assert found is not None and (found.product, found.cycle) == (product, cycle)


@pytest.mark.parametrize(
    ("name", "tag"),
    [("debian", "latest"), ("debian", "stable"), ("alpine", "edge"), ("x/y", "1"), ("debian", "99"), ("", "")],
)
def test_names_that_say_nothing(name: str, tag: str) -> None:
    assert lifecycle.of_name(name, tag) is None


@pytest.mark.parametrize(
    ("release", "product", "cycle"),
    [
        ({"ID": "debian", "VERSION_ID": "8"}, "debian", "8"),
        ({"ID": "alpine", "VERSION_ID": "3.20.3"}, "alpine", "3.20"),
        ({"ID": "centos", "VERSION_ID": "8", "NAME": "CentOS Stream"}, "centos-stream", "8"),
        ({"ID": "centos", "VERSION_ID": "7", "NAME": "CentOS Linux"}, "centos", "7"),
        ({"ID": "amzn", "VERSION_ID": "2023"}, "amazonlinux", "2023"),
        ({"ID": "opensuse-leap", "VERSION_ID": "15.6"}, "opensuse", "15.6"),
        ({"ID": "ol", "VERSION_ID": "9.4"}, "oraclelinux", "9"),
    ],
)
def test_by_release(release: dict[str, str], product: str, cycle: str) -> None:
    found = lifecycle.of_release(release)
    assert found is not None and (found.product, found.cycle) == (product, cycle)


def test_releases_that_say_nothing() -> None:
    assert lifecycle.of_release({}) is None
    assert lifecycle.of_release({"ID": "arch"}) is None
    assert lifecycle.of_release({"ID": "debian", "VERSION_CODENAME": "forky"}) is None


def test_what_debian_and_ubuntu_call_extended() -> None:
    jessie, bionic = lifecycle.of_name("debian", "jessie"), lifecycle.of_name("ubuntu", "18.04")
    assert jessie is not None and bionic is not None
    # Debian's security team, then LTS, which all get; Ubuntu's is for who pays.
    assert (jessie.ends, jessie.extended_ends, jessie.final) == ("2018-06-17", "2020-06-30", "2020-06-30")
    days = ("2017-06-17", "2018-05-01", "2018-06-17", "2018-06-18", "2020-06-30", "2020-07-01")
    assert [jessie.state(day) for day in days] == ["supported", "near", "near", "extended", "extended", "ended"]
    assert not bionic.for_all and bionic.final == bionic.ends == "2023-05-31"
    assert bionic.extended_ends > "2026" and bionic.state("2024-01-01") == "ended"


def test_ends_that_are_no_days() -> None:
    facts = {"title": "X", "extended": "", "for_all": False}

    def state(eol: object) -> str:
        return lifecycle.Lifecycle("x", facts, ["1", "", "", eol, None, ""], "2026-01-01").state("2026-01-01")

    assert [state(eol) for eol in (True, False, None, "soon", "2025-12-31")] == [
        "ended", "supported", "unknown", "unknown", "ended",
    ]  # fmt: skip
