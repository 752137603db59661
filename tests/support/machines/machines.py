"""Containers over two drivers, as processes and in machines of their own; and a kernel for the machines."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from engines import Installation, needs_root
from underlay import Engine
from underlay.engine.machines import fetching
from underlay.errors import UnderlayError, Unsupported
from underlay.runtime.machine import qemu

DRIVERS = ("process", "machine")


def needs_machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a store's kernels for machines; skips the test where machines cannot run."""
    needs_root()
    try:
        qemu.program(qemu.architecture())
    except Unsupported as error:
        pytest.skip(f"{error.message}: {error.hint}" if error.hint else error.message)
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    return _kernels(base / "no-kernel-for-machines")


def _kernels(refused: Path) -> Path:
    """Return the directory of kernels, which is kept between runs; `refused` holds why there is none in this run."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "underlay-tests"
    # By what takes a kernel apart, which changes with the code.
    sources = sorted(Path(fetching.__file__).parent.glob("*.py"))
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    place = cache / f"machine-kernels-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "machine-kernels.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if refused.exists():
            pytest.skip(refused.read_text())
        if not place.exists():
            for old in cache.glob("machine-kernels-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=cache) as made:
                try:
                    Engine(f"{made}/root", f"{made}/state").machines.fetch_kernel()
                except UnderlayError as error:
                    refused.write_text(f"no kernel for machines: {error.message}")
                    pytest.skip(refused.read_text())
                os.rename(f"{made}/root/kernels", place)
    return place


def give_kernels(ul: Installation, kernels: Path) -> None:
    """Put the kernels into an installation's store."""
    place = ul.root / "kernels"
    if not place.exists():
        try:
            shutil.copytree(kernels, place, copy_function=os.link)
        except OSError:  # another file system
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(kernels, place)
    # What is said once, that machines are emulated, has been said.
    ul.state.mkdir(mode=0o700, exist_ok=True)
    (ul.state / "machine-emulated").touch()


class Driver:
    """An installation whose containers are run by one of the drivers."""

    def __init__(self, ul: Installation, name: str) -> None:
        self.ul = ul
        self.name = name
        self.words = ["--isolation", "machine"] if name == "machine" else []

    def run(
        self, *words: str, input: bytes | None = None, code: int = 0, image: str = "box"
    ) -> subprocess.CompletedProcess[bytes]:
        """`run --rm`, without network; words up to "--" are options."""
        options, command = self._split(words)
        return self.ul(
            "run", "--rm", "--network", "none", *self.words, *options, image, *command, input=input, code=code
        )

    def start(self, *words: str, image: str = "box") -> str:
        """`run -d`, without network; returns the id."""
        options, command = self._split(words)
        return self.ul.start(*self.words, *options, image, *command)

    def _split(self, words: tuple[str, ...]) -> tuple[list[str], list[str]]:
        place = words.index("--") if "--" in words else 0
        return list(words[:place]), list(words[place + ("--" in words) :])

    def sh(self, name: str, script: str, *options: str, code: int = 0) -> str:
        """Run a script in a running container; returns its output."""
        return self.ul.out("exec", *options, name, "sh", "-c", script, code=code)

    def inspect(self, name: str, template: str) -> str:
        """Return what `inspect` says."""
        return self.ul.out("inspect", "-f", template, name)
