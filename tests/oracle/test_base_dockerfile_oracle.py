"""Images that docker (BuildKit and the classic builder) and buildah have built, told as Dockerfiles and built by us: the
same trees and configurations."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import builders
from buildcorpus import CASES
from builders import Buildah, Builder, Docker
from engines import Installation, needs_root
from roundtrips import Forge, again, differences

pytestmark = [pytest.mark.oracle, pytest.mark.root]
BEGUN = int(time.time()) - 1
# What buildah and the classic builder tell of the container in which they have built.
OF_CONTAINERS = ("Hostname", "Image", "ArgsEscaped")
# RUN has files and directories of the container's there, which other builders leave in the image.
STUBS = frozenset(("/etc", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run"))
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with a short name, as paths of sockets are short."""
    needs_root()
    with tempfile.TemporaryDirectory(prefix="ul-told-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def ul(place: Path) -> Iterator[Installation]:
    made = Installation(place / "ul")
    yield made
    made.clean()


@pytest.fixture(scope="module")
def box(ul: Installation, place: Path) -> Path:
    return builders.box(ul, place)


@pytest.fixture(scope="module")
def forge(ul: Installation, box: Path) -> Iterator[Forge]:
    made = Forge(ul)
    yield made
    made.close()


@pytest.fixture(scope="module")
def docker(place: Path, box: Path) -> Iterator[Docker]:
    (place / "d").mkdir()
    with builders.docker(place / "d") as client:
        client.load(box)
        yield client


class Classic(Docker):
    """Docker's builder of old."""

    def build(self, name: str, context: Path, words: list[str]) -> None:
        self("build", "--network=host", "--no-cache", "-t", name, *words, context)


@pytest.fixture(scope="module")
def classic(docker: Docker) -> Classic:
    return Classic(docker.command, {**docker.environment, "DOCKER_BUILDKIT": "0"})


@pytest.fixture(scope="module")
def buildah(place: Path, box: Path) -> Buildah:
    (place / "b").mkdir()
    client = builders.buildah(place / "b")
    client.load(box)
    return client


def round_trip(builder: Builder, name: str, forge: Forge, place: Path) -> None:
    case = BY_NAME[name]
    context, words = case.write(place / "first")
    builder.build_to(place / "first.tar", "first", context, words)
    forge(place, "load", "-i", str(place / "first.tar"))
    told = again(forge, "first", "box", place)
    found = differences(place / "first.tar", place / "again.tar", BEGUN, *OF_CONTAINERS)
    found = [each for each in found if each.place not in STUBS]
    assert found == [], "\n".join(map(str, [*found, told]))


@pytest.mark.parametrize(
    "name",
    [
        "owners",
        "heredocs in RUN",
        "heredocs in COPY and ADD",
        "arguments and environment",
        "environment in both forms",
        "deletions",
        "volumes",
        "add archives",
        "triggers of a stage",
    ],
)
def test_of_docker(name: str, docker: Docker, forge: Forge, tmp_path: Path) -> None:
    round_trip(docker, name, forge, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
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
    ],
)
def test_of_the_classic_builder(name: str, classic: Classic, forge: Forge, tmp_path: Path) -> None:
    round_trip(classic, name, forge, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "copy files",
        "owners",
        "labels",
        "deletions",
        "environment in both forms",
        "working directories",
    ],
)
def test_of_buildah(name: str, buildah: Buildah, forge: Forge, tmp_path: Path) -> None:
    round_trip(buildah, name, forge, tmp_path)
