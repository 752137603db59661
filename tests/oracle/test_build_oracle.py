"""Images that we build beside those of docker's BuildKit and of buildah: the same configurations, the same trees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from buildcorpus import CASES, explained, refused
from buildcorpus.cases import Case
from builders import Buildah, Builder, BuildFailed, Docker, Underlay, box, buildah, docker, installation, place
from engines import Installation
from trees import Archive, Difference, Facts, compare_facts, compare_members, facts, read

__all__ = ["box", "buildah", "docker", "installation", "place"]  # fixtures
pytestmark = [pytest.mark.oracle, pytest.mark.root]

# File systems take the time from a clock that is a little behind.
BEGUN = int(time.time()) - 1
# What buildah tells of the container in which it has built.
OF_CONTAINERS = (
    "container container_config docker_version parent id Hostname Domainname AttachStdin AttachStdout AttachStderr Tty "
    "OpenStdin StdinOnce Image"
).split()


class Ahead:
    """Builds by us and by somebody else, each in a thread, which goes a few cases ahead of the tests."""

    MOST = 4

    def __init__(self, cases: list[Case], ours: Builder, theirs: Builder, place: Path) -> None:
        self._cases = cases
        self._builders = (ours, theirs)
        self._place = place
        self._threads = [ThreadPoolExecutor(1) for _ in self._builders]
        self._begun: dict[int, list[Future[Archive]]] = {}

    def outcomes(self, case: Case) -> list[Archive | BaseException]:
        """Return what we have built and what they have, or how that has failed."""
        now = self._cases.index(case)
        for number, each in list(enumerate(self._cases))[now : now + self.MOST]:
            if number not in self._begun:
                place = self._place / str(number)
                made = each.write(place)
                pairs = zip(self._threads, self._builders, strict=True)
                self._begun[number] = [thread.submit(built, one, each, *made, place) for thread, one in pairs]
        return [each.exception() or each.result() for each in self._begun[now]]

    def images(self, case: Case) -> tuple[Archive, Archive]:
        """Return our image and theirs; fails the test when there is none."""
        ours, theirs = self.outcomes(case)
        if not isinstance(ours, Archive) or not isinstance(theirs, Archive):
            pytest.fail("\n".join(str(each) for each in (ours, theirs) if isinstance(each, BaseException)), False)
        return ours, theirs

    def close(self) -> None:
        """Wait for the build that is going on, and begin no other."""
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)


def built(builder: Builder, case: Case, context: Path, words: list[str], place: Path) -> Archive:
    for number, (name, text) in enumerate(case.before.items()):
        dockerfile = place / f"{builder.name}.{number}"
        dockerfile.write_text(text)
        builder.build(name, context, ["-f", str(dockerfile)])
    name = "".join(letter if letter.isalnum() else "-" for letter in case.name.lower())
    builder.build_to(place / f"{builder.name}.tar", name, context, words)
    return read(place / f"{builder.name}.tar")


def wanted(request: pytest.FixtureRequest) -> list[Case]:
    """Return the cases of the tests that use a fixture, in their order."""
    found: list[Any] = [
        item for item in request.session.items if request.fixturename in getattr(item, "fixturenames", ())
    ]
    return [item.callspec.params["case"] for item in found]


@pytest.fixture(scope="module")
def beside_docker(
    request: pytest.FixtureRequest, installation: Installation, docker: Docker, place: Path
) -> Iterator[Ahead]:
    ahead = Ahead(wanted(request), Underlay(installation), docker, place / "with-docker")
    yield ahead
    ahead.close()


@pytest.fixture(scope="module")
def beside_buildah(
    request: pytest.FixtureRequest, installation: Installation, buildah: Buildah, place: Path
) -> Iterator[Ahead]:
    ahead = Ahead(wanted(request), Underlay(installation), buildah, place / "with-buildah")
    yield ahead
    ahead.close()


def parameters(cases: tuple[Case, ...]) -> list[Any]:
    return [pytest.param(case, id=case.name.replace(" ", "-")) for case in cases]


# Docker
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", parameters(tuple(case for case in CASES if "d" in case.builders)))
def test_docker_builds_the_same(case: Case, beside_docker: Ahead) -> None:
    ours, theirs = beside_docker.images(case)
    found = compare_members("", ours.config, theirs.config, "created", "config", "history", "rootfs")
    found += compare_members("config", ours.config["config"], theirs.config["config"])
    found += histories(ours, theirs)
    found = [each for each in found if not any(rule(each) for rule in explained.IN_DOCKERS_CONFIGURATIONS)]
    if not found:
        found = trees(case, ours, theirs)
    assert found == [], "\n".join(map(str, found))


def histories(ours: Archive, theirs: Archive) -> list[Difference]:
    """Compare what is told of each step; times are each builder's own, but neither may leave them out."""
    left, right = ours.config["history"], theirs.config["history"]
    assert all(each.get("created") for each in (*left, *right))
    found = []
    nothing: dict[str, Any] = {}
    for number, (one, other) in enumerate(zip_longest(left, right, fillvalue=nothing)):
        found += compare_members(f"history {number}", one, other, "created")
    return found


