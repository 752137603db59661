"""Docker's plug-in `buildx`, and what `serve --install` writes: units by which a server starts when somebody asks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import apiserver
import dockerdaemon
from apiserver import place
from engines import Installation, needs_root, until

__all__ = ["place"]  # a fixture
pytestmark = pytest.mark.root
BUILDX = "/usr/libexec/docker/cli-plugins/docker-buildx"


@pytest.fixture
def docker(ul: Installation, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """Docker's command line with our plug-in and our server, where nothing else says which installation is meant."""
    needs_root()
    if shutil.which("docker") is None:
        pytest.skip("no docker")
    monkeypatch.setitem(ul.environment, "DOCKER_CONFIG", str(place / "config"))
    monkeypatch.setitem(ul.environment, "XDG_CONFIG_HOME", str(place / "units"))
    ul("serve", "--install", "--user")
    made = Installation(place)
    made.command = ["docker"]
    kept = ("UNDERLAY_NETWORK",)  # no build of ours makes a network on this host
    made.environment = {k: v for k, v in ul.environment.items() if k in kept or not k.startswith("UNDERLAY")}
    with apiserver.serving(ul, place / "sock") as address:
        made.environment["DOCKER_HOST"] = address
        yield made


def test_docker_build_by_the_plugin(docker: Installation, ul: Installation, tmp_path: Path) -> None:
    """What needs BuildKit with docker itself, in the installation of the server."""
    assert "underlay/buildx v0.17" in docker.out("buildx", "version")
    (tmp_path / "secret").write_text("hush")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_text("more")
    (tmp_path / "Dockerfile").write_text(
        "FROM box\nCOPY --from=more file /file\nRUN --mount=type=secret,id=s cat /run/secrets/s /file > /out\n"
    )
    secret = f"id=s,src={tmp_path}/secret"
    docker("build", "-t", "built", "--secret", secret, "--build-context", f"more={tmp_path}/more", str(tmp_path))
    assert ul.run("built", "cat", "/out") == "hushmore"
    (tmp_path / "docker-bake.json").write_text(
        json.dumps({"target": {"default": {"context": str(tmp_path), "tags": ["baked"], "secret": [secret]}}})
    )
    contexts = f"default.contexts.more={tmp_path}/more"
    words = ("-f", str(tmp_path / "docker-bake.json"), "--set", contexts)
    done = docker("buildx", "bake", *words, "--progress", "rawjson", "--metadata-file", str(tmp_path / "result"))
    vertices = [vertex for line in done.stderr.splitlines() for vertex in json.loads(line).get("vertexes", [])]
    assert {vertex["name"] for vertex in vertices if vertex.get("cached")} >= {"[2/3] COPY --from=more file /file"}
    assert len({vertex["digest"] for vertex in vertices}) >= 4
    identity = json.loads((tmp_path / "result").read_text())["default"]["containerimage.config.digest"]
    assert identity == ul.out("inspect", "-f", "{{.Id}}", "baked")
    assert docker("build", str(tmp_path / "nothing"), code=1).stderr.count(b"underlay: ") == 1
    assert docker.out("buildx", "ls").splitlines()[1].startswith("default*")
    assert "Driver: docker" in docker.out("buildx", "inspect", "--bootstrap")
    docker("buildx", "use", "default")
    assert b"no builder" in docker("buildx", "use", "other", code=125).stderr
    assert "Total:" in docker.out("buildx", "du")
    assert b"Total" in docker("buildx", "prune", "-f", "-a").stdout


