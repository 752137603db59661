"""Fixtures of the system tests: an installation with the test image, cleaned and checked afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildcases import Builder
from engines import Installation, image_tar, needs_root
from fakeregistry import FakeRegistry
from machines import DRIVERS, Driver, give_kernels, needs_machines
from remoteimages import Image, image, random_tar, small_tar
from visitors import Visitor


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation as root with the image `box`; when the module is done nothing may be left on the host."""
    needs_root()
    place = tmp_path_factory.mktemp("ul")
    installation = Installation(place)
    archive = place / "box.tar"
    archive.write_bytes(image_tar())
    installation("import", "--change", 'CMD ["sh"]', str(archive), "box")
    yield installation
    installation.clean()


@pytest.fixture(autouse=True)
def no_containers_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove what a test has left running, so that it cannot trouble the next one."""
    yield
    if "ul" in request.fixturenames:
        installation = request.getfixturevalue("ul")
        ids = installation.out("ps", "-aq").split()
        if ids:
            installation("rm", "-f", *ids, code=None)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory that stands for the host: a token in a file, and everything about it checked afterwards."""
    place = tmp_path / "canary"
    place.mkdir(mode=0o700)
    (place / "secret").write_text("canary-token-7341\n")
    before = sorted((p.name, p.stat().st_mode, p.stat().st_mtime_ns, p.read_bytes()) for p in place.iterdir())
    yield place
    after = sorted((p.name, p.stat().st_mode, p.stat().st_mtime_ns, p.read_bytes()) for p in place.iterdir())
    assert after == before
    assert place.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def builder(ul: Installation, tmp_path: Path) -> Builder:
    """What builds with the module's installation."""
    return Builder(ul, tmp_path)


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    """Somebody with a home and settings of his own, who talks to registries."""
    return Visitor(tmp_path)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels of a store, for machines."""
    return needs_machines(tmp_path_factory)


@pytest.fixture(scope="module")
def machine(kernels: Path, ul: Installation) -> Installation:
    """The module's installation, with a kernel for machines."""
    give_kernels(ul, kernels)
    return ul


@pytest.fixture(scope="module", params=DRIVERS)
def driver(request: pytest.FixtureRequest, ul: Installation) -> Driver:
    """What runs containers, in one way and the other."""
    if request.param == "machine":
        request.getfixturevalue("machine")
    return Driver(ul, request.param)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry that does what it is told."""
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture(scope="module")
def made() -> Image:
    """An image of two small layers."""
    return image([small_tar(), random_tar(300_000, 1)])
