"""docker-compose with projects of a test's own, on our server and on a docker daemon, each in a network of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import apiserver
import dockerdaemon
from engines import until
from networks import World, answering
from underlay.linux.network import netns

ENGINES = ("underlay", "dockerd")


class Host:
    """An engine that docker's clients reach at an address, and the side of the world on whose network it works."""

    def __init__(self, world: World, name: str, address: str, place: Path) -> None:
        self.world = world
        self.name = name
        self.side = "" if name == "underlay" else "neighbour"
        self.environment = {
            **{
                key: value for key, value in os.environ.items() if not key.startswith(("DOCKER", "COMPOSE", "UNDERLAY"))
            },
            "HOME": str(place),
            "DOCKER_CONFIG": str(place / "config"),
            "DOCKER_HOST": address,
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_ANSI": "never",
        }

    def docker(self, *words: str, code: int = 0) -> str:
        """Run docker's command line; returns what it says on both outputs, without the last newline."""
        done = subprocess.run(
            ["docker", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout[-500:], done.stderr[-1500:])
        return (done.stdout + done.stderr).rstrip("\n")

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        """Return what `docker inspect` shows."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *names))
        return found

    def ids(self, *words: str) -> set[str]:
        """Return the ids of all containers, or of those that `words` choose."""
        return set(self.docker("ps", "-aq", "--no-trunc", *words).split())

    def clean(self) -> None:
        """Remove what a project has left."""
        if ids := self.ids():
            self.docker("rm", "-fv", *ids)
        self.docker("network", "prune", "-f")
        self.docker("volume", "prune", "-af")


class Project:
    """A directory with the files of a project, of which the name is `p`."""

    def __init__(self, host: Host, place: Path) -> None:
        self.host = host
        self.place = place
        self.environment = {**host.environment}
        self._servers: list[socket.socket] = []

    def file(self, services: dict[str, Any], name: str = "compose.yaml", **rest: Any) -> None:
        """Write a file for compose, in the form of JSON."""
        self.write(name, json.dumps({"services": services, **rest}))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command of compose; standard error comes with the output."""
        return subprocess.Popen(
            ["docker-compose", "-p", "p", *words],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *words: str, code: int = 0, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of compose; the test fails when its exit code is not `code`."""
        done = subprocess.run(
            ["docker-compose", "-p", "p", *words],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL if input is None else None,
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout[-1000:], done.stderr[-2000:])
        return done

    def out(self, *words: str, code: int = 0) -> str:
        """Run a command of compose; returns its standard output without the last newline."""
        return self(*words, code=code).stdout.rstrip("\n")

    def fails(self, *words: str, code: int = 1) -> str:
        """Run a command of compose that fails with `code`; returns the last line of its standard error."""
        return self(*words, code=code).stderr.rstrip("\n").rpartition("\n")[2]

    def shell(self, service: str, text: str, code: int = 0) -> str:
        """Run a shell's text in a service by `exec -T`; returns its standard output."""
        return self.out("exec", "-T", service, "sh", "-c", text, code=code)

    def see(self, service: str, number: int = 1) -> dict[str, Any]:
        """Return what `docker inspect` shows of a service's container."""
        return self.host.inspect(f"p-{service}-{number}")[0]

    def all_ids(self) -> dict[str, str]:
        """Return the ids of the project's containers by their names."""
        lines = self.host.docker("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
        return {name: id_ for name, id_ in map(str.split, lines) if name.startswith("p-")}

    def listed(self, *words: str) -> dict[str, dict[str, Any]]:
        """Return what `ps --format json` shows, by the names of containers."""
        lines = self.out("ps", "--format", "json", *words).splitlines()
        return {each["Name"]: each for each in map(json.loads, lines)}

    def ask(self, port: int, address: str = "127.0.0.1", udp: bool = False) -> str:
        """Ask a published port from the host of the engine; returns what it says, or the name of an error."""
        said = ""

        def answered() -> bool:
            nonlocal said
            said = self.host.world.ask(self.host.side, address, port, udp)
            return said not in ("ConnectionRefusedError", "ConnectionResetError", "")

        until(answered, 3)
        return said

    def serve(self, service: str, port: int, udp: bool = False) -> None:
        """Serve in a service's container: what asks is told its own address."""
        namespace = os.open(f"/proc/{self.see(service)['State']['Pid']}/ns/net", os.O_RDONLY)
        try:
            self._servers.append(netns.inside(namespace, lambda: answering(port, "0.0.0.0", udp)))
        finally:
            os.close(namespace)

    def close(self) -> None:
        """End what serves: a socket keeps the namespace that it is in."""
        for server in self._servers:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()


def box(*command: str, **more: Any) -> dict[str, Any]:
    """Return a service of the test's image that sleeps, or runs a command, and ends at once when it is told to."""
    return {"image": "box", "command": list(command) or ["sleep", "1000"], "stop_grace_period": "0s", **more}


def shell(text: str, **more: Any) -> dict[str, Any]:
    """Return a service of the test's image that runs a shell's text."""
    return box("sh", "-c", text.replace("$", "$$"), **more)


@contextmanager
def _running(world: World, name: str) -> Iterator[Host]:
    for program in ("docker", "docker-compose"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    place = Path(tempfile.mkdtemp(prefix="cp"))
    try:
        if name == "underlay":
            with apiserver.serving(world.underlay, place / "sock") as address:
                yield Host(world, name, address, place)
        else:
            with dockerdaemon.running(place, inside=world.place / "neighbour") as address:
                made = Host(world, name, address, place)
                made.docker("import", str(world.place / "box.tar"), "box")
                yield made
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module", params=ENGINES)
def host(request: pytest.FixtureRequest, world: World) -> Iterator[Host]:
    """Each of the engines, so that the docker daemon proves the tests of ours."""
    with _running(world, request.param) as made:
        yield made


@pytest.fixture
def project(host: Host, tmp_path: Path) -> Iterator[Project]:
    """An empty project; what it has made is removed afterwards."""
    made = Project(host, tmp_path)
    yield made
    made.close()
    host.clean()
