"""Bundles for tests of the OCI runtime: a root of busybox, a specification to change, the program to run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import APPLETS, BUSYBOX, REPOSITORY
from underlay.runtime import documents


def make_root(place: Path) -> Path:
    """Make a root file system of busybox at `place`."""
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "data"):
        (place / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, place / "bin/busybox")
    for applet in APPLETS:
        (place / "bin" / applet).symlink_to("busybox")
    (place / "data/seed").write_text("from the image\n")
    return place


class Bundle:
    """A bundle, its specification as a value, and the runtime with a root of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = make_root(place / "rootfs")
        self.state = place / "state"
        self.spec: dict[str, Any] = {**documents.specification()}
        self.spec["process"].update(terminal=False, args=["true"])
        self.spec["root"]["readonly"] = False
        self.spec["linux"]["cgroupsPath"] = f"/underlay-tests/{place.name}-{os.getpid()}"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")])),
        }
        self.command = [sys.executable, "-m", "underlay.cli.runtime", "--root", str(self.state)]
        self.count = 0

    def write(self, *arguments: str) -> None:
        """Write the specification, with the arguments of its program when there are some."""
        if arguments:
            self.spec["process"]["args"] = list(arguments)
        (self.place / "config.json").write_text(json.dumps(self.spec))

    def __call__(
        self, *words: str, code: int | None = 0, input: bytes | None = None, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the runtime; fails the test when its exit code is not `code`."""
        # Into files: a container that stays keeps its streams open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(
                [*self.command, *words],
                cwd=self.place,
                env=self.environment,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                stdout=out,
                stderr=err,
                timeout=60,
                pass_fds=pass_fds,
            )
            for file in (out, err):
                file.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        if code is not None and done.returncode != code:
            said = (done.stdout + done.stderr).decode(errors="replace")
            pytest.fail(f"{' '.join(words)}: exit {done.returncode}, not {code}\n{said[-2000:]}")
        return done

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a container in the foreground; returns what it has written."""
        self.write(*arguments)
        self.count += 1
        return self("run", f"c{self.count}", code=code).stdout.decode().strip()

    def shell(self, script: str, code: int = 0) -> str:
        """Run a shell script in a container; with code 0 its last status does not matter."""
        return self.run("sh", "-c", script if code else script + "\ntrue", code=code)

    def refused(self, *words: str) -> str:
        """Run what must fail; returns the message."""
        done = self(*words, code=1)
        return done.stderr.decode().strip()

    def create_refused(self) -> str:
        """Create a container that must be refused, leaving nothing; returns the message."""
        self.write()
        message = self.refused("create", "refused")
        assert not (self.state / "refused").exists()
        return message.removeprefix("underlay-runtime: ")

    def start(self, *arguments: str, name: str = "box") -> int:
        """Create and start a container that stays; returns the pid of its first process."""
        self.write(*(arguments or ("sleep", "300")))
        self("run", "-d", name)
        return int(self.told(name)["pid"])

    def told(self, name: str = "box") -> dict[str, Any]:
        """Return the state of a container."""
        value = json.loads(self("state", name).stdout)
        assert isinstance(value, dict)
        return value

    def clean(self) -> None:
        """Delete all containers and check that nothing of them is left on the host."""
        names = sorted(p.name for p in self.state.iterdir()) if self.state.exists() else []
        for name in names:
            self("delete", "--force", name)
        assert not self.state.exists() or list(self.state.iterdir()) == []
        assert str(self.place) not in Path("/proc/self/mounts").read_text()
        group = self.spec["linux"].get("cgroupsPath", "/none").rpartition("/")[2]
        left = subprocess.run(["find", "/sys/fs/cgroup", "-name", group], capture_output=True, text=True).stdout
        assert left == ""
        # The group above is the tests' own; another test may be using it.
        for directory in [*Path("/sys/fs/cgroup").glob("*/underlay-tests"), Path("/sys/fs/cgroup/underlay-tests")]:
            try:
                directory.rmdir()
            except OSError:
                pass


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    """A bundle whose containers are deleted in the end."""
    made = Bundle(tmp_path)
    yield made
    made.clean()
