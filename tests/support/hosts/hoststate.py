"""What tests could leave on this host: links, tables, mounts, control groups, namespaces, loop devices, processes, files.

The run is compared with itself: `Leftovers` looks before and after, and names what has come, and the tests that made it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

_TRACE = "UNDERLAY_HOST_TRACE"  # environment variable: the file in which workers note what came with which test
_DIRECTORIES = (
    "/run",
    "/run/lock",
    "/run/netns",
    "/var/lib",
    "/var/tmp",
    "/tmp",
    "/root",
    "/etc",
    "/etc/apparmor.d",
)
# The test run's own, what a host changes by itself, and what other engines make when they first run on a host.
_EXPECTED = (
    *("/tmp/pytest-of-", "/root/.cache", "/root/.local"),
    *("/run/containerd", "/run/containers", "/run/docker", "/run/lock/netavark.lock", "/run/mount", "/run/runc"),
    "/var/lib/containers",
)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def cheap() -> set[str]:
    """Return what can be looked at around each test: links, mounts, control groups."""
    found = {f"link {name}" for name in _names("/sys/class/net")}
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        found |= {f"mount {line.split()[1]}" for line in file}
    for hierarchy in ("", *(f"/{name}" for name in _names("/sys/fs/cgroup"))):
        for path in (f"/sys/fs/cgroup{hierarchy}/underlay", f"/sys/fs/cgroup{hierarchy}/libpod_parent"):
            names = (name for name in _names(path) if name != "conmon")  # podman's, which it keeps
            found |= {f"control group {path}/{name}" for name in names if os.path.isdir(f"{path}/{name}")}
    return found


def whole() -> set[str]:
    """Return all that is compared at the beginning and the end of a run."""
    found = cheap()
    for name in _names("/sys/block"):
        backing = Path(f"/sys/block/{name}/loop/backing_file")
        if backing.exists():
            found.add(f"loop device {name} {backing.read_text().strip()}")
    for directory in _DIRECTORIES:
        paths = (f"{directory}/{name}" for name in _names(directory))
        found |= {f"file {path}" for path in paths if not path.startswith(_EXPECTED)}
    if shutil.which("nft") and os.geteuid() == 0:
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
        found |= {line.strip() for line in listed.splitlines() if line.strip()}
    return found


def processes() -> dict[str, str]:
    """Return the processes that tests have started, by pid and command, with the test: it is in their environment."""
    found = {}
    for pid in _names("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        for word in environment:
            if word.startswith(b"PYTEST_CURRENT_TEST="):
                found[f"process {pid} {command[:200]}"] = word.partition(b"=")[2].decode(errors="replace")
    return found


class Leftovers:
    """Compares the host before and after a run; made before any worker starts."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace
        trace.touch()
        os.environ[_TRACE] = str(trace)
        self._before = whole()
        self._processes = set(processes())

    def settled(self) -> list[str]:
        """Return `lines` once there are none, or as they are after 15 seconds: what ends by itself is not left behind."""
        deadline = time.monotonic() + 15
        while (lines := self.lines()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return lines

    def lines(self) -> list[str]:
        """Return a line for each thing that is there now and was not before, with the tests during which it came."""
        makers: dict[str, list[str]] = {}
        for line in self.trace.read_text().splitlines():
            test, things = json.loads(line)
            for thing in things:
                makers.setdefault(thing, []).append(test)
        new = {thing: ", ".join(makers.get(thing, ["(no test was seen)"])[-6:]) for thing in whole() - self._before}
        new |= {thing: test for thing, test in processes().items() if thing not in self._processes}
        gone = {
            thing: "" for thing in self._before - whole() if thing.startswith(("link", "mount", "table", "control"))
        }
        return [f"left behind: {thing} (came with {test})" for thing, test in sorted(new.items())] + [
            f"gone: {thing}" for thing in sorted(gone)
        ]


def note(test: str, before: set[str]) -> None:
    """Note what has come during a test: by the test itself, or by one that ran beside it."""
    path = os.environ.get(_TRACE)
    new = cheap() - before
    if path and new:
        line = json.dumps([test, sorted(new)]) + "\n"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
