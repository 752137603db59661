"""Takeovers from a real docker daemon and a real podman: images, volumes with their files, containers with options."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dockerdaemon
from engines import Installation, image_tar, needs_root

pytestmark = pytest.mark.root

Ask = Callable[..., str]
OPTIONS = [
    *("--name", "worker", "--hostname", "desk", "-e", "WORD=given", "-w", "/tmp", "-u", "1000:1001", "--label", "a=b"),
    *("--restart", "on-failure:3", "-m", "64m", "--cpus", "0.5", "--pids-limit", "77", "--cap-add", "NET_ADMIN"),
    *(
        "--cap-drop",
        "CHOWN",
        "--read-only",
        "--tmpfs",
        "/scratch:size=1m",
        "-v",
        "things:/data:ro",
        "-v",
        "/etc:/host:ro",
    ),
    *("--ulimit", "nofile=100:200", "--stop-signal", "INT"),
    *("--health-cmd", "true", "--health-interval", "9s", "--shm-size", "8m", "--oom-score-adj", "100"),
]


@pytest.fixture
def ul(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    made = Installation(tmp_path / "ours")
    yield made
    made.clean()


NAMES = [
    "--init",
    "--dns",
    "1.2.3.4",
    "--add-host",
    "a:10.0.0.1",
]  # podman takes them with more programs, or networks, only


def filled(ask: Ask, tar: Path, *options: str) -> None:
    """Let another engine have two images of one layer, a volume with odd files, and two containers."""
    ask("import", str(tar), "box:1")
    ask("tag", "box:1", "team/other:2")
    ask("volume", "create", "--label", "x=y", "things")
    script = "cd /data; echo text > f; chown 7:8 f; chmod 4751 f; ln -s f link; mkdir d; touch -d 200101010000 d/old"
    network = ("--network", "none")
    ask("run", "--rm", *network, "-v", "things:/data", "box:1", "sh", "-c", script)
    ask("create", *network, *OPTIONS, *options, "box:1", "sh", "-c", "echo hello")
    ask("run", "--name", "writer", *network, "box:1", "touch", "/written")


def checked(ul: Installation, program: str, environment: dict[str, str]) -> None:
    def migrate(*words: str, code: int = 0) -> str:
        command = [*ul.command, "migrate", *words, program]
        done = subprocess.run(command, env={**ul.environment, **environment}, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    planned = migrate("--dry-run")
    assert "volume things: would be taken" in planned and "container worker: would be taken" in planned
    assert ul.out("images", "-q") == "" and ul.out("ps", "-aq") == ""
    done = migrate()
    assert "container worker: taken" in done and "container writer: taken" in done
    assert f"`{program} commit writer` keeps it" in done
    names = ul.out("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {name.rpartition("/")[2] for name in names} == {"box:1", "other:2"}
    assert len(list((ul.root / "layers").iterdir())) == 1
    data = ul.root / "volumes" / "things" / "_data"
    status = (data / "f").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (7, 8, 0o4751)
    assert (data / "f").read_text() == "text\n" and os.readlink(data / "link") == "f"
    assert (data / "d" / "old").stat().st_mtime == 978307200
    worker: dict[str, Any] = json.loads(ul.out("inspect", "worker"))[0]
    config, host = worker["Config"], worker["HostConfig"]
    assert (config["Hostname"], config["User"], config["WorkingDir"]) == ("desk", "1000:1001", "/tmp")
    assert "WORD=given" in config["Env"] and config["Labels"]["a"] == "b" and config["Cmd"][-1] == "echo hello"
    assert config["Healthcheck"]["Interval"] == 9 * 10**9 and config["StopSignal"].removeprefix("SIG") in ("INT", "2")
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 77)
    assert [name.removeprefix("CAP_") for name in host["CapAdd"]] == ["NET_ADMIN"]
    assert [name.removeprefix("CAP_") for name in host["CapDrop"]] == ["CHOWN"]
    assert host["ReadonlyRootfs"] and host["ShmSize"] == 8 << 20 and host["OomScoreAdj"] == 100
    assert {"Name": "nofile", "Soft": 100, "Hard": 200} in host["Ulimits"]
    if program == "docker":
        assert host["Init"] and host["Dns"] == ["1.2.3.4"] and host["ExtraHosts"] == ["a:10.0.0.1"]
    assert {m["Destination"]: m["RW"] for m in worker["Mounts"]} == {"/data": False, "/host": False}
    assert "/scratch" in host["Tmpfs"]
    assert ul.out("start", "-a", "worker") == "hello"
    # Once more: everything is here.
    again = migrate()
    assert "already here" in again and ": taken" not in again


@pytest.mark.timeout(300)
def test_from_docker(ul: Installation, tmp_path: Path) -> None:
    if not shutil.which("docker"):
        pytest.skip("no docker")
    tar = tmp_path / "box.tar"
    tar.write_bytes(image_tar())
    place = Path(tempfile.mkdtemp(prefix="dk"))
    try:
        with dockerdaemon.running(place, "--storage-driver=vfs") as address:
            environment = {"DOCKER_HOST": address}

            def docker(*words: str) -> str:
                done = subprocess.run(
                    ["docker", *words], env={**os.environ, **environment}, capture_output=True, text=True
                )
                assert done.returncode == 0, done.stderr
                return done.stdout.strip()

            filled(docker, tar, *NAMES)
            checked(ul, "docker", environment)
            assert docker("ps", "-a", "--format", "{{.Names}}").split() == ["writer", "worker"]
            docker("rm", "-f", "worker", "writer")
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.timeout(300)
def test_from_podman(ul: Installation, tmp_path: Path) -> None:
    if not shutil.which("podman"):
        pytest.skip("no podman")
    tar = tmp_path / "box.tar"
    tar.write_bytes(image_tar())
    place = Path(tempfile.mkdtemp(prefix="pm"))
    storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{place}/root"\nrunroot = "{place}/run"\n'
    (place / "storage.conf").write_text(storage)
    engine = '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    if shutil.which("runc"):
        # Where crun is installed too, podman takes it, and crun starts nothing on hosts with both versions of cgroups.
        engine += 'runtime = "runc"\n'
    (place / "containers.conf").write_text(engine + f'tmp_dir = "{place}/tmp"\nvolume_path = "{place}/volumes"\n')
    environment = {
        "CONTAINERS_STORAGE_CONF": f"{place}/storage.conf",
        "CONTAINERS_CONF": f"{place}/containers.conf",
    }

    def podman(*words: str) -> str:
        done = subprocess.run(["podman", *words], env={**os.environ, **environment}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    try:
        try:
            podman("info")
        except AssertionError as error:
            pytest.skip(f"podman does not work here: {error}")
        filled(podman, tar)
        checked(ul, "podman", environment)
        podman("rm", "-f", "worker", "writer")
    finally:
        subprocess.run(["podman", "system", "reset", "-f"], env={**os.environ, **environment}, capture_output=True)
        shutil.rmtree(place, ignore_errors=True)


def test_what_is_not_there(ul: Installation, tmp_path: Path) -> None:
    assert b"docker and podman are" in ul("migrate", "lxc", code=1).stderr
    done = subprocess.run(
        [*ul.command, "migrate", "docker"],
        env={**ul.environment, "DOCKER_HOST": f"unix://{tmp_path}/none"},
        capture_output=True,
        text=True,
    )
    if shutil.which("docker"):
        assert done.returncode == 1 and "is the daemon of docker running?" in done.stderr
    empty = {**ul.environment, "PATH": str(tmp_path)}
    done = subprocess.run([*ul.command, "migrate", "podman"], env=empty, capture_output=True, text=True)
    assert done.returncode == 1 and "podman is not installed here" in done.stderr
