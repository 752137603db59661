"""Races of OCI runtimes over one bundle: run, and another program in a container that runs; and bare namespaces."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import rivals
from bench.harness import Contender, Result, race
from underlay.linux import process
from underlay.linux.files import mounts

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = str(ROOT / ".venv" / "bin" / "underlay-runtime")


def apart(job: Callable[[], list[Result]]) -> list[Result]:
    """Run a job in a child with mounts of its own, where no version 2 hierarchy lies beside version 1: crun wants that."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            process.unshare(process.CLONE_NEWNS)
            mounts.propagate("/", mounts.MS_PRIVATE | mounts.MS_REC)
            points = mounts.all_points()
            if any(kind == "cgroup" for _, kind in points):
                for point, kind in points:
                    if kind == "cgroup2":
                        mounts.umount(point)
            with os.fdopen(tell, "wb") as file:
                pickle.dump(job(), file)
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    with os.fdopen(told, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    results: list[Result] = pickle.loads(data)
    return results


def _able() -> list[tuple[str, list[str]]]:
    found = [("underlay", [RUNTIME])]
    found += [(name, [name]) for name in ("runc", "crun") if shutil.which(name)]
    return found


def run(scratch: Path, base: Path, rounds: int) -> list[Result]:
    """The same bundle by each runtime: `run`, from command to the end of `true`."""
    place = rivals.bundle(scratch, base, ["true"])
    contenders = [Contender(name, [*words, "run", "-b", str(place), f"bench-{name}"]) for name, words in _able()]
    contenders.append(Contender("unshare (no root, no limits)", ["unshare", "-muinpfC", "true"]))
    return [race("runtime: run a bundle", contenders, rounds)]


def execute(scratch: Path, base: Path, rounds: int) -> list[Result]:
    """Another program in a running container of each runtime: `exec … true`."""
    place = rivals.bundle(scratch, base, ["sleep", "600"])
    contenders = []
    for name, words in _able():
        # Not to a pipe: the container keeps it open.
        began = subprocess.run(
            [*words, "run", "-d", "-b", str(place), f"bench-{name}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        if began.returncode == 0:
            contenders.append(Contender(name, [*words, "exec", f"bench-{name}", "true"]))
        else:
            print(f"  exec: without {name}, which cannot run here")
    try:
        return [race("runtime: exec in a container", contenders, rounds)]
    finally:
        for name, words in _able():
            subprocess.run([*words, "delete", "-f", f"bench-{name}"], capture_output=True)
