"""Containers over two drivers, as processes and in machines of their own; and a kernel for the machines."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from engines import Installation, image_tar, needs_root
from underlay import Engine
from underlay.engine.machines import fetching, sources
from underlay.errors import UnderlayError, Unsupported
from underlay.runtime.machine import qemu

DRIVERS = ("process", "machine")


class Other(NamedTuple):
    """What machines of another processor need: a store's kernels and userlands, and the tar of an image."""

    kernels: Path
    userlands: Path
    image: Path


def needs_machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a store's kernels for machines; skips the test where machines cannot run."""
    return _needs(tmp_path_factory, qemu.architecture(), _fetch) / "kernels"


def needs_other_machines(tmp_path_factory: pytest.TempPathFactory, architecture: str) -> Other:
    """Return what machines of another processor need; skips the test where they cannot run."""
    place = _needs(tmp_path_factory, architecture, _fetch_other)
    return Other(place / "kernels", place / "userlands", place / "image.tar")


def _needs(tmp_path_factory: pytest.TempPathFactory, architecture: str, fetch: Callable[[Path, str], None]) -> Path:
    """Return a directory that is kept between runs, with what `fetch` has put there for machines of an architecture."""
    needs_root()
    try:
        qemu.program(architecture)
    except Unsupported as error:
        pytest.skip(f"{error.message}: {error.hint}" if error.hint else error.message)
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    refused = base / f"no-machines-{architecture}"  # why there is none in this run
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "underlay-tests"
    # By what takes a kernel apart, which changes with the code.
    code = [*sorted(Path(fetching.__file__).parent.glob("*.py")), Path(__file__)]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()[:16]
    place = cache / f"machines-{architecture}-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "machines.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if refused.exists():
            pytest.skip(refused.read_text())
        if not place.exists():
            for old in cache.glob(f"machines-{architecture}-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=cache) as made:
                try:
                    fetch(Path(made), architecture)
                except UnderlayError as error:
                    refused.write_text(f"no kernel for machines of {architecture}: {error.message}")
                    pytest.skip(refused.read_text())
                (Path(made) / "root").rename(place)
    return place


def _fetch(made: Path, _: str) -> None:
    Engine(f"{made}/root", f"{made}/state").machines.fetch_kernel()


def _fetch_other(made: Path, architecture: str) -> None:
    """Get kernel, userland and a static busybox for another processor, and make an image of that."""
    Engine(f"{made}/root", f"{made}/state").machines.fetch_kernel(platform=f"linux/{architecture}")
    (made / "apt").mkdir()
    package = fetching.Apt(f"{made}/apt", architecture).download("busybox-static")
    for name, part in sources.members(package, f"{made}/tar"):
        if name.endswith(b"bin/busybox"):
            (made / "root/image.tar").write_bytes(image_tar(part.read(16 << 20, "busybox")))


def give_kernels(ul: Installation, kernels: Path) -> None:
    """Put the kernels, or userlands, into an installation's store."""
    place = ul.root / kernels.name
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
