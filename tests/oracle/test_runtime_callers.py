"""The callers of OCI runtimes, with ours: podman, containerd's ctr and dockerd run, exec, signal, limit and restart."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dockerdaemon
from engines import REPOSITORY, image_tar, needs_root, until
from underlay.linux import cgroup
from underlay.linux.security import capabilities

pytestmark = [
    pytest.mark.root,
    pytest.mark.oracle,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(cgroup.detect()[0] == "none", reason="no control groups here"),
]
needs_root()


def need(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A short directory (paths of sockets are), with the runtime as a program and an image as a tar."""
    with tempfile.TemporaryDirectory(prefix="ul-callers-") as name:
        runtime = Path(name) / "underlay-runtime"
        path = os.pathsep.join(filter(None, [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")]))
        runtime.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} -m underlay.cli.runtime "$@"\n')
        runtime.chmod(0o755)
        (Path(name) / "box.tar").write_bytes(image_tar())
        yield Path(name)


class Caller:
    """A program that calls the runtime: words in front of each command, and its way to say things."""

    def __init__(self, place: Path, *command: str, environment: dict[str, str] | None = None) -> None:
        self.place = place  # where it is started: conmon leaves a file `oom` there
        self.command = command
        self.environment = {**os.environ, **(environment or {})}

    def __call__(self, *words: str, code: int | None = 0) -> str:
        """Run a command; returns what it has written on standard output."""
        # To a file: what is started in the background keeps the stream.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(
                [*self.command, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environment,
                cwd=self.place,
                timeout=60,
            )
            for file in (out, err):
                file.seek(0)
            said, errors = out.read().decode(), err.read().decode()
        if code is not None and done.returncode != code:
            pytest.fail(f"{' '.join(words)}: exit {done.returncode}, not {code}\n{said[-1000:]}{errors[-2000:]}")
        return (said if code == 0 else said + errors).strip()

    def terminal(self, *words: str) -> str:
        """Run a command with a terminal around it."""
        line = " ".join([*self.command, *words])
        done = subprocess.run(
            ["script", "-qec", line, "/dev/null"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environment,
            cwd=self.place,
            timeout=60,
        )
        return done.stdout.decode()


def log_of(place: Path, name: str) -> Callable[[], str]:
    """Return the end of a server's log, for the message of a failure."""
    return lambda: (place / name).read_text(errors="replace")[-600:]


@pytest.fixture(scope="module")
def podman(place: Path) -> Iterator[Caller]:
    need("podman", "conmon")
    words = [
        "podman",
        f"--root={place}/podman",
        f"--runroot={place}/podman-run",
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "--events-backend=none",
        f"--runtime={place}/underlay-runtime",
    ]
    caller = Caller(place, *words, environment={"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"})
    caller("import", "--change", "ENV PATH=/bin", f"{place}/box.tar", "box")
    yield caller
    caller("rm", "--all", "--force", "--time", "0")


def test_podman_runs(podman: Caller) -> None:
    assert podman("run", "--rm", "--network", "none", "box", "echo", "hello") == "hello"
    podman("run", "--rm", "--network", "none", "box", "sh", "-c", "exit 7", code=7)
    assert "executable file not found" in podman("run", "--rm", "--network", "none", "box", "nosuch", code=127)
    podman("run", "--rm", "--network", "none", "box", "/etc", code=126)
    assert "/dev/pts/0" in podman.terminal("run", "--rm", "-t", "--network", "none", "box", "tty")
    words = ("--user", "1000", "--cap-drop", "ALL", "--read-only", "--hostname", "inner")
    out = podman("run", "--rm", "--network", "none", *words, "box", "sh", "-c", "id -u; hostname; touch /x 2>&1; true")
    assert out.splitlines()[:2] == ["1000", "inner"] and "Read-only" in out


def test_podman_keeps_a_container(podman: Caller) -> None:
    podman(
        "run",
        "-d",
        "--name",
        "box1",
        "--network",
        "none",
        "box",
        "sh",
        "-c",
        "trap 'exit 3' TERM; while :; do sleep 0.1; done",
    )
    assert podman("exec", "box1", "id", "-u") == "0"
    podman("exec", "box1", "sh", "-c", "exit 5", code=5)
    podman("exec", "box1", "nosuch", code=127)
    assert "/dev/pts/0" in podman.terminal("exec", "-t", "box1", "tty")
    assert "sleep" in podman("top", "box1")
    podman("pause", "box1")
    assert podman("inspect", "-f", "{{.State.Status}}", "box1") == "paused"
    podman("unpause", "box1")
    podman("stop", "--time", "10", "box1")
    assert podman("inspect", "-f", "{{.State.ExitCode}}", "box1") == "3"
    podman("start", "box1")
    podman("restart", "--time", "0", "box1")
    podman("kill", "--signal", "KILL", "box1")
    assert podman("wait", "box1") == "137"
    podman("rm", "box1")


def test_podman_limits(podman: Caller) -> None:
    podman("run", "--rm", "--network", "none", "--memory", "20m", "box", "tail", "/dev/zero", code=137)
    assert not Path("oom").exists()  # in the directory that the tests are run in
    out = podman(
        "run",
        "--rm",
        "--network",
        "none",
        "--pids-limit",
        "5",
        "box",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7; do sleep 1 & done",
        code=None,
    )
    assert "fork" in out or "Resource" in out or out == ""
    podman("run", "-d", "--name", "box2", "--network", "none", "--memory", "30m", "box", "sleep", "300")
    podman("update", "--memory", "40m", "box2")
    assert podman("stats", "--no-stream", "--format", "{{.MemUsage}}", "box2").endswith("41.94MB")
    podman("rm", "-f", "--time", "0", "box2")


def test_podman_restarts_and_checks(podman: Caller) -> None:
    podman(
        "run",
        "-d",
        "--name",
        "box3",
        "--network",
        "none",
        "--health-cmd",
        "true",
        "--health-interval",
        "disable",
        "box",
        "sleep",
        "300",
    )
    podman("healthcheck", "run", "box3")
    podman("rm", "-f", "--time", "0", "box3")
    podman("run", "-d", "--name", "box4", "--network", "none", "--restart", "on-failure:2", "box", "false")
    assert until(lambda: podman("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "box4") == "2 exited", 30)
    podman("rm", "-f", "box4")


def test_podman_pods_share_namespaces(podman: Caller) -> None:
    podman("run", "-d", "--name", "first", "--network", "none", "box", "sleep", "300")
    shared = ("--network", "container:first", "--ipc", "container:first", "--pid", "container:first")
    out = podman("run", "--rm", *shared, "box", "sh", "-c", "ps | grep -c '[s]leep 300'; readlink /proc/self/ns/net")
    assert out.splitlines()[0] == "1"
    assert out.splitlines()[1] == podman("exec", "first", "readlink", "/proc/self/ns/net")
    podman("rm", "-f", "--time", "0", "first")


def test_podman_maps_users(podman: Caller) -> None:
    maps = ("--uidmap", "0:200000:5000", "--gidmap", "0:200000:5000")
    out = podman(
        "run",
        "--rm",
        "--network",
        "none",
        *maps,
        "box",
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map; stat -c %u /data/seed",
    )
    assert out.split() == ["0", "0", "200000", "5000", "0"]


@pytest.fixture(scope="module")
def ctr(place: Path, podman: Caller) -> Iterator[Caller]:
    need("containerd", "ctr")
    podman("save", "--output", f"{place}/oci.tar", "box")
    base = place / "containerd"
    base.mkdir()
    (base / "config.toml").write_text(
        f'version = 2\nroot = "{base}/root"\nstate = "{base}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "{base}/sock"\n'
    )
    with open(base / "log", "wb") as log:
        server = subprocess.Popen(["containerd", "-c", base / "config.toml"], stdout=log, stderr=log)
    caller = Caller(place, "ctr", "-a", f"{base}/sock")
    try:
        assert until(lambda: subprocess.run([*caller.command, "version"], capture_output=True).returncode == 0, 30)
        try:
            caller(
                "images", "import", "--local", "--snapshotter", "native", "--index-name", "box:1", f"{place}/oci.tar"
            )
        except BaseException:
            caller("images", "import", "--snapshotter", "native", "--index-name", "box:1", f"{place}/oci.tar")
        yield caller
        left = caller("task", "ls", "-q")
        assert left == ""
    finally:
        server.terminate()
        server.wait(30)
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if str(base) in line:
                subprocess.run(["umount", "-l", line.split()[1]])


def test_containerd(ctr: Caller, place: Path) -> None:
    runtime = ("--runc-binary", f"{place}/underlay-runtime", "--snapshotter", "native")
    image = ctr("images", "ls", "-q").split()[0]
    assert ctr("run", "--rm", *runtime, image, "c1", "echo", "hello") == "hello"
    ctr("run", "--rm", *runtime, image, "c2", "sh", "-c", "exit 7", code=7)
    assert "executable file not found" in ctr("run", "--rm", *runtime, image, "c3", "nosuch", code=1)
    ctr("container", "rm", "c3", code=None)
    assert "/dev/pts/0" in ctr.terminal("run", "--rm", "-t", *runtime, image, "c4", "tty")
    ctr("run", "-d", "--memory-limit", str(20 << 20), *runtime, image, "c5", "sleep", "300")
    try:
        assert ctr("task", "exec", "--exec-id", "e1", "c5", "id", "-u") == "0"
        ctr("task", "exec", "--exec-id", "e2", "c5", "tail", "/dev/zero", code=137)
        assert "c5" in ctr("task", "ls") and "RUNNING" in ctr("task", "ls")
        ctr("task", "pause", "c5")
        assert "PAUSED" in ctr("task", "ls")
        ctr("task", "resume", "c5")
        assert len(ctr("task", "ps", "c5").splitlines()) == 2
    finally:
        ctr("task", "kill", "-s", "9", "c5")
        assert until(lambda: "STOPPED" in ctr("task", "ls"))
        ctr("task", "rm", "c5", code=None)
        ctr("container", "rm", "c5")


@pytest.fixture(scope="module")
def docker(place: Path, podman: Caller) -> Iterator[Caller]:
    need("docker")
    base = place / "docker"
    base.mkdir()
    runtime = [f"--add-runtime=underlay={place}/underlay-runtime", "--default-runtime=underlay"]
    with dockerdaemon.running(base, "--storage-driver=vfs", *runtime) as address:
        caller = Caller(place, "docker", f"--host={address}")
        caller("import", "--change", "ENV PATH=/bin", f"{place}/box.tar", "box")
        yield caller
        ids = caller("ps", "-aq").split()
        if ids:
            caller("rm", "-f", *ids)


def test_docker_runs(docker: Caller) -> None:
    assert docker("run", "--rm", "--network", "none", "box", "echo", "hello") == "hello"
    docker("run", "--rm", "--network", "none", "box", "sh", "-c", "exit 7", code=7)
    assert "executable file not found" in docker("run", "--rm", "--network", "none", "box", "nosuch", code=127)
    docker("run", "--rm", "--network", "none", "box", "/etc", code=126)
    assert "/dev/pts/0" in docker.terminal("run", "--rm", "-t", "--network", "none", "box", "tty")
    docker("run", "--rm", "--network", "none", "--memory", "20m", "box", "tail", "/dev/zero", code=137)
    out = docker(
        "run",
        "--rm",
        "--network",
        "none",
        "--user",
        "1000",
        "box",
        "sh",
        "-c",
        "id -u; grep -E 'Seccomp:|CapEff' /proc/self/status",
    )
    assert out.split() == ["1000", "CapEff:", "0000000000000000", "Seccomp:", "2"]


def test_docker_keeps_a_container(docker: Caller) -> None:
    docker(
        "run",
        "-d",
        "--name",
        "box1",
        "--network",
        "none",
        "box",
        "sh",
        "-c",
        "trap 'exit 3' TERM; while :; do sleep 0.1; done",
    )
    assert docker("exec", "box1", "id", "-u") == "0"
    docker("exec", "box1", "sh", "-c", "exit 5", code=5)
    assert "executable file not found" in docker("exec", "box1", "nosuch", code=None)
    assert "/dev/pts/" in docker.terminal("exec", "-t", "box1", "tty")
    assert "trap 'exit 3'" in docker("top", "box1")
    docker("pause", "box1")
    assert docker("inspect", "-f", "{{.State.Status}}", "box1") == "paused"
    docker("unpause", "box1")
    docker("update", "--memory", "30m", "--memory-swap", "30m", "box1")
    assert docker("stats", "--no-stream", "--format", "{{.MemUsage}}", "box1").endswith("30MiB")
    docker("stop", "--time", "10", "box1")
    assert docker("inspect", "-f", "{{.State.ExitCode}}", "box1") == "3"
    docker("start", "box1")
    docker("restart", "--time", "0", "box1")
    docker("kill", "box1")
    assert docker("wait", "box1") == "137"
    docker("rm", "box1")


def test_docker_restarts_and_checks(docker: Caller) -> None:
    health = ("--health-cmd", "true", "--health-interval", "1s")
    docker("run", "-d", "--name", "box3", "--network", "none", *health, "box", "sleep", "300")
    docker("run", "-d", "--name", "box4", "--network", "none", "--restart", "on-failure:2", "box", "false")
    assert until(lambda: docker("inspect", "-f", "{{.State.Health.Status}}", "box3") == "healthy", 30)
    assert until(lambda: docker("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "box4") == "2 exited", 30)
    docker("rm", "-f", "box3", "box4")


def test_docker_with_an_init_and_privileges(docker: Caller) -> None:
    assert docker("run", "--rm", "--network", "none", "--init", "box", "sh", "-c", "echo $$") != "1"
    out = docker(
        "run",
        "--rm",
        "--network",
        "none",
        "--privileged",
        "box",
        "sh",
        "-c",
        "grep CapEff /proc/self/status; ls /dev | wc -l",
    )
    assert int(out.split()[1], 16) == capabilities.current()["CapBnd"] and int(out.split()[2]) > 15
