"""Where a benchmark runs: a scratch directory, our program, the rivals that work, and how to call each."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench import material, rivals
from bench.harness import Contender

ROOT = Path(__file__).resolve().parent.parent
UNDERLAY = str(ROOT / ".venv" / "bin" / "underlay")


class Setting:
    """The scratch directory, the rivals that work, and how to call each."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.ours = {"UNDERLAY_ROOT": f"{scratch}/ours", "UNDERLAY_STATE": f"{scratch}/ours-state"}
        self.docker = rivals.Docker(scratch)
        self.podman = rivals.podman(scratch) if shutil.which("podman") else []
        self.base = material.base_tar(scratch)
        problem = self.docker.start()
        self.with_docker = not problem
        if problem:
            print(f"  without docker: {problem}")

    def load(self, archive: Path) -> None:
        """Load an archive into every engine, untimed."""
        subprocess.run(
            [UNDERLAY, "load", "-q", "-i", archive],
            env={**os.environ, **self.ours},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        if self.with_docker:
            self.docker.run("load", "-q", "-i", str(archive))
        if self.podman:
            subprocess.run([*self.podman, "load", "-q", "-i", archive], capture_output=True, check=False)

    def engines(self, words: list[str], image: str, arguments: list[str]) -> list[Contender]:
        """Return `run` with the same words by every engine."""
        found = [Contender("underlay", [UNDERLAY, *words, image, *arguments], environment=self.ours)]
        if self.with_docker:
            found.append(
                Contender("docker", ["docker", *words, image, *arguments], environment=self.docker.environment)
            )
        if self.podman:
            found.append(Contender("podman", [*self.podman, *words, f"localhost/{image}", *arguments]))
        return found
