"""Engines that serve docker's API, ours and docker's own, each in a network namespace in which its clients run too."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import apiserver
import dockerdaemon
from engines import BUSYBOX, REPOSITORY, image_tar, until
from networks import World, world

__all__ = ["served", "world"]  # fixtures

SCRIPTS = REPOSITORY / "tests" / "support" / "clients"
# The reaper that testcontainers starts beside its containers: what the libraries for Python and for Node ask for.
REAPERS = ("testcontainers/ryuk:0.8.1", "testcontainers/ryuk:0.14.0")


class Served:
    """An engine with docker's API, and how its clients are run."""

    def __init__(self, name: str, address: str, namespace: Path, place: Path) -> None:
        self.name = name
        self.address = address
        self.namespace = namespace
        home = place / "home"
        home.mkdir()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DOCKER", "TESTCONTAINERS"))},
            "DOCKER_HOST": address,
            "DOCKER_CONFIG": str(home / ".docker"),
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
            "HOME": str(home),
        }

    def client(self, *words: str | Path, code: int | None = 0, timeout: float = 60, input: str = "") -> str:
        """Run a client where the engine's network is; returns its output without the last newline."""
        command = ["nsenter", f"--net={self.namespace}", *map(str, words)]
        done = subprocess.run(
            command, env=self.environment, input=input, capture_output=True, text=True, timeout=timeout, check=False
        )
        if code is not None and done.returncode != code:
            pytest.fail(f"{command[2:]}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
        return done.stdout.rstrip("\n")

    def docker(self, *words: str, code: int | None = 0) -> str:
        """Run docker's command line."""
        return self.client("docker", *words, code=code)

    def custom_networks(self) -> set[str]:
        """Return the names of the networks that somebody has made."""
        return set(self.docker("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").split())

    def tidy(self) -> None:
        """Remove what tests have left: containers, volumes and the networks that nothing uses."""
        if names := self.docker("ps", "-aq").split():
            self.docker("rm", "-fv", *names, code=None)  # some may be about to remove themselves
        self.docker("volume", "prune", "-af")
        self.docker("network", "prune", "-f")
        assert until(lambda: self.docker("ps", "-aq") == "")


def _import(engine: Served, place: Path) -> None:
    """Give an engine the images `box`, with all programs of busybox, and those of the reaper."""
    box = _box()
    (place / "box.tar").write_bytes(box)
    (place / "reaper.tar").write_bytes(_with_reaper(box))
    engine.docker("import", "--change", 'CMD ["sh"]', str(place / "box.tar"), "box")
    engine.docker("import", "--change", 'CMD ["/bin/reaper"]', str(place / "reaper.tar"), REAPERS[0])
    for name in REAPERS[1:]:
        engine.docker("tag", REAPERS[0], name)


def _box() -> bytes:
    """Return the root file system of the tests with the programs that it lacks, as far as busybox has them."""
    buffer = io.BytesIO(image_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        there = set(tar.getnames())
        for name in subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split():
            if f"bin/{name}" not in there:
                member = tarfile.TarInfo(f"bin/{name}")
                member.type, member.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(member)
    return buffer.getvalue()


def _with_reaper(box: bytes) -> bytes:
    """Return a root file system with our stand-in for ryuk, which speaks to the engine by this host's curl."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl")
    buffer = io.BytesIO(box)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        tar.add(SCRIPTS / "reaper.sh", "bin/reaper")
        tar.add(Path(curl).resolve(), "bin/curl")
        needed = subprocess.run(["ldd", curl], check=True, capture_output=True, text=True).stdout
        for path in dict.fromkeys(re.findall(r"/\S+", needed)):
            tar.add(Path(path).resolve(), path.lstrip("/"))
    return buffer.getvalue()


@contextmanager
def _running(name: str, world: World, place: Path) -> Iterator[tuple[str, Path]]:
    if name == "underlay":
        with apiserver.serving(world.underlay, place / "u.sock") as address:
            yield address, world.place / "host"
    else:
        if not shutil.which("iptables-nft"):
            pytest.skip("no iptables")
        namespace = world.place / "neighbour"
        with dockerdaemon.running(place, inside=namespace) as address:
            yield address, namespace


@pytest.fixture(scope="module", params=["underlay", "dockerd"])
def served(request: pytest.FixtureRequest, world: World) -> Iterator[Served]:
    """One engine after the other, with the images; afterwards it has no containers, volumes and networks."""
    if shutil.which("docker") is None:
        pytest.skip("no docker")
    place = Path(tempfile.mkdtemp(prefix="dk"))
    try:
        with _running(request.param, world, place) as (address, namespace):
            engine = Served(request.param, address, namespace, place)
            _import(engine, place)
            yield engine
            engine.tidy()
    finally:
        shutil.rmtree(place, ignore_errors=True)
