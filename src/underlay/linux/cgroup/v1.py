"""Control groups version 1: one hierarchy a controller, the same path in each (kernel: admin-guide/cgroup-v1)."""

from __future__ import annotations

import os

from ...errors import KernelError, Unsupported
from . import common
from . import settings as wanted
from .v1settings import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..specification import DeviceRule, Resources
    from .stats import Figures

# Where every container has a group, limited or not: to be counted, frozen and killed. The rest is made when asked for.
ALWAYS = ("cpu", "cpuacct", "memory", "devices", "freezer", "pids", "blkio")


class GroupV1:
    """A container's groups in all hierarchies, at the same relative path."""

    version = "v1"
    base = ""
    __slots__ = ("_mounts", "path")

    def __init__(self, mounts: dict[str, str], path: str) -> None:
        self.path = path.strip("/")
        self._mounts = mounts

    def _directory(self, controller: str, where: str = "") -> str:
        if controller not in self._mounts:
            what = f"{where} cannot be set: this host has" if where else "this host has"
            raise Unsupported(f"{what} no cgroup controller {controller} (version 1)")
        return f"{self._mounts[controller]}/{self.path}"

    def _used(self) -> list[str]:
        return [f"{mount}/{self.path}" for mount in dict.fromkeys(self._mounts.values())]

    def _make(self, controller: str, where: str = "") -> str:
        """Return the directory of a controller's group, made when it is missing."""
        directory = self._directory(controller, where)
        common.make(directory, self.path.count("/"))
        if controller == "cpuset":
            self._fill_cpuset()
        return directory

    def _join(self, controller: str, where: str) -> str:
        """Return the directory of a controller's group; a missing one is made, and the container's processes move in."""
        directory = self._directory(controller, where)
        if not os.path.isdir(directory):
            self._make(controller, where)
            # Again for those that were forked meanwhile.
            for _ in range(20):
                outside = set(self.processes()) - set(common.pids(directory))
                if not outside:
                    break
                for pid in outside:
                    try:
                        common.write(directory + "/cgroup.procs", str(pid))
                    except KernelError as error:
                        if error.errno != 3:  # it has ended
                            raise
        return directory

    def create(self, resources: Resources) -> None:
        """Make the group in each needed hierarchy and set its limits."""
        root = wanted.read(resources)
        for controller in ALWAYS:
            if controller in self._mounts:
                self._make(controller)
        self.check_free()
        wanted.put(settings(root, self._make), new=True)
        if resources.get("devices"):
            self._write_devices(resources["devices"])

    def check_free(self) -> None:
        """Raise Conflict when there is such a group that has processes or is frozen."""
        common.refuse_in_use(self._tasks(), self.frozen())

    def update(self, resources: Resources) -> Callable[[], None]:
        """Set the limits that `resources` names; returns what takes that back."""
        undo = wanted.put(settings(wanted.read(resources), self._join))
        try:
            if resources.get("devices"):
                self._replace_devices(resources["devices"])
        except BaseException:
            wanted.put_back(undo)
            raise
        return lambda: wanted.put_back(undo)

    def _fill_cpuset(self) -> None:
        """Give a new cpuset its values: it is empty and takes no process until it has those of the groups above."""
        above = self._mounts["cpuset"]
        for part in self.path.split("/"):
            here = f"{above}/{part}"
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not common.read(f"{here}/{name}").strip():
                    common.write(f"{here}/{name}", common.read(f"{above}/{name}").strip())
            above = here

    def _write_devices(self, rules: list[DeviceRule]) -> None:
        from .devicerules import v1_lines

        lines = v1_lines(rules)
        directory = self._directory("devices", "linux.resources.devices")
        for name, line in lines:
            common.write(f"{directory}/{name}", line)

    def _replace_devices(self, rules: list[DeviceRule]) -> None:
        """Replace the list of a living group, whose processes rest meanwhile: the list is empty for a moment."""
        from .devicerules import v1_lines

        v1_lines(rules)  # invalid rules are refused before anything is done
        before = common.read(self._directory("devices", "linux.resources.devices") + "/devices.list").splitlines()
        rest = bool(self.processes()) and not self.frozen()
        if rest:
            self.freeze(True)
        try:
            try:
                self._write_devices(rules)
            except KernelError:
                everything = before[:1] == ["a *:* rwm"]
                directory = self._directory("devices")
                common.write(f"{directory}/devices.{'allow' if everything else 'deny'}", "a")
                for line in [] if everything else before:
                    common.write(f"{directory}/devices.allow", line)
                raise
        finally:
            if rest:
                self.freeze(False)

    def birthplace(self) -> int:
        """Return -1: version 1 has none."""
        return -1

    def enter(self) -> None:
        """Move this process into the group in every hierarchy in which it exists.

        Through `tasks` with 0: moving the one thread that writes needs no lock on all forks of the host, which costs
        10 ms and more (kernel: cgroup_procs_write_start).
        """
        self.admit(0)

    def admit(self, pid: int) -> None:
        """Move process `pid`, which has one thread, in the same way."""
        for directory in self._used():
            try:
                common.write(directory + "/tasks", str(pid))
            except KernelError as error:
                if error.errno != 2:
                    raise

    def _tasks(self) -> str:
        """Return the directory whose list of processes counts: where the killing happens, the freezer's."""
        return self._directory("freezer" if "freezer" in self._mounts else "pids")

    def processes(self) -> list[int]:
        """Return the pids in the group and below it."""
        return common.pids(self._tasks())

    def frozen(self) -> bool:
        """Return whether the group is stopped, or about to be."""
        return "freezer" in self._mounts and common.read(self._directory("freezer") + "/freezer.state").strip() in (
            "FROZEN",
            "FREEZING",
        )

    def freeze(self, on: bool) -> None:
        """Freeze or thaw, and wait until it is so."""
        import time

        path = self._directory("freezer") + "/freezer.state"
        wanted_state = "FROZEN" if on else "THAWED"
        for _ in range(1000):
            common.write(path, wanted_state)
            if common.read(path).strip() == wanted_state:
                return
            time.sleep(0.001)
        if on:
            common.write(path, "THAWED")
        raise KernelError("freeze", path, 16)

    def kill(self) -> None:
        """Kill all: frozen first, so that none can fork away."""
        frozen = False
        try:
            if self.processes():
                self.freeze(True)
                frozen = True
        except (KernelError, Unsupported):
            pass
        if frozen:
            for pid in self.processes():
                try:
                    os.kill(pid, common.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                self.freeze(False)
            except KernelError as error:
                if error.errno not in common.GONE:
                    raise
        common.kill_all(self._tasks())

    def out_of_memory(self) -> bool:
        """Return whether `oom_kill` of memory.oom_control has counted."""
        return self.oom_kills() > 0

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed here for want of memory (Linux 4.13)."""
        if "memory" not in self._mounts:
            return 0
        return common.keyed(self._directory("memory") + "/memory.oom_control").get("oom_kill", 0)

    def oom_event(self) -> int:
        """Return an eventfd that is readable when the group has run out of memory, or was removed."""
        from .oom import v1_event

        return v1_event(self._directory("memory"))

    def stats(self) -> Figures:
        """Return what the hierarchies count; see `stats`."""
        from .stats import v1

        return v1({controller: f"{mount}/{self.path}" for controller, mount in self._mounts.items()})

    def remove(self) -> None:
        """Remove the group from every hierarchy, and the engine's own group above it where nothing else is left."""
        for directory in self._used():
            common.remove(directory)
            common.remove_own_parent(directory, self.path)

    def locations(self) -> dict[str, str]:
        """Return the group's directory by controller, where it exists."""
        directories = {c: f"{m}/{self.path}" for c, m in self._mounts.items()}
        return {c: d for c, d in directories.items() if os.path.isdir(d)}
