"""Docker's own clients on our server and on dockerd: commands by the socket, compose, memory at rest, requests a second."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bench import material
from bench.harness import Contender, Result, race
from bench.networks import bridged_docker, namespace
from bench.setting import UNDERLAY

if TYPE_CHECKING:
    from bench.setting import Setting

_LISTED = 100  # containers for `docker ps`
_FEW = 20  # containers for requests a second
_SECONDS = 3.0  # of requests in one round
_PROJECT = """
services:
%s
"""
_SERVICE = "  s%d: {image: 'bench:1', command: [sleep, '600'], stop_grace_period: 0s}\n"


@contextmanager
def served(setting: Setting, prefix: list[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run our server in a network namespace; gives its address and its process."""
    path = setting.scratch / "u.sock"
    environment = {**os.environ, **setting.ours}
    command = [*prefix, UNDERLAY, "serve", "-H", f"unix://{path}"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1000):
            if path.exists():
                break
            time.sleep(0.01)
        yield f"unix://{path}", process
    finally:
        process.terminate()
        process.wait()


def clients(setting: Setting, rounds: int) -> tuple[list[Result], list[str]]:
    """The same commands of docker and docker-compose with both servers on bridges; returns results and notes."""
    archive = material.layered(setting.scratch, setting.base, 1)
    setting.load(archive)
    results: list[Result] = []
    notes: list[str] = []
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(namespace(setting.scratch, f"api-{name}")) for name in ("ours", "docker"))
        address, server = stack.enter_context(served(setting, ours))
        docker = bridged_docker(setting.scratch, theirs)
        stack.callback(docker.stop)
        problem = docker.start()
        sides = {"underlay": {"DOCKER_HOST": address}}
        if problem:
            print(f"  without dockerd: {problem}")
        else:
            docker.run("load", "-q", "-i", str(archive))
            sides["dockerd"] = docker.environment
        notes += _at_rest(server, docker.process)

        def contest(job: str, *words: str, before: tuple[str, ...] = ()) -> None:
            contenders = []
            for name, environment in sides.items():
                first = (lambda e=environment: _quietly(before, e)) if before else None
                contenders.append(Contender(name, list(words), first, environment))
            results.append(race(job, contenders, rounds))

        run = ("docker", "run", "--rm", "bench:1", "true")
        contest("docker run --rm IMAGE true", *run)
        contest("docker run --rm --network none IMAGE true", *run[:3], "--network", "none", *run[3:])
        project = setting.scratch / "compose.yaml"
        project.write_text(_PROJECT % "".join(_SERVICE % number for number in range(5)))
        compose = ("docker-compose", "-p", "bench", "-f", str(project))
        contest("compose up -d, 5 services", *compose, "up", "-d", before=(*compose, "down", "-t", "0"))
        contest("compose down, 5 services", *compose, "down", "-t", "0", before=(*compose, "up", "-d"))
        notes += _requests(setting, sides, rounds)
        for environment in sides.values():
            for _ in range(_LISTED - _FEW):
                _quietly(("docker", "create", "bench:1", "true"), environment)
        contest(f"docker ps -a, {_LISTED} containers", "docker", "ps", "-a")
        for environment in sides.values():
            names = subprocess.run(
                ["docker", "ps", "-aq"], env={**os.environ, **environment}, capture_output=True, text=True, check=False
            ).stdout.split()
            _quietly(("docker", "rm", "-f", *names), environment)
    return results, notes


def _quietly(words: tuple[str, ...], environment: dict[str, str]) -> None:
    subprocess.run(words, env={**os.environ, **environment}, capture_output=True, check=True)


def _at_rest(server: subprocess.Popen[bytes], daemon: subprocess.Popen[bytes] | None) -> list[str]:
    """Return what the servers take of memory when nobody asks: their own pages, and their share of others."""
    ours = _memory(server.pid)
    theirs = _memory(daemon.pid) if daemon is not None and daemon.poll() is None else 0
    return [
        f"memory at rest, with all their processes: underlay {ours / 1e6:.1f} MB, dockerd {theirs / 1e6:.1f} MB (Pss)"
    ]


def _memory(pid: int) -> int:
    """Return the bytes of a process and of those that it has started (proc_pid_smaps(5), "Pss")."""
    time.sleep(2)
    total = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        total += 1024 * int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))
        for task in Path(f"/proc/{one}/task").iterdir():
            waiting += [int(child) for child in (task / "children").read_text().split()]
    return total


def _requests(setting: Setting, sides: dict[str, dict[str, str]], rounds: int) -> list[str]:
    """Return how many requests for the list of containers are answered in a second, over one connection."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for environment in sides.values():
        for _ in range(_FEW):
            _quietly(("docker", "create", "bench:1", "true"), environment)
    for _ in range(min(rounds, 5)):
        for name, environment in sides.items():
            rates[name].append(_rate(environment["DOCKER_HOST"].removeprefix("unix://")))
    shown = ", ".join(f"{name} {statistics.median(found):.0f}" for name, found in rates.items())
    return [f"/containers/json?all=1 with {_FEW} containers, requests a second over one connection: {shown}"]


def _rate(path: str) -> float:
    request = b"GET /v1.45/containers/json?all=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        stream = connection.makefile("rb")
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < _SECONDS:
            connection.sendall(request)
            _answer(stream)
            count += 1
        return count / (time.perf_counter() - begun)


def _answer(stream: BinaryIO) -> None:
    """Read one answer, whose body has a length or comes in chunks."""
    length = -1
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if length >= 0:
        stream.read(length)
        return
    while size := int(stream.readline(), 16):
        stream.read(size + 2)
    stream.readline()