def test_a_build_whose_client_is_killed_ends(docker: Installation, ul: Installation, tmp_path: Path) -> None:
    """Docker's command line, interrupted or killed, takes its plug-in with it, and that what it builds."""
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN sleep 987\n")
    for number in (signal.SIGKILL, signal.SIGTERM):
        words = [*docker.command, "build", "--no-cache", "--progress", "plain", str(tmp_path)]
        client = subprocess.Popen(
            words,
            env=docker.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert until(lambda: b"987" in running())
        client.send_signal(number)
        assert client.wait(30) != 0
        assert until(lambda: b"987" not in running())


def running() -> bytes:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout.replace(b"RUN sleep", b"")


def test_no_server_answers(docker: Installation, ul: Installation, place: Path, tmp_path: Path) -> None:
    """Nothing is built in another installation; what needs no server works."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "docker-bake.json").write_text('{"target": {"default": {"context": "."}}}')
    docker.environment["DOCKER_HOST"] = f"unix://{place}/nothing"
    docker.environment["UNDERLAY_ROOT"] = str(ul.root)
    for words in (("build", "-t", "lost", str(tmp_path)), ("buildx", "bake", "-f", f"{tmp_path}/docker-bake.json")):
        done = docker(*words, code=None)
        assert done.returncode and b"Cannot connect to the Docker daemon at unix://" in done.stderr
    assert ul.out("images", "-q", "lost") == ""
    shown = json.loads(docker.out("buildx", "bake", "-f", f"{tmp_path}/docker-bake.json", "--print"))
    assert shown["target"]["default"]["dockerfile"] == "Dockerfile"
    assert "Usage" in docker.out("buildx", "build", "--help")
    docker("buildx", "ls")


def test_contexts_name_the_server(docker: Installation, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM box\n")
    address = docker.environment.pop("DOCKER_HOST")
    docker("context", "create", "ours", "--docker", f"host={address}")
    docker("--context", "ours", "build", "-t", "by-context", str(tmp_path))
    docker("context", "use", "ours")
    docker("build", "-t", "by-settings", str(tmp_path))
    docker("-H", address, "build", "-t", "by-flag", str(tmp_path))
    names = docker.out("images", "--format", "{{.Repository}}").split()
    assert {"by-context", "by-settings", "by-flag"} <= set(names)
    done = docker("-H", "tcp://127.0.0.1:1", "build", str(tmp_path), code=None)
    assert done.returncode != 0


def test_python_on_whales_by_the_plugin(docker: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its builds, its bake, and what it does with volumes, for which it builds an image that is told on standard input."""
    library = pytest.importorskip("python_on_whales")
    for name in ("DOCKER_HOST", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, docker.environment[name])
    whales = library.DockerClient()
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN --mount=type=secret,id=s cat /run/secrets/s > /out\n")
    (tmp_path / "secret").write_text("hush")
    image = whales.build(tmp_path, tags=["whale:1"], secrets=[f"id=s,src={tmp_path}/secret"], progress="plain")
    assert image.repo_tags == ["whale:1"] and whales.run("whale:1", ["cat", "/out"], remove=True) == "hush"
    (tmp_path / "docker-bake.json").write_text(json.dumps({"target": {"default": {"context": str(tmp_path)}}}))
    config = whales.buildx.bake(files=[tmp_path / "docker-bake.json"], print=True)
    assert config["target"]["default"]["dockerfile"] == "Dockerfile"
    assert [builder.name for builder in whales.buildx.list()] == ["default"]
    assert whales.buildx.inspect().name == "default"


def test_another_servers_plugin_is_run_for_it(docker: Installation, place: Path) -> None:
    """Where docker itself is spoken to, the plug-in stands aside."""
    if not os.access(BUILDX, os.X_OK):
        pytest.skip("no docker-buildx")
    daemon = Path(tempfile.mkdtemp(prefix="dk"))
    try:
        with dockerdaemon.running(daemon, "--storage-driver=vfs") as address:
            docker.environment["DOCKER_HOST"] = address
            assert "github.com/docker/buildx" in docker.out("buildx", "version")
    finally:
        shutil.rmtree(daemon, ignore_errors=True)


def test_without_another_plugin(ul: Installation, place: Path) -> None:
    """A server that is not ours, and one on another host: one line, and nothing is built anywhere."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "other"))
    listener.listen()
    program = [
        sys.executable,
        "-c",
        "from underlay.cli.buildxplugin import installation; import sys; installation(sys.argv[1])",
    ]
    answer = b'{"Platform": {"Name": "Docker Engine"}, "Components": [{"Name": "Engine", "Details": {}}]}'
    process = subprocess.Popen(
        [*program, f"unix://{place}/other"], env=ul.environment, stderr=subprocess.PIPE, text=True
    )
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
    assert "is not underlay" in process.communicate(timeout=30)[1]
    connection.close()
    listener.close()
    done = subprocess.run([*program, "ssh://host"], env=ul.environment, capture_output=True, text=True)
    assert "builds on its own host" in done.stderr


def started(listener: socket.socket, script: str, ul: Installation) -> subprocess.Popen[str]:
    """Run a script of the shell as systemd starts a service: its socket is number 3."""
    code = f"import os; os.dup2({listener.fileno()}, 3); os.execvp('sh', ['sh', '-c', {script!r}])"
    words = [sys.executable, "-c", code]
    numbers = [listener.fileno()]
    return subprocess.Popen(words, env=ul.environment, pass_fds=numbers, stderr=subprocess.PIPE, text=True)


def test_what_is_installed(ul: Installation, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The units say what they should, systemd finds no fault, and the service is one that can be started by a socket."""
    pytest.importorskip("aiohttp")
    monkeypatch.setitem(ul.environment, "DOCKER_CONFIG", str(place / "docker"))
    monkeypatch.setitem(ul.environment, "XDG_CONFIG_HOME", str(place / "c % $"))
    paths = [Path(path) for path in ul.out("serve", "--install", "--user", "--read-only").splitlines()]
    assert [path.name for path in paths] == ["underlay-docker.socket", "underlay-docker.service", "docker-buildx"]
    listens, service, plugin = (path.read_text() for path in paths)
    assert "\nListenStream=%t/underlay/docker.sock\n" in listens and "\nSocketMode=0600\n" in listens
    link = paths[0].parent / "sockets.target.wants" / paths[0].name
    assert link.resolve() == paths[0]
    if shutil.which("systemd-analyze"):
        words = ["systemd-analyze", "verify", "--user", str(paths[0]), str(paths[1])]
        assert "underlay" not in subprocess.run(words, capture_output=True, text=True).stderr
    metadata = subprocess.run([str(paths[2]), "docker-cli-plugin-metadata"], capture_output=True, env={}, check=True)
    assert json.loads(metadata.stdout)["SchemaVersion"] == "0.1.0" and plugin.startswith("#!/bin/sh\n# Written by")
    # As systemd starts it: with a socket that listens as number 3, in the environment of the unit alone.
    lines = service.splitlines()
    settings = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    command = next(line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart="))
    assert command.endswith('serve --host "fd://" --idle-timeout 5m --read-only')
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "s"))
    listener.listen()
    process = started(listener, f"exec env -i LISTEN_FDS=1 LISTEN_PID=$$ {' '.join(settings)} {command}", ul)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(place / "s"))
            client.sendall(b"POST /containers/create HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            assert b" 403 " in client.recv(1000)  # of a server that is for reading only
    finally:
        process.terminate()
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said
    assert (place / "s").exists()  # it is systemd's
    listener.close()
    assert ul.out("serve", "--uninstall", "--user").splitlines() == [str(path) for path in paths]
    assert not any(path.exists() for path in paths) and not os.path.lexists(link)
    assert b"there is no" in ul("serve", "--uninstall", "--user", code=1).stderr
    paths[2].write_text("#!/bin/sh\n")
    assert b"was not written by" in ul("serve", "--install", "--user", code=1).stderr
    assert paths[2].read_text() == "#!/bin/sh\n"


def test_a_tcp_socket_that_is_passed_needs_certificates(ul: Installation) -> None:
    pytest.importorskip("aiohttp")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = started(listener, f"exec env LISTEN_FDS=1 LISTEN_PID=$$ {' '.join(ul.command)} serve -H fd://", ul)
        assert "without certificates" in process.communicate(timeout=60)[1] and process.returncode == 1
    assert b"fd://" in ul("serve", "--install", "--user", "--print", "-H", "fd://", code=125).stderr
    assert b"belongs to --install" in ul("serve", "--print", code=125).stderr
