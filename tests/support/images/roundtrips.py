"""From an image to its Dockerfile and back: building what was reconstructed, and comparing it with what there was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engines import Installation
from trees import Difference, compare_facts, compare_members, facts, read

FAILS = frozenset(("it does not build",))
MOUNTS = "histories do not tell of mounts"
UNTOLD: dict[str, tuple[str, frozenset[str]]] = {
    "arguments of the builder": ("a proxy is given to RUN and not told", frozenset(("/out",))),
    "proxies": ("a proxy is given to RUN and not told", frozenset(("/proxies",))),
    "copy from another context": (MOUNTS, FAILS),
    "binds": (MOUNTS, FAILS),
    "caches": (MOUNTS, FAILS),
    "tmpfs and secrets": (MOUNTS, FAILS),
    "mounts on nothing": (MOUNTS, FAILS),
    "Python uv from its image": (MOUNTS, FAILS),
}
"""Cases of the corpus that cannot be built again by running their steps again: why, and where the images differ. They can
with what RUN has made taken along (--frozen)."""

# Interpreters take their time to start, and there are hundreds of commands to run: one that is ready forks for each.
_LOOP = """
import gc, importlib, json, os, pkgutil, sys
import underlay
from underlay.cli.main import leave, main, spare
for found in pkgutil.walk_packages(underlay.__path__, "underlay."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
spare()
gc.freeze()
for line in sys.stdin:
    words, log = json.loads(line)
    child = os.fork()
    if not child:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for each in (1, 2):
            os.dup2(file, each)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        leave(main(words))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forge:
    """Runs commands of an installation, each in a process forked from one that has loaded the program."""

    def __init__(self, ul: Installation) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ul.environment,
            text=True,
        )

    def __call__(self, place: Path, *words: str, code: int | None = 0) -> int:
        """Run a command; what it says goes to `place`/said. Fails the test when its exit code is not `code`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([words, f"{place}/said"]) + "\n")
        self._process.stdin.flush()
        found = int(self._process.stdout.readline())
        if code is not None and found != code:
            pytest.fail(f"underlay {' '.join(words)}: exit {found}\n{(place / 'said').read_text(errors='replace')}")
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def again(forge: Forge, image: str, base: str, place: Path, *words: str, code: int | None = 0) -> str:
    """Reconstruct an image with `words` into `place`/out and build that to `place`/again.tar; return the Dockerfile."""
    out = place / "out"
    forge(place, "base", "dockerfile", "--base", base, "--extract", str(out), *words, image)
    forge(place, "build", "--no-cache", "-o", f"type=docker,dest={place}/again.tar", "-t", "again", str(out), code=code)
    return (out / "Dockerfile").read_text()


def differences(one: Path, other: Path, begun: int, *aside: str) -> list[Difference]:
    """Compare the images of two archives: their merged trees, and the `config` members of their configurations but for
    what is `aside`."""
    first, second = read(one), read(other)
    found = compare_members("config", first.config["config"], second.config["config"], *aside)
    return found + compare_facts(facts(first.tree(), begun), facts(second.tree(), begun))
