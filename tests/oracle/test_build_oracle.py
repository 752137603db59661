"""Images that we build beside those of docker's BuildKit and of buildah: the same configurations, the same trees."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import builders
from buildcorpus import CASES
from buildcorpus.cases import Case
from builders import Builder, Buildah, Docker, Underlay
from engines import Installation, needs_root
from imageconfigs import compare_configurations
from trees import Archive, Difference, compare_trees, read

pytestmark = [pytest.mark.oracle, pytest.mark.root]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with a short name, as paths of sockets are short."""
    needs_root()
    with tempfile.TemporaryDirectory(prefix="ul-build-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def installation(place: Path) -> Iterator[Installation]:
    made = Installation(place / "ul")
    yield made
    made.clean()


@pytest.fixture(scope="module")
def box(installation: Installation, place: Path) -> Path:
    """The archive of the base image, which we have as `box`."""
    return builders.box(installation, place)


@pytest.fixture(scope="module")
def docker(place: Path, box: Path) -> Iterator[Docker]:
    (place / "d").mkdir()
    with builders.docker(place / "d") as client:
        client.load(box)
        yield client


@pytest.fixture(scope="module")
def buildah(place: Path, box: Path) -> Buildah:
    (place / "b").mkdir()
    client = builders.buildah(place / "b")
    client.load(box)
    return client


def built(builder: Builder, case: Case, context: Path, words: list[str], place: Path) -> Archive:
    for number, (name, text) in enumerate(case.before.items()):
        dockerfile = place / f"{builder.name}.{number}"
        dockerfile.write_text(text)
        builder.build(name, context, ["-f", str(dockerfile)])
    name = "".join(letter if letter.isalnum() else "-" for letter in case.name.lower())
    builder.build(name, context, words)
    builder.save(name, place / f"{builder.name}.tar")
    return read(place / f"{builder.name}.tar")


def both(case: Case, ours: Builder, theirs: Builder, place: Path) -> tuple[Archive, Archive]:
    """Build a case with both at once."""
    context, words = case.write(place)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(built, each, case, context, words, place) for each in (ours, theirs)]
        problems = [str(each.exception()) for each in waiting if each.exception() is not None]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
    return waiting[0].result(), waiting[1].result()


def named(letter: str) -> list[object]:
    found = []
    for case in CASES:
        if letter in case.builders:
            marks = [pytest.mark.xfail(strict=True, reason=case.bug)] if case.bug else []
            found.append(pytest.param(case, id=case.name.replace(" ", "-"), marks=marks))
    return found


@pytest.mark.parametrize("case", named("d"))
def test_docker_builds_the_same(case: Case, installation: Installation, docker: Docker, tmp_path: Path) -> None:
    begun = int(time.time())
    ours, theirs = both(case, Underlay(installation), docker, tmp_path)
    found = compare_configurations(ours.config, theirs.config)
    if len(ours.layers) != len(theirs.layers):
        pytest.fail("\n".join(map(str, [*found, *ours.config["history"], "", *theirs.config["history"]])), pytrace=False)
    for number, (left, right) in enumerate(zip(ours.trees(), theirs.trees(), strict=True)):
        found += [Difference(f"layer {number}: {each.place}", each.what, each.ours, each.theirs) for each in compare_trees(left, right, begun)]
    if found:
        pytest.fail("\n".join(map(str, found)), pytrace=False)


@pytest.mark.parametrize("case", named("b"))
def test_buildah_builds_the_same(case: Case, installation: Installation, buildah: Buildah, tmp_path: Path) -> None:
    begun = int(time.time())
    ours, theirs = both(case, Underlay(installation), buildah, tmp_path)
    found = compare_trees(ours.tree(), theirs.tree(), begun)
    found += compare_configurations(ours.config, theirs.config, history=False)
    if found:
        pytest.fail("\n".join(map(str, found)), pytrace=False)
