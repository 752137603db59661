"""A docker daemon of the test's own, of which nothing is left afterwards: no process, mount, control group or rule."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engines import needs_root


@contextmanager
def running(place: Path, *options: str, inside: Path | None = None) -> Iterator[str]:
    """Run a daemon that leaves the host's network alone; yields its address.

    `place` has a short name, as paths of sockets are short. Its containers' control groups are below one that is
    called like `place`. With `inside`, the file of a network namespace, it works on that one's network as it likes.
    """
    needs_root()
    if shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        pytest.skip("dockerd is not installed")
    words = ["dockerd", f"--host=unix://{place}/d.sock", f"--data-root={place}/data", f"--exec-root={place}/exec"]
    words += [f"--pidfile={place}/pid", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]
    if inside is not None:
        words = ["nsenter", f"--net={inside}", *words[:5]]
    words += ["--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{cgroup_of(place)}"]
    with open(place / "log", "wb") as log:
        process = subprocess.Popen([*words, *options], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not _answers(f"{place}/d.sock"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start here: {(place / 'log').read_text(errors='replace')[-600:]}")
            time.sleep(0.1)
        yield f"unix://{place}/d.sock"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _tidy(place)


def cgroup_of(place: Path) -> str:
    """Return the name of the control group above those of the containers of the daemon at `place`."""
    return str(place).strip("/").replace("/", "-")


def _answers(path: str) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b" 200 " in connection.recv(100)
    return False


def _tidy(place: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{place}/")), key=len, reverse=True):
        subprocess.run(["umount", "-l", mount], capture_output=True)
    top, name = Path("/sys/fs/cgroup"), cgroup_of(place)
    for group in (top / name, *top.glob(f"*/{name}")):
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
