"""Builders behind one face: ours, docker's BuildKit and buildah, each with a base image of the same archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import dockerdaemon
from engines import Installation, image_tar, needs_root


class BuildFailed(Exception):
    """A build has not been done; its words."""


class Builder:
    """Somebody who builds images and saves them as `docker save` does."""

    name = ""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.command = command
        self.environment = environment

    def __call__(self, *words: str | Path) -> str:
        """Run a command; returns its standard output. Raises BuildFailed."""
        return self._run(words).stdout.decode().strip()

    def _run(self, words: Sequence[str | Path]) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [*self.command, *map(str, words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environment,
            timeout=120,
        )
        if done.returncode:
            raise BuildFailed(
                f"{self.name} {' '.join(map(str, words))}: {done.stderr.decode(errors='replace')[-3000:]}"
            )
        return done

    def said(self, *words: str | Path) -> str:
        """Run a command; returns what it has written to its standard error, as builds do. Raises BuildFailed."""
        return self._run(words).stderr.decode()

    def load(self, archive: Path) -> None:
        """Take over the image of an archive."""
        self("load", "-i", archive)

    def build(self, name: str, context: Path, words: list[str]) -> None:
        """Build an image of this name. Raises BuildFailed."""
        self("build", "-t", name, *words, context)

    def build_to(self, archive: Path, name: str, context: Path, words: list[str]) -> None:
        """Build an image and write it to an archive. Raises BuildFailed."""
        self.build(name, context, words)
        self("save", "-o", archive, name)


class Underlay(Builder):
    """Ours, from source."""

    name = "underlay"

    def __init__(self, installation: Installation) -> None:
        super().__init__(installation.command, installation.environment)

    def build_to(self, archive: Path, name: str, context: Path, words: list[str]) -> None:
        self("build", "-o", f"type=docker,dest={archive}", "-t", name, *words, context)


class Docker(Builder):
    """The client of a docker daemon with BuildKit in it."""

    name = "docker"

    def build(self, name: str, context: Path, words: list[str]) -> None:
        self("build", "--network=host", "--progress=plain", "--no-cache", "-t", name, *words, context)


class Buildah(Builder):
    """Buildah, with a storage of its own."""

    name = "buildah"

    def load(self, archive: Path) -> None:
        self("pull", "-q", f"docker-archive:{archive}")

    def build(self, name: str, context: Path, words: list[str]) -> None:
        options = ["--isolation=chroot", "--format=docker", "--network=host", "--identity-label=false", "--pull=never"]
        # Otherwise ones that it may not be able to set.
        options += ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
        self("build", *options, "-t", name, *words, context)

    def build_to(self, archive: Path, name: str, context: Path, words: list[str]) -> None:
        self.build(name, context, words)
        self("push", "-q", name, f"docker-archive:{archive}:{name}:latest")


def _need(*programs: str) -> None:
    needs_root()
    for program in programs:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not installed")


def make_box(installation: Installation, place: Path) -> Path:
    """Import the test image as `box`; return an archive of it, the same image for all builders."""
    (place / "box.tar").write_bytes(image_tar())
    installation("import", "--change", 'CMD ["sh"]', str(place / "box.tar"), "box")
    installation("save", "-o", str(place / "image.tar"), "box")
    return place / "image.tar"


@contextmanager
def start_docker(place: Path, *options: str) -> Iterator[Docker]:
    """Run a docker daemon of the test's own; nothing of it is left afterwards. `place` has a short name: of sockets.

    Its images are in docker's older store, whose layers are what overlayfs has noted, as ours are; that of containerd
    compares trees instead and loses hard links. But the older one cannot merge: COPY --link is a COPY there.
    """
    _need("docker")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("DOCKER", "BUILD"))},
        "DOCKER_CONFIG": f"{place}/config",
        "DOCKER_BUILDKIT": "1",
        "BUILDX_CONFIG": f"{place}/buildx",
    }
    if subprocess.run(["docker", "buildx", "version"], capture_output=True, env=environment).returncode:
        pytest.skip("docker-buildx is not installed")
    with dockerdaemon.running(place, *options) as address:
        yield Docker(["docker"], {**environment, "DOCKER_HOST": address})


def make_buildah(place: Path) -> Buildah:
    """Return a buildah that keeps all it has below `place`."""
    _need("buildah")
    words = ["buildah", "--root", f"{place}/root", "--runroot", f"{place}/run", "--storage-driver", "overlay"]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("BUILDAH", "CONTAINERS"))},
        # Its cache of tried blobs is not below --root.
        "HOME": str(place),
        "XDG_DATA_HOME": f"{place}/data",
        "TMPDIR": str(place),
    }
    client = Buildah(words, environment)
    try:
        client("images")
    except BuildFailed as error:
        pytest.skip(f"buildah does not start here: {str(error)[:300]}")
    return client


# Fixtures, for those who import them


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with a short name, as paths of sockets are short."""
    needs_root()
    with tempfile.TemporaryDirectory(prefix="ul-built-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def installation(place: Path) -> Iterator[Installation]:
    made = Installation(place / "ul")
    yield made
    made.clean()


@pytest.fixture(scope="module")
def box(installation: Installation, place: Path) -> Path:
    """The archive of the base image, which every builder has as `box`."""
    return make_box(installation, place)


@pytest.fixture(scope="module")
def docker(place: Path, box: Path) -> Iterator[Docker]:
    (place / "d").mkdir()
    with start_docker(place / "d") as client:
        client.load(box)
        yield client


@pytest.fixture(scope="module")
def buildah(place: Path, box: Path) -> Buildah:
    (place / "b").mkdir()
    client = make_buildah(place / "b")
    client.load(box)
    return client
