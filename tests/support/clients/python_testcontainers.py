"""A session of testcontainers for Python, with its reaper: the process ends without removing what it has made.

Its standard output is a JSON object of the names that it has made.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path

from testcontainers.compose import DockerCompose
from testcontainers.core.container import DockerContainer, ExecConfig
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (
    CompositeWaitStrategy,
    ExecWaitStrategy,
    HealthcheckWaitStrategy,
    LogMessageWaitStrategy,
    PortWaitStrategy,
)

SERVER = "echo before; echo ready to serve; exec nc -ll -p 7000 -e echo served"


def _said(container: DockerContainer, port: int) -> bytes:
    address = (container.get_container_host_ip(), container.get_exposed_port(port))
    with socket.create_connection(address, 10) as connection:
        return connection.makefile("rb").read()


def _containers(place: Path) -> str:
    server = (
        DockerContainer("box")
        .with_command(["sh", "-c", SERVER])
        .with_exposed_ports(7000)
        .with_env("WORD", "said")
        .with_volume_mapping(place, "/shared", "ro")
        .with_tmpfs_mount("/scratch", "size=16m")
        .with_copy_into_container(b"before the start\n", "/before")
        .waiting_for(
            CompositeWaitStrategy(
                LogMessageWaitStrategy("ready to serve"),
                PortWaitStrategy(7000),
                ExecWaitStrategy(["test", "-e", "/before"]),
            )
        )
        .start()
    )
    assert _said(server, 7000) == b"served\n"
    assert server.get_logs() == (b"before\nready to serve\n", b"")
    found = server.exec(["sh", "-c", "cat /before /shared/file; echo $WORD; df /scratch | grep -c tmpfs; exit 3"])
    assert found.exit_code == 3 and found.output == b"before the start\nof the host\nsaid\n1\n", found
    found = server.exec(ExecConfig("sh -c 'pwd; id -u; echo $A'", "alice", {"A": "b"}, "/tmp"))
    assert found.output == b"/tmp\n1000\nb\n"
    server.copy_into_container(place / "file", "/later/file")
    assert server.exec("cat /later/file").output == b"of the host\n"
    server.copy_from_container("/later/file", place / "back")
    assert (place / "back").read_text() == "of the host\n"
    facts = server.get_container_info()
    assert facts is not None and facts.State is not None and facts.State.Running
    return server.get_container_id()


def _networks() -> list[str]:
    network = Network().create()
    first = DockerContainer("box", network=network, network_aliases=["first"])
    first.with_command(["sh", "-c", "echo up; exec nc -ll -p 7000 -e echo served"])
    first.waiting_for(LogMessageWaitStrategy("up")).start()
    second = DockerContainer("box", network=network).with_command("sleep 600").start()
    assert second.exec("nc first 7000").output == b"served\n"
    checked = DockerContainer("box", healthcheck={"test": ["CMD", "true"], "interval": 200_000_000})
    checked.with_command("sleep 600").waiting_for(HealthcheckWaitStrategy()).start()
    with DockerContainer("box").with_command("false") as ended:
        assert ended.wait() == 1
    assert network.id is not None
    return [network.id, first.get_container_id(), second.get_container_id(), checked.get_container_id()]


def _images(place: Path) -> None:
    (place / "Dockerfile").write_text("FROM box\nARG WORD=none\nRUN echo $WORD > /word\nCMD cat /word\n")
    with DockerImage(place, tag="from-testcontainers:1", buildargs={"WORD": "built"}) as image:
        with DockerContainer(str(image)) as container:
            assert container.wait() == 0 and container.get_logs()[0] == b"built\n"


def _compose(place: Path) -> None:
    (place / "compose.yaml").write_text(
        "services:\n"
        "  web: {image: box, command: nc -ll -p 7000 -e echo served, ports: ['7000'], stop_grace_period: 0s}\n"
        "  other: {image: box, command: sh -c 'echo up; exec sleep 600', stop_grace_period: 0s}\n"
    )
    with DockerCompose(place) as project:
        address = project.get_service_host_and_port("web", 7000)
        assert address[0] and address[1]
        with socket.create_connection((address[0], int(address[1])), 10) as connection:
            assert connection.makefile("rb").read() == b"served\n"
        assert project.exec_in_container(["nc", "web", "7000"], "other") == ("served\n", "", 0)
        assert "up" in project.get_logs("other")[0]
        assert len(project.get_containers()) == 2


def main() -> None:
    """Do what a test suite does, in a directory that is given, and be gone."""
    place = Path(sys.argv[1])
    (place / "file").write_text("of the host\n")
    made = {"server": _containers(place), "others": _networks()}
    _images(place)
    if shutil.which("docker-compose"):
        _compose(place)
    print(json.dumps(made), flush=True)
    os._exit(0)


main()