def trees(case: Case, ours: Archive, theirs: Archive) -> list[Difference]:
    """Compare layer by layer, what is in each and what comes of it; a difference is not told again in layers above."""
    steps = [each.get("created_by", "") for each in ours.config["history"] if not each.get("empty_layer")]
    assert len(steps) == len(ours.layers)
    found: list[Difference] = []
    known: set[str] = set()
    before: Facts = {}
    for number, (left, right) in enumerate(zip(ours.trees(), theirs.trees(), strict=True)):
        layer = explained.Layer(case, steps[number], before, facts(left, BEGUN), facts(right, BEGUN))
        here = compare_facts(layer.ours, layer.theirs)
        for each in here:
            if str(each) not in known and not any(rule(each, layer) for rule in explained.IN_DOCKERS_TREES):
                found.append(Difference(f"{layer.instruction}: {each.place}", each.what, each.ours, each.theirs))
        known.update(map(str, here))
        members = [{each.path for each in archive.layers[number]} for archive in (ours, theirs)]
        if members[0] != members[1] - explained.stubs_alone(layer, members[0]):
            found.append(Difference(layer.instruction, "members", *map(sorted, members)))
        before = layer.ours
    return found


@pytest.mark.parametrize("case", parameters(refused.CASES))
def test_docker_refuses_the_same(case: Case, beside_docker: Ahead) -> None:
    ours, theirs = beside_docker.outcomes(case)
    assert isinstance(ours, BuildFailed) and isinstance(theirs, BuildFailed)
    assert "Traceback" not in str(ours)


@pytest.mark.parametrize("case", parameters(refused.BY_US))
def test_we_alone_refuse(case: Case, beside_docker: Ahead) -> None:
    ours, theirs = beside_docker.outcomes(case)
    assert isinstance(ours, BuildFailed) and isinstance(theirs, Archive)
    assert "Traceback" not in str(ours)


# Buildah
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", parameters(tuple(case for case in CASES if "b" in case.builders)))
def test_buildah_builds_the_same(case: Case, beside_buildah: Ahead) -> None:
    ours, theirs = beside_buildah.images(case)
    found = compare_members("", ours.config, theirs.config, "created", "config", "history", "rootfs", *OF_CONTAINERS)
    found += compare_members("config", ours.config["config"], theirs.config["config"], *OF_CONTAINERS)
    found = [each for each in found if not any(rule(each) for rule in explained.IN_BUILDAHS_CONFIGURATIONS)]
    layer = explained.Layer(case, "", {}, facts(ours.tree(), BEGUN), facts(theirs.tree(), BEGUN))
    for each in compare_facts(layer.ours, layer.theirs):
        if not any(rule(each, layer) for rule in explained.IN_BUILDAHS_TREES):
            found.append(each)
    assert found == [], "\n".join(map(str, found))
