"""Python's libraries for docker, unchanged, on our server and on docker's: testcontainers, python-on-whales, and what act
does."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from apiengines import REAPERS, SCRIPTS, Served, served, world
from engines import until

__all__ = ["served", "world"]  # fixtures
pytestmark = pytest.mark.root


def test_testcontainers_and_its_reaper(served: Served, tmp_path: Path) -> None:
    """What a session has made is gone after its process, and so is the reaper."""
    pytest.importorskip("testcontainers")
    networks = served.custom_networks()
    served.docker(
        "run", "-d", "--name", "bystander", "--label", "org.testcontainers.session-id=x", "box", "sleep", "600"
    )
    served.environment["RYUK_CONTAINER_IMAGE"] = REAPERS[0]
    made = json.loads(served.client(sys.executable, SCRIPTS / "python_testcontainers.py", tmp_path).splitlines()[-1])
    assert made["server"]
    assert until(lambda: served.docker("ps", "-a", "--format", "{{.Names}}") == "bystander", 60)
    assert until(lambda: served.custom_networks() == networks)
    served.docker("rm", "-f", "bystander")


@pytest.fixture
def whales(served: Served, monkeypatch: pytest.MonkeyPatch) -> Any:
    """python-on-whales' client for the engine; afterwards nothing is left in it."""
    library = pytest.importorskip("python_on_whales")
    for name in ("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_BUILDKIT", "COMPOSE_DOCKER_CLI_BUILD", "HOME"):
        monkeypatch.setenv(name, served.environment[name])
    return library.DockerClient(host=served.address)


