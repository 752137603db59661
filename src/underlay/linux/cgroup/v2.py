"""Control groups version 2: one hierarchy (kernel: admin-guide/cgroup-v2)."""

from __future__ import annotations

import os

from ...errors import KernelError, Unsupported
from . import common, refuse_unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KNOWN = {
    "memory": ("limit", "reservation", "swap", "checkBeforeUpdate"),
    "cpu": ("shares", "quota", "period", "cpus", "mems", "burst", "idle"),
    "pids": ("limit",),
    "devices": (),
    "blockIO": ("weight",),
    "unified": (),
}


def weight_of_shares(shares: int) -> int:
    """Return the cpu.weight (1 to 10000) for version 1 shares (2 to 262144), by the runtime specification's formula."""
    return max(1, min(10000, 1 + (shares - 2) * 9999 // 262142))


class GroupV2:
    """A container's group in the unified hierarchy."""

    version = "v2"
    __slots__ = ("_filter_devices", "base", "directory", "path")

    def __init__(self, base: str, path: str, filter_devices: bool = True) -> None:
        self.path = path.strip("/")
        self.base = base
        self._filter_devices = filter_devices
        self.directory = f"{base}/{self.path}"

    def create(self, resources: dict[str, Any]) -> None:
        """Make the group, enable controllers on the way to it and set its limits."""
        controllers = ["cpu", "memory", "pids"]
        cpu = resources.get("cpu") or {}
        if cpu.get("cpus") or cpu.get("mems"):
            controllers.append("cpuset")
        if resources.get("blockIO"):
            controllers.append("io")
        controllers += [name.partition(".")[0] for name in resources.get("unified") or {}]
        above = self.base
        for part in self.path.split("/"):
            self._enable(above, controllers)
            above = f"{above}/{part}"
            common.make(above, self.path.count("/"))
        self.update(resources)
        devices = resources.get("devices") or []
        if devices and self._filter_devices:
            from .devices import attach_rules

            attach_rules(self.directory, devices)

    def _enable(self, directory: str, controllers: list[str]) -> None:
        enabled = common.read(directory + "/cgroup.subtree_control").split()
        offered = common.read(directory + "/cgroup.controllers").split()
        missing = [c for c in controllers if c in offered and c not in enabled]
        for controller in missing:
            try:
                common.write(directory + "/cgroup.subtree_control", "+" + controller)
            except KernelError as error:
                # EBUSY: processes live in that group (not the root). Limits that need it will say so.
                if error.errno not in (13, 16):
                    raise

    def _limit(self, name: str, value: str, what: str) -> None:
        path = f"{self.directory}/{name}"
        if not os.path.exists(path):
            controller = name.partition(".")[0]
            raise Unsupported(
                f"{what} cannot be limited: the cgroup controller {controller} is not available here",
                "run as root, or in a delegated cgroup whose processes live in groups below it",
            )
        common.write(path, value)

    def update(self, resources: dict[str, Any]) -> None:
        """Set the limits that `resources` names."""
        refuse_unknown(resources, _KNOWN, "v2")
        memory = resources.get("memory") or {}
        limit, swap = memory.get("limit"), memory.get("swap")
        if limit:
            self._limit("memory.max", "max" if limit < 0 else str(limit), "memory")
        if swap and os.path.exists(self.directory + "/memory.swap.max"):
            if swap < 0:
                self._limit("memory.swap.max", "max", "swap")
            elif limit and limit > 0:
                if swap < limit:
                    raise Unsupported("linux.resources.memory.swap is less than linux.resources.memory.limit")
                self._limit("memory.swap.max", str(swap - limit), "swap")
        if memory.get("reservation"):
            self._limit("memory.low", str(memory["reservation"]), "memory")
        cpu = resources.get("cpu") or {}
        if cpu.get("shares"):
            self._limit("cpu.weight", str(weight_of_shares(cpu["shares"])), "cpu")
        if cpu.get("idle") is not None:
            self._limit("cpu.idle", str(cpu["idle"]), "cpu")
        if cpu.get("quota") or cpu.get("period"):
            quota = cpu.get("quota") or -1
            period = cpu.get("period") or 100000
            self._limit("cpu.max", f"{quota if quota > 0 else 'max'} {period}", "cpu")
        if cpu.get("burst") is not None:
            self._limit("cpu.max.burst", str(cpu["burst"]), "cpu")
        if cpu.get("cpus"):
            self._limit("cpuset.cpus", str(cpu["cpus"]), "cpu")
        if cpu.get("mems"):
            self._limit("cpuset.mems", str(cpu["mems"]), "cpu")
        pids = (resources.get("pids") or {}).get("limit")
        if pids is not None:
            self._limit("pids.max", str(pids) if pids > 0 else "max", "processes")
        weight = (resources.get("blockIO") or {}).get("weight")
        if weight:
            # 10..1000 of version 1 becomes 1..10000 (runtime specification, as runc and crun convert it).
            self._limit("io.weight", str(1 + (weight - 10) * 9999 // 990), "block I/O")
        for name, value in (resources.get("unified") or {}).items():
            if "/" in name or name.startswith("cgroup."):
                raise Unsupported(f"linux.resources.unified[{name!r}] is not a limit")
            self._limit(name, str(value), name)

    def birthplace(self) -> int:
        """Return a descriptor of the group."""
        return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Move this process into the group."""
        common.write(self.directory + "/cgroup.procs", "0")

    def processes(self) -> list[int]:
        """Return the pids in the group and below it."""
        return common.pids(self.directory)

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
        return common.keyed(self.directory + "/memory.events").get("oom_kill", 0) > 0

    def stats(self) -> dict[str, int]:
        """Return what the group counts."""
        usage = common.integer(self.directory + "/memory.current")
        inactive = common.keyed(self.directory + "/memory.stat").get("inactive_file", 0)
        return {
            "memory.usage": usage,
            "memory.working": max(0, usage - inactive),
            "memory.peak": common.integer(self.directory + "/memory.peak"),
            "memory.limit": common.integer(self.directory + "/memory.max"),
            "cpu.usage": common.keyed(self.directory + "/cpu.stat").get("usage_usec", 0) * 1000,
            "pids.current": common.integer(self.directory + "/pids.current"),
        }

    def remove(self) -> None:
        """Remove the group, and the group above it when nothing else is left there."""
        common.remove(self.directory)
        if "/" in self.path:
            common.remove_empty_parent(self.directory)

    def locations(self) -> dict[str, str]:
        """Return the group's directory."""
        return {"": self.directory}
