"""Containers on bridges: starts beside docker and podman, and what goes through a bridge and a published port.

All of them run in network namespaces of their own, so that the host keeps its rules.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import material, rivals
from bench.harness import Contender, Result, race
from bench.setting import UNDERLAY

if TYPE_CHECKING:
    from bench.setting import Setting

_BYTES = 1 << 30
_PIECE = 1 << 17
_NETWORKS = 40
_RIVALS = ("underlay", "docker", "podman")
_SECONDS = 2.0  # of connecting in one round


@contextmanager
def namespace(place: Path, name: str) -> Iterator[list[str]]:
    """Make a network namespace; gives the words that run a command in it."""
    path = place / f"net-{name}"
    path.touch()
    subprocess.run(["unshare", f"--net={path}", "ip", "link", "set", "lo", "up"], check=True)
    try:
        yield ["nsenter", f"--net={path}"]
    finally:
        subprocess.run(["umount", path], check=False)


def bridged_docker(scratch: Path, prefix: list[str]) -> rivals.Docker:
    """Return a dockerd with its default bridge and firewall, in a namespace."""
    (scratch / "bridged").mkdir(exist_ok=True)
    return rivals.Docker(scratch / "bridged", prefix)


def network(setting: Setting, rounds: int) -> list[Result]:
    """`run --rm IMAGE true` on the default bridge, with and without a published port."""
    archive = material.layered(setting.scratch, setting.base, 1)
    setting.load(archive)
    found = []
    with namespace(setting.scratch, "ours") as ours, namespace(setting.scratch, "docker") as theirs:
        docker = bridged_docker(setting.scratch, theirs)
        problem = docker.start()
        try:
            if problem:
                print(f"  without docker on a bridge: {problem}")
            else:
                docker.run("load", "-q", "-i", str(archive))
            with namespace(setting.scratch, "podman") as pod:
                for job, words in (("start on a bridge", []), ("start on a bridge, -p 8080:80", ["-p", "8080:80"])):
                    options = ["run", "--rm", *words]
                    contenders = [
                        Contender("underlay", [*ours, UNDERLAY, *options, "bench:1", "true"], None, setting.ours)
                    ]
                    if not problem:
                        environment = docker.environment
                        contenders.append(
                            Contender("docker", ["docker", *options, "bench:1", "true"], None, environment)
                        )
                    if setting.podman:
                        command = [*pod, *setting.podman, *options, "localhost/bench:1", "true"]
                        contenders.append(Contender("podman", command))
                    found.append(race(job, contenders, rounds))
        finally:
            docker.stop()
    return found


def many(setting: Setting, rounds: int) -> list[Result]:
    """`run -d` of a container in forty networks, which removes it again in front of each round."""
    archive = material.layered(setting.scratch, setting.base, 1)
    setting.load(archive)
    found = []
    with ExitStack() as stack:
        ours, theirs, pod = (
            stack.enter_context(namespace(setting.scratch, f"many-{name}")) for name in ("ours", "docker", "podman")
        )
        sides = [("underlay", [*ours, UNDERLAY], setting.ours, "bench:1")]
        docker = bridged_docker(setting.scratch, theirs)
        stack.callback(docker.stop)
        problem = docker.start()
        if not problem:
            docker.run("load", "-q", "-i", str(archive))
            sides.append(("docker", ["docker"], docker.environment, "bench:1"))
        if setting.podman:
            sides.append(("podman", [*pod, *setting.podman], {}, "localhost/bench:1"))
        names = [f"many{number}" for number in range(_NETWORKS)]
        contenders = []
        for name, command, environment, image in sides:
            surroundings = {**os.environ, **environment}

            def call(*words: str, command: list[str] = command, surroundings: dict[str, str] = surroundings) -> None:
                subprocess.run([*command, *words], env=surroundings, check=False, capture_output=True)

            for number, network_name in enumerate(names):
                call("network", "create", "--subnet", f"10.60.{number}.0/24", network_name)  # docker's own are too few
            stack.callback(lambda call=call: call("network", "rm", *names))
            options = [word for network_name in names for word in ("--network", network_name)]
            start = [*command, "run", "-d", "--name", "many", *options, image, "sleep", "600"]
            remove = partial(call, "rm", "-f", "many")
            stack.callback(remove)
            contenders.append(Contender(name, start, remove, environment))
        found.append(race(f"start in {_NETWORKS} networks", contenders, rounds))
    return found


def connections(setting: Setting, rounds: int) -> list[str]:
    """How many connections a second a neighbour of the host makes to a container by a published port, one at a time."""
    archive = material.layered(setting.scratch, setting.base, 1)
    setting.load(archive)
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(namespace(setting.scratch, f"calls-{name}")) for name in _RIVALS}
        sides = [("underlay", [*hosts["underlay"], UNDERLAY], setting.ours, "bench:1")]
        docker = bridged_docker(setting.scratch, hosts["docker"])
        stack.callback(docker.stop)
        if not docker.start():
            docker.run("load", "-q", "-i", str(archive))
            sides.append(("docker", ["docker"], docker.environment, "bench:1"))
        if setting.podman:
            sides.append(("podman", [*hosts["podman"], *setting.podman], {}, "localhost/bench:1"))
        ready = []
        for name, command, environment, image in sides:
            surroundings = {**os.environ, **environment}

            def call(*words: str, command: list[str] = command, surroundings: dict[str, str] = surroundings) -> str:
                done = subprocess.run([*command, *words], env=surroundings, check=True, capture_output=True, text=True)
                return done.stdout.strip()

            neighbour = stack.enter_context(namespace(setting.scratch, f"near-{name}"))
            _join(setting.scratch / f"net-calls-{name}", neighbour)
            call("run", "-d", "--name", "calls", "-p", "5202:5202", image, "sleep", "600")
            stack.callback(lambda call=call: call("rm", "-f", "calls"))
            ready.append((name, neighbour, call("inspect", "-f", "{{.State.Pid}}", "calls")))
        for _ in range(rounds):
            for name, neighbour, pid in ready:
                rates.setdefault(name, []).append(_calls(neighbour, pid))
    return [
        f"connections a second by a published port with {name}: {statistics.median(found):.0f}"
        for name, found in rates.items()
    ]


def _join(host: Path, neighbour: list[str]) -> None:
    """Link a neighbour to a host: the namespace at a path."""
    for words in (
        ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(host)],
        ["ip", "addr", "add", "192.0.2.2/24", "dev", "eth0"],
        ["ip", "link", "set", "eth0", "up"],
    ):
        subprocess.run([*neighbour, *words], check=True)
    for words in (["ip", "addr", "add", "192.0.2.1/24", "dev", "eth0"], ["ip", "link", "set", "eth0", "up"]):
        subprocess.run(["nsenter", f"--net={host}", *words], check=True)


def _calls(neighbour: list[str], pid: str) -> float:
    """Connect again and again to a server in the namespace of process `pid`; returns connections a second."""
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    ready = threading.Event()

    def serve() -> None:
        _enter(there)
        server = socket.create_server(("", 5202), backlog=128)
        ready.set()
        while True:
            client, _ = server.accept()
            said = client.recv(1)
            client.close()
            if said == b"x":
                break
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    code = (
        "import socket, time\n"
        "def call(what):\n"
        "    client = socket.create_connection(('192.0.2.1', 5202))\n"
        "    client.sendall(what)\n"
        "    client.recv(1)\n"
        "    client.close()\n"
        f"began, made = time.perf_counter(), 0\n"
        f"while time.perf_counter() < began + {_SECONDS}:\n"
        "    call(b'.')\n"
        "    made += 1\n"
        "print(made / (time.perf_counter() - began))\n"
        "call(b'x')\n"
    )
    done = subprocess.run([*neighbour, sys.executable, "-c", code], check=True, capture_output=True, text=True)
    thread.join()
    os.close(there)
    return float(done.stdout)


def throughput(setting: Setting, rounds: int) -> list[str]:
    """How fast a container sends to the host's namespace, directly and by a published port, for us and for docker."""
    archive = material.layered(setting.scratch, setting.base, 1)
    setting.load(archive)
    notes = []
    with namespace(setting.scratch, "flow") as ours, namespace(setting.scratch, "flow-docker") as theirs:
        docker = bridged_docker(setting.scratch, theirs)
        problem = docker.start()
        if not problem:
            docker.run("load", "-q", "-i", str(archive))
        try:
            sides = [("underlay", ours, [*ours, UNDERLAY], setting.ours, "{{.NetworkSettings.IPAddress}}")]
            if not problem:
                address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
                sides.append(("docker", theirs, ["docker"], docker.environment, address))
            for name, prefix, command, environment, template in sides:
                notes.append(_flow(name, prefix, command, environment, template, rounds))
        finally:
            docker.stop()
    return notes