def test_whales_containers(served: Served, whales: Any, tmp_path: Path) -> None:
    """All members of what is inspected are read, which the library checks by their types."""
    from python_on_whales.exceptions import DockerException, NoSuchContainer

    assert whales.run("box", ["echo", "hello"], remove=True) == "hello"
    with pytest.raises(DockerException) as caught:
        whales.run("box", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert caught.value.return_code == 3
    made = whales.run(
        "box",
        ["sh", "-c", "echo begun; exec nc -ll -p 7000 -e echo served"],
        detach=True,
        name="whale",
        envs={"A": "b"},
        labels={"kind": "mammal"},
        publish=[(7000,)],
        health_cmd="true",
        health_interval=1,
        hostname="ocean",
        init=True,
        memory="64m",
        cpus=0.5,
        cap_drop=["NET_RAW"],
        tmpfs=["/scratch"],
        restart="no",
    )
    facts = whales.container.inspect("whale")
    assert facts.state.running and facts.name == "whale" and facts.config.labels == {"kind": "mammal"}
    assert facts.host_config.memory == 64 << 20 and facts.host_config.nano_cpus == 500_000_000
    assert facts.network_settings.networks["bridge"].ip_address and facts.mounts == []
    port = facts.network_settings.ports["7000/tcp"][0]["HostPort"]
    assert until(lambda: served.client("busybox", "nc", "127.0.0.1", port, code=None) == "served")
    assert [each.id for each in whales.container.list(filters=[("label", "kind=mammal")])] == [made.id]
    assert made.logs() == "begun\n" and list(whales.logs(made, stream=True)) == [("stdout", b"begun\n")]
    assert made.execute(["sh", "-c", "echo $A$B; hostname; pwd"], envs={"B": "c"}, workdir="/tmp") == "bc\nocean\n/tmp"
    pieces = list(made.execute(["sh", "-c", "echo out; echo err >&2"], stream=True))
    assert sorted(pieces) == [("stderr", b"err\n"), ("stdout", b"out\n")]
    (tmp_path / "file").write_text("copied\n")
    made.copy_to(tmp_path / "file", "/data/file")
    made.copy_from("/data/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "copied\n"
    assert made.diff()["/data/file"] == "A"
    sample = whales.stats(["whale"])[0]
    assert sample.container_name == "whale" and sample.memory_limit == 64 << 20
    made.pause()
    assert whales.container.inspect("whale").state.paused
    made.unpause()
    made.rename("orca")
    whales.container.update("orca", memory="32m", memory_swap="32m")
    assert until(lambda: whales.container.inspect("orca").state.health.status == "healthy")
    made.export(tmp_path / "exported.tar")
    with tarfile.open(tmp_path / "exported.tar") as tar:
        assert "data/file" in tar.getnames()
    assert made.commit(tag="committed:1").config.labels == {"kind": "mammal"}
    whales.container.stop("orca", time=0)
    assert whales.wait("orca") == made.state.exit_code == 143
    made.start()
    made.restart(time=0)
    made.kill()
    assert [each.name for each in whales.container.list(all=True)] == ["orca"]
    whales.container.prune()
    assert not made.exists()
    with pytest.raises(NoSuchContainer):
        whales.container.inspect("orca")
    whales.image.remove("committed:1")


def test_whales_the_rest(served: Served, whales: Any, tmp_path: Path) -> None:
    from python_on_whales.exceptions import NoSuchImage

    (tmp_path / "Dockerfile").write_text("FROM box AS first\nARG WORD\nRUN echo $WORD > /word\nLABEL a=b\nFROM first\n")
    image = whales.legacy_build(tmp_path, tags=["whales:1"], build_args={"WORD": "said"}, target="first")
    assert image.repo_tags == ["whales:1"] and image.config.labels == {"a": "b"}
    assert whales.run(image, ["cat", "/word"], remove=True) == "said"
    image.copy_from("/word", tmp_path / "word")
    assert (tmp_path / "word").read_text() == "said\n"
    image.tag("whales:2")
    whales.image.save("whales:2", tmp_path / "saved.tar")
    whales.image.remove(["whales:1", "whales:2"])
    assert whales.image.load(tmp_path / "saved.tar") == ["whales:2"]
    assert whales.image.inspect("whales:2").id == image.id and "whales:2" in {
        tag for each in whales.image.list() for tag in each.repo_tags
    }
    whales.image.remove("whales:2")
    with pytest.raises(NoSuchImage):
        whales.image.inspect("whales:2")
    volume = whales.volume.create("sea", labels={"deep": "yes"})
    # Its own copying builds an image by buildx, for which our server has no protocol.
    whales.run("box", ["sh", "-c", "echo salt > /v/file"], volumes=[(volume, "/v")], remove=True)
    assert whales.run("box", ["cat", "/v/file"], volumes=[(volume, "/v", "ro")], remove=True) == "salt"
    assert [each.name for each in whales.volume.list()] == ["sea"] and volume.labels == {"deep": "yes"}
    volume.remove()
    network = whales.network.create("current", subnet="10.77.0.0/24", labels={"warm": "yes"})
    assert network.ipam.config[0]["Subnet"] == "10.77.0.0/24" and network.labels == {"warm": "yes"}
    with whales.run("box", ["sleep", "600"], detach=True, stop_signal="KILL") as swimmer:
        whales.network.connect(network, swimmer, alias="swimmer")
        assert set(whales.container.inspect(swimmer.id).network_settings.networks) == {"bridge", "current"}
        assert swimmer.id in whales.network.inspect("current").containers
        whales.network.disconnect(network, swimmer)
    network.remove()
    info = whales.system.info()
    assert info.os_type == "linux" and info.swarm.local_node_state == "inactive"
    assert whales.system.disk_free().images.total_count >= 2


def test_whales_compose(served: Served, whales: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not whales.compose.is_installed():
        pytest.skip("docker has no compose")
    (tmp_path / "compose.yaml").write_text(
        "services:\n"
        "  web: {image: box, command: [sleep, '600'], stop_grace_period: 0s, networks: [n], volumes: ['water:/v']}\n"
        "networks: {n: {}}\nvolumes: {water: {}}\n"
    )
    project = type(whales)(
        host=served.address, compose_files=[tmp_path / "compose.yaml"], compose_project_name="school"
    )
    project.compose.up(detach=True)
    assert [each.name for each in project.compose.ps()] == ["school-web-1"]
    assert project.compose.execute("web", ["echo", "inside"], tty=False) == "inside"
    project.compose.down(volumes=True)
    assert project.compose.ps(all=True) == []


def test_what_act_does(served: Served, tmp_path: Path) -> None:
    """A container that waits, files into it, steps by exec with streams, files out of it, and its end with its volumes."""
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=served.address)
    low = client.api
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "source").write_text("of the repository\n")
    made = client.containers.create(
        "box",
        name="act-job",
        entrypoint=["tail", "-f", "/dev/null"],
        command=[],
        environment={"RUNNER_TEMP": "/tmp", "CI": "true"},
        working_dir="/job",
        volumes={
            str(tmp_path / "work"): {"bind": "/job", "mode": "rw"},
            "act-tools": {"bind": "/tools", "mode": "rw"},
        },
        network_mode="host",
        labels={"act": "1"},
        tty=False,
        stdin_open=False,
        auto_remove=False,
    )
    made.start()
    # Directories that are not there come with the archive.
    assert made.put_archive(
        "/", _tar({"var/run/act/": None, "var/run/act/workflow/": None, "var/run/act/event.json": b"{}"})
    )
    script = b"cat /var/run/act/event.json\necho; echo $STEP >> $GITHUB_ENV; echo problem >&2; cat source; exit 4\n"
    assert made.put_archive("/var/run/act", _tar({"workflow/0.sh": script}))
    variables = {"STEP": "first", "GITHUB_ENV": "/var/run/act/workflow/envs"}
    step = low.exec_create(made.id, ["sh", "-e", "/var/run/act/workflow/0.sh"], environment=variables, workdir="/job")
    # Act attaches both streams over an upgraded connection and takes them apart.
    outputs = [b"", b""]
    for out, err in low.exec_start(step["Id"], stream=True, demux=True):
        outputs[0] += out or b""
        outputs[1] += err or b""
    assert outputs == [b"{}\nof the repository\n", b"problem\n"]
    assert low.exec_inspect(step["Id"])["ExitCode"] == 4
    assert made.exec_run(["id", "-u"], user="alice", tty=True) == (0, b"1000\r\n")
    data, facts = made.get_archive("/var/run/act/workflow/envs")
    with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as tar:
        assert tar.extractfile("envs").read() == b"first\n" and facts["name"] == "envs"
    with pytest.raises(docker.errors.NotFound):
        made.get_archive("/var/run/act/workflow/pathcmd.txt")
    assert made.exec_run("touch /job/result /tools/kept").exit_code == 0 and (tmp_path / "work" / "result").exists()
    made.remove(v=True, force=True)
    assert [each.name for each in client.volumes.list(filters={"name": "act-tools"})] == ["act-tools"]
    client.volumes.get("act-tools").remove(force=True)
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("act-job")
    client.close()


def _tar(members: dict[str, bytes | None]) -> bytes:
    """Return an archive of files and, without contents, directories."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if data is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data or b""))
    return buffer.getvalue()
