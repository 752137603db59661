"""Control groups through one interface: version 2, version 1 (and hybrid), or none that we may use.

`open_group(path)` gives a group: `create(resources)`, `birthplace()`, `enter()`, `processes()`, `kill()`, `freeze(on)`,
`update(resources)`, `stats()`, `oom_event()`, `remove()`. `resources` is the OCI object (config-linux, "Control groups"):
every field of it is honoured, or refused with its JSON path.
"""

from __future__ import annotations

import os

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ..specification import Resources, Spec
    from .stats import Figures

    class Group(Protocol):
        """A control group of one container, whatever the version."""

        version: str
        path: str
        base: str

        def create(self, resources: Resources) -> None:
            """Make the group and set its limits; raises KernelError, Unsupported, InvalidInput.

            Raises Conflict as `check_free` does: then the group is another container's, not to be killed or removed.
            """

        def check_free(self) -> None:
            """Raise Conflict when there is a group of this path that has processes or is frozen; makes nothing."""

        def birthplace(self) -> int:
            """Return a new descriptor for clone(2) to be born in, or -1 when a process can only `enter`."""

        def enter(self) -> None:
            """Move this process, which has one thread, into the group."""

        def admit(self, pid: int) -> None:
            """Move process `pid`, which has one thread, into the group."""

        def update(self, resources: Resources) -> Callable[[], None]:
            """Change limits of the living group, all or none; returns a function that takes the change back."""

        def processes(self) -> list[int]:
            """Return the pids in the group and below it."""

        def frozen(self) -> bool:
            """Return whether the group is stopped, or about to be."""

        def freeze(self, on: bool) -> None:
            """Stop all processes of the group, or let them go on."""

        def kill(self) -> None:
            """Kill every process in the group and below it."""

        def stats(self) -> Figures:
            """Return what the group has used, in the shape of runc's `events --stats` (see `stats`); {} for none."""

        def out_of_memory(self) -> bool:
            """Return whether the kernel has killed for want of memory in this group."""

        def oom_kills(self) -> int:
            """Return how many processes the kernel has killed for want of memory in this group."""

        def oom_event(self) -> int:
            """Return a descriptor that is readable when memory may have run out; read it empty, compare `oom_kills`."""

        def remove(self) -> None:
            """Remove the group with those below it; its processes must be gone. Groups above it stay, but our own."""

        def locations(self) -> dict[str, str]:
            """Return directories by controller ("" for version 2), for those who join later."""


CGROUP2_MAGIC = 0x63677270


def detect() -> tuple[str, dict[str, str]]:
    """Return ("v2", {"": mount}), ("v1", {controller: mount, …}) or ("none", {}) from /proc/self/mountinfo."""
    v1: dict[str, str] = {}
    v2 = ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if " - cgroup" not in line:
                continue
            left, _, right = line.partition(" - ")
            point = left.split(" ")[4]
            fstype, _, options = right.split(" ", 2)
            if fstype == "cgroup2":
                v2 = v2 or point
            elif fstype == "cgroup":
                for option in options.strip().split(","):
                    if option in _V1_CONTROLLERS or option.startswith("name="):
                        v1.setdefault(option, point)
    if any(name in _V1_CONTROLLERS for name in v1):
        return "v1", v1
    if v2:
        return "v2", {"": v2}
    return "none", {}


_V1_CONTROLLERS = frozenset(
    (
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls",
        "net_prio",
        "perf_event",
        "rdma",
        "misc",
    )
)


def visible(controllers: dict[str, str], spec: Spec) -> list[str]:
    """Return the version 1 controllers among `controllers` that a container has a group in: only those may it see."""
    wanted = ["cpu", "cpuacct", "memory", "devices", "freezer", "pids", "blkio"]
    cpu = ((spec.get("linux") or {}).get("resources") or {}).get("cpu") or {}
    if cpu.get("cpus") or cpu.get("mems"):
        wanted.append("cpuset")
    return [name for name in wanted if name in controllers]


def open_group(path: str, rootless: bool = False, base: str = "") -> Group:
    """Return the group at `path` (relative to the hierarchies), not created yet.

    An unprivileged caller's groups lie below the highest group that it may change; `base` names the directory that was
    found when the container was started, for processes that join later from another group. Without usable control groups
    the answer is a group that refuses limits and does the rest by signals. Raises InvalidInput for a path that is not
    below the hierarchies.
    """
    path = _clean(path)
    version, mounts = detect()
    if version == "v2":
        from .v2 import GroupV2

        base = base or (_delegated(mounts[""]) if rootless else mounts[""])
        if base and os.access(base + "/cgroup.procs", os.W_OK):
            # A user namespace cannot make devices, so nothing has to be filtered there, nor could it be.
            return GroupV2(base, path, filter_devices=not rootless)
    elif version == "v1" and not rootless:
        from .v1 import GroupV1

        return GroupV1(mounts, path)
    from .null import GroupNone

    return GroupNone(path)


def _clean(path: str) -> str:
    """Return a path of groups without `.`, `..` and empty parts, which cannot lead above the root, as runc has it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not parts or "\0" in path or "\n" in path:
        raise InvalidInput(f"the control group {path!r} is not allowed for a container")
    return "/".join(parts)


def _delegated(mount: str) -> str:
    """Return the directory of the highest group from ours upwards that we may write; "" when ours is not ours."""
    highest, current = "", mount + _own_group()
    while current.startswith(mount):
        if not os.access(current + "/cgroup.procs", os.W_OK) or not os.access(
            current + "/cgroup.subtree_control", os.W_OK
        ):
            break
        highest, current = current, os.path.dirname(current)
    return highest


def _own_group() -> str:
    with open("/proc/self/cgroup", encoding="ascii") as file:
        for line in file:
            if line.startswith("0::"):
                return line[3:].strip().rstrip("/")
    return ""
