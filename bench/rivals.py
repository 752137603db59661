"""The rivals, each with its own directories below one scratch directory; what is started is ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


class Docker:
    """A private dockerd on its own socket, without network unless a `prefix` of its command brings it into another one."""

    def __init__(self, scratch: Path, prefix: Sequence[str] = ()) -> None:
        self.scratch = scratch
        self.prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {"DOCKER_HOST": f"unix://{scratch}/docker.sock"}
        self._group = f"underlay-rival-{os.getpid()}-{scratch.name}"

    def start(self) -> str:
        """Start the daemon; returns why it could not be started, "" when it runs."""
        if not shutil.which("dockerd") or not shutil.which("docker"):
            return "docker is not installed"
        command = [*self.prefix, "dockerd", "--data-root", f"{self.scratch}/docker"]
        command += ["--exec-root", f"{self.scratch}/docker-exec"]
        command += ["-H", f"unix://{self.scratch}/docker.sock", "-p", f"{self.scratch}/docker.pid"]
        command += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self._group}"]
        if not self.prefix:
            command += ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]
        with open(f"{self.scratch}/dockerd.log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(150):
            if self.process.poll() is not None:
                return f"dockerd ended at once: {Path(f'{self.scratch}/dockerd.log').read_text()[-300:]}"
            if self.run("version").returncode == 0:
                return ""
            time.sleep(0.1)
        return "dockerd does not answer"

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run the docker client."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(["docker", *words], capture_output=True, env=environment, check=False)

    def stop(self) -> None:
        """End the daemon that we started."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        top = Path("/sys/fs/cgroup")
        for group in (top / self._group, *top.glob(f"*/{self._group}")):
            for directory, _, _ in os.walk(group, topdown=False):
                os.rmdir(directory)


def podman(scratch: Path) -> list[str]:
    """Return podman's command with private directories; runc as runtime, since crun refuses hybrid cgroups."""
    runtime = shutil.which("runc") or "runc"
    return [
        "podman",
        f"--root={scratch}/podman",
        f"--runroot={scratch}/podman-run",
        f"--tmpdir={scratch}/podman-tmp",
        "--storage-driver=overlay",
        "--cgroup-manager=cgroupfs",
        f"--runtime={runtime}",
    ]


def bundle(scratch: Path, rootfs_tar: Path, arguments: list[str]) -> Path:
    """Return an OCI bundle with runc's default configuration over an unpacked root file system."""
    place = scratch / "bundle"
    if not place.exists():
        (place / "rootfs").mkdir(parents=True)
        subprocess.run(["tar", "-xf", rootfs_tar, "-C", place / "rootfs"], check=True)
        subprocess.run(["runc", "spec"], cwd=place, check=True)
    config = json.loads((place / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = arguments
    (place / "config.json").write_text(json.dumps(config))
    return place
