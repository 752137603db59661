"""Names of distributions' images, from what their os-release files say."""

from __future__ import annotations

import pytest

from underlay.base.identify.names import distribution


@pytest.mark.parametrize(
    ("release", "names"),
    [
        ("ID=debian VERSION_ID=12 VERSION_CODENAME=bookworm", "debian:bookworm debian:12"),
        ("ID=debian VERSION_ID=8 VERSION=8_(jessie)", "debian:jessie debian:8"),
        ("ID=debian VERSION_CODENAME=forky", "debian:forky"),
        ("ID=ubuntu VERSION_ID=24.04 VERSION_CODENAME=noble", "ubuntu:24.04 ubuntu:noble"),
        ("ID=alpine VERSION_ID=3.20.3", "alpine:3.20 alpine:3.20.3"),
        ("ID=rocky VERSION_ID=9.4", "rockylinux:9 rockylinux:9.4"),
        ("ID=centos VERSION_ID=7 NAME=CentOS_Linux", "centos:7"),
        ("ID=centos VERSION_ID=9 NAME=CentOS_Stream", "quay.io/centos/centos:stream9"),
        ("ID=amzn VERSION_ID=2023", "amazonlinux:2023"),
        ("ID=fedora VERSION_ID=42", "fedora:42"),
        ("ID=opensuse-leap VERSION_ID=15.6", "opensuse/leap:15.6"),
        ("ID=arch BUILD_ID=rolling", "archlinux:latest"),
        # A stranger's words are no names.
        ("ID=debian VERSION_ID=;x VERSION_CODENAME=$(id)", ""),
        ("ID=debian VERSION_CODENAME=a:b", ""),
        ("ID=somebodys VERSION_ID=1", ""),
        ("", ""),
    ],
)
def test_names(release: str, names: str) -> None:
    told = dict(word.replace("_(", " (").split("=", 1) for word in release.split())
    assert distribution.names(told) == names.split()
