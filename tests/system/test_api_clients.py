"""Docker's clients, unchanged, on our server: its command line, its Python library, docker-compose."""

from __future__ import annotations

import gc
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import apiserver
from apiserver import place
from engines import Installation, image_tar, needs_root, until
from fakeregistry import FakeRegistry
from persons import Person
from remoteimages import image

__all__ = ["place"]  # a fixture
pytestmark = pytest.mark.root


@pytest.fixture
def address(ul: Installation, place: Path) -> Iterator[str]:
    needs_root()
    ul.environment.pop("UNDERLAY_NETWORK", None)
    with apiserver.serving(ul, place / "sock") as at:
        yield at


class Docker(Installation):
    """Docker's command line, with our server."""

    def __init__(self, ul: Installation, address: str, place: Path) -> None:
        self.command = [shutil.which("docker") or "docker"]
        self.environment = {
            **ul.environment,
            "DOCKER_HOST": address,
            "DOCKER_CONFIG": str(place / "config"),
            "DOCKER_BUILDKIT": "0",
        }


@pytest.fixture
def docker(ul: Installation, address: str, place: Path) -> Docker:
    if shutil.which("docker") is None:
        pytest.skip("no docker")
    return Docker(ul, address, place)


def test_terminals_and_detaching(docker: Docker) -> None:
    person = Person(docker, "run", "-it", "--rm", "box", "sh", rows=33, columns=99)
    person.wait_for(b"# ")
    person.type(b"tty; stty size\r")
    person.wait_for(b"33 99")
    person.type(b"exit 4\r")
    assert person.end() == 4
    person = Person(docker, "run", "-it", "--name", "left", "box", "sh")
    person.wait_for(b"# ")
    person.type(b"\x10\x11")
    assert person.end() == 0
    person = Person(docker, "exec", "-it", "left", "sh", rows=20, columns=50)
    person.wait_for(b"# ")
    person.type(b"stty size\r")
    person.wait_for(b"20 50")
    person.type(b"exit 3\r")
    assert person.end() == 3
    person = Person(docker, "attach", "left")
    person.type(b"echo re$((1+1))\r")
    person.wait_for(b"re2")
    person.type(b"exit 6\r")
    assert person.end() == 6


def test_input_and_output_are_whole(docker: Docker) -> None:
    """Large ones, both ways at once, and the end of the input."""
    data = os.urandom(3 << 20)
    assert docker("run", "--rm", "-i", "box", "cat", input=data).stdout == data
    name = docker.out("run", "-d", "box", "sleep", "600")
    assert docker("exec", "-i", name, "cat", input=data).stdout == data
    done = docker("run", "--rm", "box", "sh", "-c", "echo out; echo err >&2; exit 9", code=9)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    for _ in range(20):
        assert docker.out("run", "--rm", "box", "echo", "short") == "short"


def test_what_one_does_the_other_sees(docker: Docker, ul: Installation) -> None:
    """A container that is attached to and waited for, and that our command line starts and ends; no server is needed."""
    created = docker.out("create", "--name", "shared", "-i", "box", "sh", "-c", "echo ours; sleep 600")
    waiting = subprocess.Popen(
        [*docker.command, "start", "-a", "shared"], env=docker.environment, stdout=subprocess.PIPE
    )
    assert waiting.stdout is not None and waiting.stdout.readline() == b"ours\n"
    assert ul.out("ps", "--no-trunc", "-q") == created
    ul("stop", "-t", "0", "shared")
    assert waiting.wait(30) == 137
    waiting.stdout.close()
    ul("start", "shared")
    assert docker.out("inspect", "-f", "{{.State.Running}}", "shared") == "true"
    waiter = subprocess.Popen([*docker.command, "wait", "shared"], env=docker.environment, stdout=subprocess.PIPE)
    ul("kill", "shared")
    assert waiter.communicate(timeout=30)[0] == b"137\n"


