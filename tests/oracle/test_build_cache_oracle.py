"""Caches that we and docker's BuildKit give each other: what the one has built the other does not build again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildcases import cached, outputs, steps, write
from builders import Docker, box, installation, place, start_docker
from engines import Installation
from registries import DockerRegistry

__all__ = ["box", "installation", "place"]  # fixtures
pytestmark = [pytest.mark.oracle, pytest.mark.root]

DOCKERFILE = """\
FROM box AS tool
RUN echo tool > /tool
FROM box
WORKDIR /w/x
ENV A=1
ENV PATH=/x:$PATH
ARG V=2
RUN echo ran; echo "<$V & $A>" > /made
COPY f /f1
COPY d sub/
COPY --chown=5:6 --chmod=600 f d /both/
COPY --from=tool /tool /tool
COPY --from=tool /too* /tools/
RUN ["/bin/true"]
RUN --mount=type=cache,target=/root/.cache --mount=type=cache,id=objects,target=out,sharing=locked touch out/x
RUN --mount=type=tmpfs,target=/t,size=1m --mount=type=secret,id=word --mount=type=secret,id=w,target=/s,mode=0444 touch /t/x
RUN --mount=source=f,target=/src/f --mount=source=d,target=d,rw --mount=type=bind,from=tool,target=/all cat /src/f > /read
COPY --chown=alice:root f d/g /named/
COPY --chown=root f* /root/
USER alice
WORKDIR /home/alice/x
ADD f g .
RUN --network=none id -u
COPY [f-h] .
COPY . .
RUN --mount=target=/src --mount=from=tool,source=/tool,target=/t2 ls /src
"""
FILES = {"f": "f", "g": "g", "d/e/h": "h", "d/g": "g", "d/none/": "", ".dockerignore": "ignored\n", "ignored": "i"}
FLAGS = ("--network=host",)


@pytest.fixture(scope="module")
def registry(place: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(place / "registry") as registry:
        yield registry


@pytest.fixture(scope="module")
def docker(place: Path, box: Path) -> Iterator[Docker]:
    """A docker with containerd's store: docker's older one cannot give caches to registries."""
    (place / "d").mkdir()
    (place / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
    with start_docker(place / "d", f"--config-file={place}/daemon.json") as client:
        client.load(box)
        yield client


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = write(tmp_path / "context", {**FILES, "Dockerfile": DOCKERFILE})
    (made / "d/link").symlink_to("g")
    (made / "d/g").chmod(0o750)
    return made


@pytest.fixture
def ours(box: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Builds with an installation that knows nothing but the base."""
    fresh = Installation(tmp_path / "ul")
    fresh("load", "-i", str(box))
    yield lambda *words: fresh("build", "--progress=plain", *FLAGS, *map(str, words)).stderr.decode()
    fresh.clean()


def theirs(docker: Docker, *words: object) -> str:
    """Build with docker, which has forgotten what it has built; return its progress."""
    docker("buildx", "prune", "-af")
    return docker.said("buildx", "build", "--progress=plain", *FLAGS, *map(str, words))


def all_but_bases(said: str) -> set[str]:
    return {name.partition("] ")[2] for name in steps(said) if "internal" not in name and "FROM" not in name}


def test_docker_builds_nothing_that_we_have(
    docker: Docker, ours: Callable[..., str], context: Path, registry: DockerRegistry
) -> None:
    for number, more in enumerate(("", ",image-manifest=false")):
        name = f"{registry.host}/ours:{number}"
        ours("--cache-to", f"type=registry,ref={name},mode=max{more}", context)
        said = theirs(docker, "--cache-from", name, "-o", "type=cacheonly", context)
        assert set(cached(said)) == all_but_bases(said), said
        # Above what has changed it builds anew; what it fetches for that it does not call cached, but it runs nothing.
        (context / "f").write_text("changed")
        said = theirs(docker, "--cache-from", name, "-o", "type=cacheonly", context)
        assert "COPY f /f1" not in cached(said) and "1000" in outputs(said) and "ran" not in outputs(said)
        (context / "f").write_text("f")


def test_docker_builds_nothing_that_is_in_our_image(
    docker: Docker, ours: Callable[..., str], context: Path, registry: DockerRegistry
) -> None:
    name = f"{registry.host}/ours:inline"
    ours("--cache-to", "type=inline", "-t", name, "--push", context)
    said = theirs(docker, "--cache-from", name, "-o", "type=cacheonly", context)
    assert set(cached(said)) == all_but_bases(said), said


def test_we_build_nothing_that_docker_has(
    docker: Docker, ours: Callable[..., str], context: Path, registry: DockerRegistry
) -> None:
    name = f"{registry.host}/theirs:max"
    theirs(docker, "--cache-to", f"type=registry,ref={name},mode=max", "-o", "type=cacheonly", context)
    (context / "g").write_text("changed")
    said = ours("--cache-from", name, "-t", "made", context)
    last = DOCKERFILE.splitlines()[-5:]
    assert last[0] == "ADD f g ." and all_but_bases(said) - set(cached(said)) == set(last), said


def test_an_index_as_the_form_of_a_cache(
    docker: Docker, ours: Callable[..., str], context: Path, registry: DockerRegistry
) -> None:
    name = f"{registry.host}/theirs:index"
    to = f"type=registry,ref={name},mode=max,image-manifest=false"
    theirs(docker, "--cache-to", to, "-o", "type=cacheonly", context)
    said = ours("--cache-from", f"type=registry,ref={name}", "-t", "made", context)
    assert set(cached(said)) == all_but_bases(said), said


def test_we_build_nothing_that_is_in_dockers_image(
    docker: Docker, ours: Callable[..., str], context: Path, registry: DockerRegistry
) -> None:
    name = f"{registry.host}/theirs:inline"
    theirs(docker, "--cache-to", "type=inline", "-t", name, "--push", context)
    said = ours("--cache-from", name, "-t", "made", context)
    # The tool's own stage is in no image; what has been copied of it is.
    assert all_but_bases(said) - set(cached(said)) == {"RUN echo tool > /tool"}, said
