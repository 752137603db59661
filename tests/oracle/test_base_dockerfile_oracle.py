"""Images that docker (BuildKit and the classic builder) and buildah have built, told as Dockerfiles and built by us: the
same trees and configurations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildcorpus import CASES
from builders import Builder, Docker, box, buildah, docker, installation, place
from engines import Installation
from roundtrips import Forge, again, differences

__all__ = ["box", "buildah", "docker", "installation", "place"]  # fixtures
pytestmark = [pytest.mark.oracle, pytest.mark.root]
BEGUN = int(time.time()) - 1
# What buildah and the classic builder tell of the container in which they have built.
OF_CONTAINERS = ("Hostname", "Image", "ArgsEscaped")
# RUN has files and directories of the container's there, which other builders leave in the image.
STUBS = frozenset(("/etc", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run"))
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def forge(installation: Installation, box: Path) -> Iterator[Forge]:
    made = Forge(installation)
    yield made
    made.close()


class Classic(Docker):
    """Docker's builder of old."""

    def build(self, name: str, context: Path, words: list[str]) -> None:
        self("build", "--network=host", "--no-cache", "-t", name, *words, context)


@pytest.fixture(scope="module")
def classic(docker: Docker) -> Classic:
    return Classic(docker.command, {**docker.environment, "DOCKER_BUILDKIT": "0"})


THEIRS = {
    "docker": (
        "owners",
        "heredocs in RUN",
        "heredocs in COPY and ADD",
        "arguments and environment",
        "environment in both forms",
        "deletions",
        "volumes",
        "add archives",
        "triggers of a stage",
    ),
    "classic": (
        "copy directories",
        "arguments and environment",
        "environment in both forms",
        "shell",
        "labels",
        "volumes",
        "add archives",
        "users",
        "triggers of a stage",
        "words expanded",
        "forms",
    ),
    "buildah": (
        "copy files",
        "owners",
        "labels",
        "deletions",
        "environment in both forms",
        "working directories",
    ),
}


@pytest.mark.parametrize(("builder", "name"), [(builder, name) for builder, names in THEIRS.items() for name in names])
def test_what_they_have_built_is_told_and_built_again(
    builder: str, name: str, request: pytest.FixtureRequest, forge: Forge, tmp_path: Path
) -> None:
    theirs: Builder = request.getfixturevalue(builder)
    context, words = BY_NAME[name].write(tmp_path / "first")
    theirs.build_to(tmp_path / "first.tar", "first", context, words)
    forge(tmp_path, "load", "-i", str(tmp_path / "first.tar"))
    told = again(forge, "first", "box", tmp_path)
    found = differences(tmp_path / "first.tar", tmp_path / "again.tar", BEGUN, *OF_CONTAINERS)
    found = [each for each in found if each.place not in STUBS]
    assert found == [], "\n".join(map(str, [*found, told]))