def _flow(
    name: str, prefix: list[str], command: list[str], environment: dict[str, str], template: str, rounds: int
) -> str:
    surroundings = {**os.environ, **environment}

    def told(*words: str) -> str:
        done = subprocess.run([*command, *words], env=surroundings, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    with open(os.devnull, "wb") as nothing:
        words = [*command, "run", "-d", "--name", "flow", "-p", "5201:5201", "bench:1", "sleep", "600"]
        subprocess.run(words, env=surroundings, check=True, stdout=nothing)
    pid = told("inspect", "-f", "{{.State.Pid}}", "flow")
    address = told("inspect", "-f", template, "flow")
    figures = {}
    for way, target in (("across the bridge", address), ("by the published port", "127.0.0.1")):
        figures[way] = statistics.median(_once(prefix, pid, target) for _ in range(max(3, rounds // 5)))
    subprocess.run([*command, "rm", "-f", "flow"], env=surroundings, check=True, stdout=subprocess.DEVNULL)
    words = [f"{rate * 8 / 1e9:.1f} Gbit/s {way}" for way, rate in figures.items()]
    return f"from the host to a container with {name}: {', '.join(words)}"


def _once(prefix: list[str], pid: str, target: str) -> float:
    """Send a gibibyte to a server in the namespace of process `pid`; returns bytes a second."""
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    ready = threading.Event()

    def serve() -> None:
        _enter(there)
        server = socket.create_server(("", 5201))
        ready.set()
        client, _ = server.accept()
        buffer = bytearray(_PIECE)
        while client.recv_into(buffer):
            pass
        client.close()
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    code = (
        "import socket, time\n"
        f"client = socket.create_connection(({target!r}, 5201))\n"
        f"piece, left = bytes({_PIECE}), {_BYTES}\n"
        "began = time.perf_counter()\n"
        "while left > 0:\n"
        "    left -= client.send(piece)\n"
        "client.shutdown(socket.SHUT_WR)\n"
        "client.recv(1)\n"
        "print(time.perf_counter() - began)\n"
    )
    done = subprocess.run([*prefix, sys.executable, "-c", code], check=True, capture_output=True, text=True)
    thread.join()
    os.close(there)
    return _BYTES / float(done.stdout)


def _enter(namespace_fd: int) -> None:
    """Have this thread enter a network namespace."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(namespace_fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")
