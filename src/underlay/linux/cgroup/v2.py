"""Control groups version 2: one hierarchy (kernel: admin-guide/cgroup-v2)."""

from __future__ import annotations

import os

from ...errors import KernelError, Unsupported
from . import common
from . import settings as wanted
from .v2settings import settings, weight_of_shares

__all__ = ["GroupV2", "weight_of_shares"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..specification import Resources
    from .stats import Figures

# What every container is counted by, limited or not. The rest is enabled when asked for.
ALWAYS = ("cpu", "memory", "pids", "io")


class GroupV2:
    """A container's group in the unified hierarchy."""

    version = "v2"
    __slots__ = ("_enabled", "_filter_devices", "base", "directory", "path")

    def __init__(self, base: str, path: str, filter_devices: bool = True) -> None:
        self.path = path.strip("/")
        self.base = base
        self._filter_devices = filter_devices
        self._enabled: set[str] = set()
        self.directory = f"{base}/{self.path}"

    def create(self, resources: Resources) -> None:
        """Make the group, enable controllers on the way to it and set its limits."""
        root = wanted.read(resources)
        above = self.base
        for part in self.path.split("/"):
            _enable(above, ALWAYS)
            above = f"{above}/{part}"
            common.make(above, self.path.count("/"))
        self._enabled.update(ALWAYS)
        self.check_free()
        self._set(root, resources, new=True)

    def check_free(self) -> None:
        """Raise Conflict when there is such a group that has processes or is frozen."""
        common.refuse_in_use(self.directory, self.frozen())

    def update(self, resources: Resources) -> Callable[[], None]:
        """Set the limits that `resources` names; returns what takes that back (all but the list of devices)."""
        undo = self._set(wanted.read(resources), resources)
        return lambda: wanted.put_back(undo)

    def _set(self, root: wanted.Section, resources: Resources, new: bool = False) -> wanted.Undo:
        undo = wanted.put(settings(root, self._directory_of), new)
        try:
            if resources.get("devices") and self._filter_devices:
                from .devices import attach_rules

                attach_rules(self.directory, resources["devices"])
        except BaseException:
            wanted.put_back(undo)
            raise
        return undo

    def _directory_of(self, controller: str, where: str) -> str:
        """Return the directory once `controller` ("" for none) works in it; raises Unsupported when it cannot."""
        if controller and controller not in self._enabled:
            above = self.base
            for part in self.path.split("/"):
                _enable(above, (controller,))
                above = f"{above}/{part}"
            self._enabled.add(controller)
        if controller and controller not in common.read(self.directory + "/cgroup.controllers").split():
            raise Unsupported(
                f"{where} cannot be set: the cgroup controller {controller} is not available here",
                "run as root, or in a delegated cgroup whose processes live in groups below it",
            )
        return self.directory

    def birthplace(self) -> int:
        """Return a descriptor of the group."""
        return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Move this process into the group."""
        self.admit(0)

    def admit(self, pid: int) -> None:
        """Move process `pid` into the group."""
        common.write(self.directory + "/cgroup.procs", str(pid))

    def processes(self) -> list[int]:
        """Return the pids in the group and below it."""
        return common.pids(self.directory)

    def frozen(self) -> bool:
        """Return whether the group is stopped, or about to be."""
        return common.read(self.directory + "/cgroup.freeze").strip() == "1"

    def freeze(self, on: bool) -> None:
        """Freeze or thaw, and wait until it is so."""
        import time

        common.write(self.directory + "/cgroup.freeze", "1" if on else "0")
        for _ in range(1000):
            if common.keyed(self.directory + "/cgroup.events").get("frozen") == int(on):
                return
            time.sleep(0.001)
        raise KernelError("freeze", self.directory, 16)

    def kill(self) -> None:
        """Kill all by cgroup.kill (Linux 5.14), else by signals."""
        try:
            common.write(self.directory + "/cgroup.kill", "1")
        except KernelError:
            pass
        common.kill_all(self.directory)

    def out_of_memory(self) -> bool:
        """Return whether `oom_kill` of memory.events has counted."""
        return self.oom_kills() > 0

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed here, or below, for want of memory."""
        return common.keyed(self.directory + "/memory.events").get("oom_kill", 0)

    def oom_event(self) -> int:
        """Return an inotify descriptor that is readable when memory.events has changed: compare `oom_kills`."""
        from .oom import v2_event

        return v2_event(self.directory)

    def stats(self) -> Figures:
        """Return what the group counts; see `stats`."""
        from .stats import v2

        return v2(self.directory)

    def remove(self) -> None:
        """Remove the group, and the engine's own group above it when nothing else is left there."""
        common.remove(self.directory)
        common.remove_own_parent(self.directory, self.path)

    def locations(self) -> dict[str, str]:
        """Return the group's directory."""
        return {"": self.directory}


def _enable(directory: str, controllers: tuple[str, ...]) -> None:
    """Enable controllers for the groups below a directory, as far as they are offered and can be."""
    enabled = common.read(directory + "/cgroup.subtree_control").split()
    offered = common.read(directory + "/cgroup.controllers").split()
    for controller in controllers:
        if controller in offered and controller not in enabled:
            try:
                common.write(directory + "/cgroup.subtree_control", "+" + controller)
            except KernelError as error:
                # EBUSY: processes live in that group (not the root). EOPNOTSUPP: it is threaded. Limits that need the
                # controller will say so.
                if error.errno not in (13, 16, 95):
                    raise
