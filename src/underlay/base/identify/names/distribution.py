"""Image names of a distribution, from the os-release and other files of an image."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# os-release's ID, where the image has another name on Docker Hub.
_REPOSITORIES = {
    "amzn": "amazonlinux",
    "arch": "archlinux",
    "clear-linux-os": "clearlinux",
    "ol": "oraclelinux",
    "opensuse-leap": "opensuse/leap",
    "opensuse-tumbleweed": "opensuse/tumbleweed",
    "rocky": "rockylinux",
    "wolfi": "chainguard/wolfi-base",
}
_ROLLING = frozenset("archlinux clearlinux opensuse/tumbleweed chainguard/wolfi-base".split())
# Whose images have a tag for each major version beside the exact one.
_MAJOR = frozenset("almalinux centos debian oraclelinux rockylinux".split())
_KNOWN = frozenset(
    "almalinux alpine amazonlinux centos debian fedora mageia oraclelinux photon rockylinux ubuntu".split()
)
_VERSION = re.compile(r"\d+(?:\.\d+)*")
_WORD = re.compile(r"[a-z]+")


def names(release: Mapping[str, str]) -> list[str]:
    """Return what images of the release that os-release tells of are called, the one most written first; [] if unknown."""
    repository = _REPOSITORIES.get(release.get("ID", ""), release.get("ID", ""))
    if repository in _ROLLING:
        return [f"{repository}:latest"]
    if repository == "centos" and "stream" in release.get("NAME", "").lower():
        repository, stream = "quay.io/centos/centos", "stream"
    else:
        stream = ""
    if repository not in _KNOWN and not stream and repository != "opensuse/leap":
        return []
    version = _VERSION.match(release.get("VERSION_ID", ""))
    word = _WORD.fullmatch(release.get("VERSION_CODENAME", "") or _in_brackets(release.get("VERSION", "")))
    tags = []
    if word and repository == "debian":
        tags.append(word[0])
    if version:
        parts = version[0].split(".")
        if repository == "alpine":
            tags.append(".".join(parts[:2]))
        elif repository in _MAJOR:
            tags.append(parts[0])
        tags.append(stream + version[0])
    if word and repository == "ubuntu":
        tags.append(word[0])
    return [f"{repository}:{tag}" for tag in dict.fromkeys(tags)]


def is_one(repository: str) -> bool:
    """Tell whether images of a repository are distributions, which say so in os-release."""
    return repository in _KNOWN


def _in_brackets(version: str) -> str:
    """Return the code name of `8 (jessie)`, as releases without VERSION_CODENAME say it."""
    return version.partition("(")[2].partition(")")[0].lower()
