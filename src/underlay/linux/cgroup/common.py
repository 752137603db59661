"""Shared by both versions of control groups: writing control files, walking and removing groups, killing."""

from __future__ import annotations

import os
import time

from ...errors import Conflict, KernelError

SIGKILL = 9
GONE = (2, 19)  # ENOENT, ENODEV: what the kernel says of a group that was removed meanwhile
OWN = "underlay"  # the group, at the root of each hierarchy, below which the engine puts its own


def write(path: str, value: str) -> None:
    """Write a control file in one call; raises KernelError naming it and the value."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError(f"write {value!r} to", path, error.errno or 5) from None


def read(path: str) -> str:
    """Return a control file's text; "" when it is missing."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def exists(path: str) -> bool:
    """Return whether there is such a control file."""
    return os.access(path, os.F_OK)


def integer(path: str) -> int:
    """Return a control file's number; 0 when it is missing or `max`."""
    text = read(path).strip()
    return int(text) if text.lstrip("-").isdigit() else 0


def keyed(path: str) -> dict[str, int]:
    """Return a flat keyed control file (`name value` lines) as numbers."""
    result = {}
    for line in read(path).splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            result[name] = int(value)
    return result


def make(directory: str, parents: int) -> None:
    """Make a group and up to `parents` groups above it, again when a neighbour removes them at the same moment."""
    for _ in range(100):
        try:
            os.mkdir(directory, 0o755)
            return
        except FileExistsError:
            return
        except FileNotFoundError:
            if parents <= 0:
                break
            make(os.path.dirname(directory), parents - 1)
        except OSError as error:
            raise KernelError("make cgroup", directory, error.errno or 5) from None
    raise KernelError("make cgroup", directory, 2)


def pids(directory: str) -> list[int]:
    """Return the processes in a group and the groups below it."""
    processes = [int(word) for word in read(directory + "/cgroup.procs").split()]
    for child in children(directory):
        processes += pids(child)
    return processes


def children(directory: str) -> list[str]:
    """Return the groups directly below a group."""
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def kill_all(directory: str, tries: int = 200) -> None:
    """Send SIGKILL to all processes of a group until none is left, for at most about two seconds."""
    for attempt in range(tries):
        processes = pids(directory)
        if not processes:
            return
        for pid in processes:
            try:
                os.kill(pid, SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.001 if attempt < 20 else 0.01)


def remove(directory: str) -> None:
    """Remove a group with the groups below it; a group that is gone is fine.

    The kernel frees a group's last process a moment after it was reaped: EBUSY is tried again for about a second.
    """
    for child in children(directory):
        remove(child)
    for attempt in range(120):
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != 16:
                raise KernelError("remove cgroup", directory, error.errno or 5) from None
        time.sleep(0.0005 if attempt < 40 else 0.01)
    raise KernelError("remove cgroup", directory, 16)


def remove_own_parent(directory: str, path: str) -> None:
    """Remove the engine's own group above a removed one if nothing is left in it.

    A group above that a caller has named (`--cgroup-parent`, `cgroupsPath`) belongs to the caller and stays, as with
    runc, even when it was made on the way.
    """
    if path.startswith(OWN + "/") and path.count("/") == 1:
        try:
            os.rmdir(os.path.dirname(directory))
        except OSError:
            pass


def refuse_in_use(directory: str, frozen: bool) -> None:
    """Raise Conflict when a group that is to be a container's has processes or is frozen.

    Two containers in a group would share limits, and be paused and killed together (runc pull request 3223).
    """
    processes = pids(directory)
    if processes:
        raise Conflict(f"the control group {directory} is not empty: {len(processes)} process(es) found")
    if frozen:
        raise Conflict(f"the control group {directory} is frozen")