def test_files_and_images(docker: Docker, ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("copied\n")
    docker("create", "--name", "files", "box", "sleep", "600")
    docker("cp", str(tmp_path / "file"), "files:/tmp/")
    docker("start", "files")
    assert docker.out("exec", "files", "cat", "/tmp/file") == "copied"
    docker("cp", "files:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "copied\n"
    assert "A /tmp/file" in docker.out("diff", "files")
    docker("cp", "files:/nothere", str(tmp_path), code=1)
    image = docker.out("commit", "-c", "ENV K=v", "files", "committed:1")
    assert ul.out("run", "--rm", "committed:1", "sh", "-c", "cat /tmp/file; echo $K") == "copied\nv"
    docker("save", "-o", str(tmp_path / "saved.tar"), "committed:1")
    docker("rm", "-f", "files")
    docker("rmi", "committed:1")
    assert "committed:1" in docker.out("load", "-i", str(tmp_path / "saved.tar"))
    assert docker.out("inspect", "-f", "{{.Id}}", "committed:1") == image
    (tmp_path / "Dockerfile").write_text("FROM committed:1\nARG WORD\nRUN echo $WORD > /word\n")
    docker("build", "-q", "-t", "built", "--build-arg", "WORD=said", str(tmp_path))
    assert docker.out("run", "--rm", "built", "cat", "/word") == "said"
    (tmp_path / "Dockerfile").write_text("FROM committed:1\nRUN exit 5\n")
    assert b"'/bin/sh -c exit 5' returned a non-zero code: 5" in docker("build", str(tmp_path), code=5).stderr


def test_pull_of_one_tag_and_of_all(docker: Docker, ul: Installation) -> None:
    with FakeRegistry() as registry:
        name = registry.add(image([image_tar()]), "team/app", "1", "2", "latest").rpartition(":")[0]

        def tags() -> list[str]:
            return sorted(ul.out("images", "--format", "{{.Tag}}", name).split())

        assert docker.out("pull", "-q", name) == f"{name}:latest" and tags() == ["latest"]
        assert f"Status: Downloaded newer image for {name}" in docker.out("pull", "-a", name)
        assert tags() == ["1", "2", "latest"]
        docker("rmi", "-f", *(f"{name}:{tag}" for tag in tags()))


COMPOSE = """
services:
  db:
    image: box
    command: ["sh", "-c", "sleep 0.3; touch /ready; exec sleep 1000"]
    healthcheck: {test: ["CMD", "test", "-f", "/ready"], interval: 300ms, timeout: 2s, retries: 20}
    volumes: ["data:/data"]
    networks: {back: {aliases: [database]}}
    stop_grace_period: 0s
  init: {image: box, command: ["true"]}
  web:
    build: app
    depends_on:
      db: {condition: service_healthy}
      init: {condition: service_completed_successfully}
    networks: [back, front]
    environment: {A: "1"}
    secrets: [token]
    configs: [{source: conf, target: /etc/conf}]
    stop_grace_period: 0s
  extra: {image: box, command: ["sleep", "1000"], profiles: [more], stop_grace_period: 0s}
networks: {back: {}, front: {internal: true}}
volumes: {data: {}}
secrets: {token: {file: ./token}}
configs: {conf: {content: "configured"}}
"""


def test_compose(ul: Installation, tmp_path: Path) -> None:
    """By `underlay compose`, which has a server for each command alone."""
    needs_root()
    if shutil.which("docker-compose") is None:
        pytest.skip("no docker-compose")
    ul.environment.pop("UNDERLAY_NETWORK", None)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text('FROM box\nRUN echo built > /built\nCMD ["sleep", "1000"]\n')
    (tmp_path / "token").write_text("s3cret")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    words = ("compose", "-p", "project", "-f", str(tmp_path / "compose.yaml"))
    ul(*words, "up", "-d")
    names = {name: ul.out("inspect", "-f", "{{.Id}}", f"project-{name}-1") for name in ("db", "web", "init")}
    assert ul.out("inspect", "-f", "{{.State.Health.Status}}", "project-db-1") == "healthy"
    shown = ul.out(*words, "exec", "-T", "web", "sh", "-c", "cat /run/secrets/token /etc/conf /built; echo $A")
    assert shown == "s3cretconfiguredbuilt\n1"
    ul(*words, "exec", "-T", "web", "busybox", "nslookup", "database")
    ul(*words, "up", "-d")
    assert names == {name: ul.out("inspect", "-f", "{{.Id}}", f"project-{name}-1") for name in names}
    assert "project-extra" not in ul.out("ps", "-a")
    ul(*words, "--profile", "more", "up", "-d", "--scale", "extra=2", "extra")
    assert "project-extra-2" in ul.out("ps")
    assert ul.out(*words, "run", "--rm", "init", "echo", "ran").endswith("ran")
    ul(*words, "--profile", "more", "down", "-v")
    assert ul.out("ps", "-aq") == "" and "project" not in ul.out("volume", "ls") + ul.out("network", "ls")


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    docker = pytest.importorskip("docker")
    made = docker.DockerClient(base_url=address)
    yield made
    made.close()
    gc.collect()  # what the library leaves is to fall upon no other test


def test_python_library_containers(client: Any) -> None:
    docker = pytest.importorskip("docker")
    based = client.containers.create("box", ["true"])
    based.commit("with-command", changes='ENTRYPOINT ["false"]\nCMD ["echo", "of the image"]')
    based.remove()
    assert client.ping() and client.version()["Platform"]["Name"] == "underlay"
    assert client.containers.run("box", ["echo", "hello"], remove=True) == b"hello\n"
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run("box", "sh -c 'echo bad >&2; exit 3'", remove=True)
    assert caught.value.exit_status == 3 and caught.value.stderr == b"bad\n"
    made = client.containers.run("box", "sleep 600", detach=True, name="lib", labels={"k": "v"}, environment={"A": "1"})
    assert made.exec_run("sh -c 'echo $A; exit 7'") == (7, b"1\n")
    assert made.exec_run("sh -c 'echo o; echo e >&2'", demux=True).output == (b"o\n", b"e\n")
    _, stream = made.exec_run("cat", stdin=True, socket=True)
    stream._sock.sendall(b"typed\n")
    stream._sock.shutdown(socket.SHUT_WR)
    received = b""
    while piece := stream._sock.recv(100):
        received += piece
    assert received.endswith(b"typed\n")
    # With its answer, which would complain of a closed file when it is collected, during another test.
    stream._response.close()
    stream.close()
    assert [c.id for c in client.containers.list(filters={"label": "k=v"})] == [made.id]
    assert client.containers.list(filters={"label": "k=w"}) == []
    with pytest.raises(docker.errors.APIError) as refused:
        client.containers.list(filters={"colour": "red"})
    assert refused.value.status_code == 400
    made.rename("renamed")
    made.pause()
    made.unpause()
    made.update(cpu_shares=99)
    assert made.top()["Processes"] and made.stats(stream=False)["pids_stats"]["current"] == 1
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("put")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert made.put_archive("/tmp", archive.getvalue())
    data, facts = made.get_archive("/tmp/put")
    assert facts["name"] == "put" and facts["size"] == 3
    with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as tar:
        assert tar.getnames() == ["put"]
    made.stop(timeout=0)
    assert made.wait()["StatusCode"] == 137
    plain = client.containers.create("with-command", entrypoint=[])
    assert (plain.attrs["Path"], plain.attrs["Args"]) == ("echo", ["of the image"])
    plain.remove()
    made.start()
    made.restart(timeout=0)
    with pytest.raises(docker.errors.APIError) as refused:
        made.remove()
    assert refused.value.status_code == 409
    made.remove(force=True)
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("renamed")


# The library closes the socket of a stream, and urllib3 then fails to flush what it had of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_python_library_logs_and_events(client: Any) -> None:
    events = client.events(decode=True, filters={"type": "container"})
    made = client.containers.run("box", ["sh", "-c", "echo one; echo two >&2"], detach=True)
    assert b"".join(made.logs(stream=True, follow=True)) in (b"one\ntwo\n", b"two\none\n")
    assert made.logs(stderr=False) == b"one\n" and made.logs(stdout=False) == b"two\n"
    seen = []
    for event in events:
        seen.append(event["Action"])
        if event["Action"] == "die":
            break
    assert set(seen) >= {"create", "die"} and event["Actor"]["Attributes"]["exitCode"] == "0"
    events.close()
    events._response.close()
    assert client.containers.prune()["ContainersDeleted"] == [made.id]


def test_python_library_the_rest(client: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN echo made > /made\n")
    image, lines = client.images.build(path=str(tmp_path), tag="fromlib:1")
    assert image.tags == ["fromlib:1"] and any("Successfully built" in line.get("stream", "") for line in lines)
    assert client.containers.run("fromlib:1", ["cat", "/made"], remove=True) == b"made\n"
    assert image.tag("again", "2") and client.images.get("again:2").id == image.id
    saved = b"".join(image.save(named=True))
    client.images.remove("again:2")
    client.images.remove("fromlib:1")
    assert [loaded.id for loaded in client.images.load(saved)] == [image.id]
    volume = client.volumes.create("libvol", labels={"a": "b"})
    assert client.volumes.list(filters={"label": "a=b"})[0].name == "libvol"
    network = client.networks.create("libnet", internal=True, labels={"a": "b"})
    made = client.containers.run("box", "sleep 600", detach=True, volumes={"libvol": {"bind": "/v", "mode": "rw"}})
    network.connect(made, aliases=["other"])
    made.reload()
    assert set(made.attrs["NetworkSettings"]["Networks"]) == {"bridge", "libnet"}
    network.disconnect(made)
    made.remove(force=True)
    network.remove()
    volume.remove()
    assert client.df()["Images"] and client.info()["Swarm"]["LocalNodeState"] == "inactive"
    assert client.images.prune()["SpaceReclaimed"] >= 0
    assert client.plugins.list() == []


def _fork_servers(address: str) -> list[int]:
    """Return the processes that fork monitors for the server at an address."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if (entry / "comm").read_text() == "underlay-forks\n":
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if address.encode() in Path(f"/proc/{parent}/cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def test_what_forks_monitors_may_be_killed(docker: Docker, address: str) -> None:
    """It is started again with the next container; those that run go on."""
    first = docker.out("run", "-d", "box", "sleep", "600")
    [server] = _fork_servers(address)
    os.kill(server, signal.SIGKILL)
    assert docker.out("run", "--rm", "box", "echo", "again") == "again"
    [another] = _fork_servers(address)
    assert another != server and docker.out("inspect", "-f", "{{.State.Running}}", first) == "true"


def test_an_idle_server_ends(ul: Installation, place: Path) -> None:
    """And what it had started goes on."""
    pytest.importorskip("aiohttp")
    path = place / "sock"
    words = [*ul.command, "serve", "-H", f"unix://{path}", "--idle-timeout", "1s"]
    server = subprocess.Popen(words, env=ul.environment, stderr=subprocess.DEVNULL)
    assert until(path.exists)
    if shutil.which("docker"):
        environment = {**ul.environment, "DOCKER_HOST": f"unix://{path}"}
        subprocess.run(["docker", "run", "-d", "--name", "stays", "box", "sleep", "600"], env=environment, check=True)
        assert server.wait(30) == 0
        assert ul.out("inspect", "-f", "{{.State.Running}}", "stays") == "true"
    assert server.wait(30) == 0 and not path.exists()


@pytest.fixture
def dialled(ul: Installation) -> Iterator[Installation]:
    """An installation whose `dial-stdio` starts a server, which is ended afterwards."""
    pytest.importorskip("aiohttp")
    needs_root()
    if Path("/run/underlay/docker.sock").exists():
        pytest.skip("a server of this host listens")
    yield ul
    for number in servers(ul):
        os.kill(number, signal.SIGTERM)
    assert until(lambda: not servers(ul))


def servers(ul: Installation) -> list[int]:
    """Return the pids of the servers on an installation."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"serve" in words and os.fsencode(ul.state) in words:
            found.append(int(entry.name))
    return found


def test_dial_stdio(dialled: Installation) -> None:
    """Without a server one is started; what it answers comes whole."""
    request = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = dialled("system", "dial-stdio", input=request).stdout
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nOK")
    # After a kill the socket is left, at which nobody listens.
    (server,) = servers(dialled)
    os.kill(server, signal.SIGKILL)
    assert until(lambda: not servers(dialled))
    assert b"200 OK" in dialled("system", "dial-stdio", input=request).stdout
    assert len(servers(dialled)) == 1


def test_a_server_that_cannot_start_is_told(
    dialled: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ImportError('none of it')\n")
    monkeypatch.setitem(dialled.environment, "PYTHONPATH", f"{tmp_path}:{dialled.environment['PYTHONPATH']}")
    done = dialled("system", "dial-stdio", input=b"GET /_ping HTTP/1.0\r\n\r\n", code=1)
    assert b"the server did not start: the server needs aiohttp" in done.stderr


def test_docker_over_ssh(dialled: Installation, place: Path) -> None:
    """Each connection is a `dial-stdio` of its own; what docker attaches in one and starts in another comes together."""
    if shutil.which("docker") is None:
        pytest.skip("no docker")
    words = " ".join(dialled.command)
    (place / "ssh").write_text(f'#!/bin/sh\nwhile [ "$1" != docker ]; do shift; done\nshift\nexec {words} "$@"\n')
    (place / "ssh").chmod(0o755)
    docker = Docker(dialled, "ssh://host", place)
    docker.environment["PATH"] = f"{place}:{docker.environment['PATH']}"
    at_once = [
        subprocess.Popen(
            [*docker.command, "run", "--rm", "box", "echo", str(n)],
            env=docker.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for n in range(4)
    ]
    assert [process.communicate(timeout=60) for process in at_once] == [(b"%d\n" % n, b"") for n in range(4)]
    assert docker("run", "-i", "--rm", "box", "cat", input=b"typed").stdout == b"typed"
    assert docker.out("ps", "-aq") == "" and len(servers(dialled)) == 1
