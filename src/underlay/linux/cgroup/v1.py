"""Control groups version 1: one hierarchy a controller (kernel: admin-guide/cgroup-v1)."""

from __future__ import annotations

import os

from ...errors import KernelError, Unsupported
from . import common, refuse_unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Joined by every container: killing and freezing as a whole, counting, and the list of devices.
_ALWAYS = ("devices", "memory", "pids", "freezer", "cpu", "cpuacct")
_KNOWN = {
    "memory": ("limit", "reservation", "swap", "swappiness", "disableOOMKiller", "kernel", "kernelTCP"),
    "cpu": ("shares", "quota", "period", "cpus", "mems", "realtimePeriod", "realtimeRuntime"),
    "pids": ("limit",),
    "devices": (),
    "blockIO": ("weight",),
}


class GroupV1:
    """A container's groups in all hierarchies, at the same relative path."""

    version = "v1"
    base = ""
    __slots__ = ("_mounts", "path")

    def __init__(self, mounts: dict[str, str], path: str) -> None:
        self.path = path.strip("/")
        self._mounts = mounts

    def _directory(self, controller: str) -> str:
        if controller not in self._mounts:
            raise Unsupported(f"this host has no cgroup controller {controller}")
        return f"{self._mounts[controller]}/{self.path}"

    def _used(self) -> list[str]:
        return [f"{mount}/{self.path}" for mount in dict.fromkeys(self._mounts.values())]

    def create(self, resources: dict[str, Any]) -> None:
        """Make the group in each needed hierarchy and set its limits."""
        controllers = [c for c in _ALWAYS if c in self._mounts]
        cpu = resources.get("cpu") or {}
        if cpu.get("cpus") or cpu.get("mems"):
            controllers.append("cpuset")
        if resources.get("blockIO"):
            controllers.append("blkio")
        depth = self.path.count("/")
        for directory in dict.fromkeys(self._directory(c) for c in controllers):
            common.make(directory, depth)
        self.update(resources)
        self._set_devices(resources.get("devices") or [])

    def update(self, resources: dict[str, Any]) -> None:
        """Set the limits that `resources` names."""
        refuse_unknown(resources, _KNOWN, "v1")
        memory = resources.get("memory") or {}
        if memory:
            self._set_memory(memory)
        cpu = resources.get("cpu") or {}
        if cpu.get("shares"):
            common.write(self._directory("cpu") + "/cpu.shares", str(cpu["shares"]))
        if cpu.get("period"):
            common.write(self._directory("cpu") + "/cpu.cfs_period_us", str(cpu["period"]))
        if cpu.get("quota"):
            common.write(self._directory("cpu") + "/cpu.cfs_quota_us", str(cpu["quota"]))
        if cpu.get("realtimePeriod"):
            common.write(self._directory("cpu") + "/cpu.rt_period_us", str(cpu["realtimePeriod"]))
        if cpu.get("realtimeRuntime"):
            common.write(self._directory("cpu") + "/cpu.rt_runtime_us", str(cpu["realtimeRuntime"]))
        if cpu.get("cpus") or cpu.get("mems"):
            self._set_cpuset(str(cpu.get("cpus") or ""), str(cpu.get("mems") or ""))
        limit = (resources.get("pids") or {}).get("limit")
        if limit is not None:
            common.write(self._directory("pids") + "/pids.max", str(limit) if limit > 0 else "max")
        weight = (resources.get("blockIO") or {}).get("weight")
        if weight:
            directory = self._directory("blkio")
            name = "blkio.bfq.weight" if os.path.exists(directory + "/blkio.bfq.weight") else "blkio.weight"
            if not os.path.exists(f"{directory}/{name}"):
                raise Unsupported(
                    "linux.resources.blockIO.weight: no I/O scheduler with weights is active on this host"
                )
            common.write(f"{directory}/{name}", str(weight))

    def _set_memory(self, memory: dict[str, Any]) -> None:
        directory = self._directory("memory")
        limit, swap = memory.get("limit"), memory.get("swap")
        files = [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", swap)]
        if not os.path.exists(directory + "/memory.memsw.limit_in_bytes"):
            # No swap accounting: memory alone is limited, as docker does with a warning.
            files.pop()
        elif limit and swap and limit > common.integer(directory + "/memory.limit_in_bytes") > 0:
            files.reverse()  # growing: the sum must be raised before its part
        for name, value in files:
            if value:
                common.write(f"{directory}/{name}", str(value))
        if memory.get("reservation"):
            common.write(directory + "/memory.soft_limit_in_bytes", str(memory["reservation"]))
        if memory.get("swappiness") is not None:
            common.write(directory + "/memory.swappiness", str(memory["swappiness"]))
        if memory.get("disableOOMKiller"):
            common.write(directory + "/memory.oom_control", "1")

    def _set_cpuset(self, cpus: str, mems: str) -> None:
        directory = self._directory("cpuset")
        # A new cpuset is empty and takes no process: values come from the groups above, from the top down.
        above = self._mounts["cpuset"]
        for part in self.path.split("/"):
            here = f"{above}/{part}"
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not common.read(f"{here}/{name}").strip():
                    common.write(f"{here}/{name}", common.read(f"{above}/{name}").strip())
            above = here
        if cpus:
            common.write(directory + "/cpuset.cpus", cpus)
        if mems:
            common.write(directory + "/cpuset.mems", mems)

    def _set_devices(self, rules: list[dict[str, Any]]) -> None:
        if not rules:
            return
        directory = self._directory("devices")
        for rule in rules:
            kind = rule.get("type") or "a"
            if kind == "a":
                line = "a"
            else:
                major, minor = rule.get("major"), rule.get("minor")
                numbers = ["*" if n is None or n < 0 else str(n) for n in (major, minor)]
                line = f"{kind} {numbers[0]}:{numbers[1]} {rule.get('access') or 'rwm'}"
            common.write(f"{directory}/devices.{'allow' if rule.get('allow') else 'deny'}", line)

    def birthplace(self) -> int:
        """Return -1: version 1 has none."""
        return -1

    def enter(self) -> None:
        """Move this process into the group in every hierarchy in which it exists.

        Through `tasks` with 0: moving the one thread that writes needs no lock on all forks of the host, which costs
        10 ms and more (kernel: cgroup_procs_write_start).
        """
        for directory in self._used():
            try:
                common.write(directory + "/tasks", "0")
            except KernelError as error:
                if error.errno != 2:
                    raise

    def processes(self) -> list[int]:
        """Return the pids in the group (read where the killing happens: the freezer's hierarchy)."""
        return common.pids(self._directory("freezer" if "freezer" in self._mounts else "pids"))

    def freeze(self, on: bool) -> None:
        """Freeze or thaw, and wait until it is so."""
        import time

        path = self._directory("freezer") + "/freezer.state"
        wanted = "FROZEN" if on else "THAWED"
        for _ in range(1000):
            common.write(path, wanted)
            if common.read(path).strip() == wanted:
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
            self.freeze(False)
        common.kill_all(self._directory("freezer" if "freezer" in self._mounts else "pids"))

    def out_of_memory(self) -> bool:
        """Return whether `oom_kill` of memory.oom_control has counted."""
        if "memory" not in self._mounts:
            return False
        return common.keyed(self._directory("memory") + "/memory.oom_control").get("oom_kill", 0) > 0

    def stats(self) -> dict[str, int]:
        """Return what the hierarchies count."""
        memory = self._mounts.get("memory", "") + "/" + self.path
        usage = common.integer(memory + "/memory.usage_in_bytes")
        inactive = common.keyed(memory + "/memory.stat").get("total_inactive_file", 0)
        return {
            "memory.usage": usage,
            "memory.working": max(0, usage - inactive),
            "memory.peak": common.integer(memory + "/memory.max_usage_in_bytes"),
            "memory.limit": common.integer(memory + "/memory.limit_in_bytes"),
            "cpu.usage": common.integer(f"{self._mounts.get('cpuacct', '')}/{self.path}/cpuacct.usage"),
            "pids.current": common.integer(f"{self._mounts.get('pids', '')}/{self.path}/pids.current"),
        }

    def remove(self) -> None:
        """Remove the group from every hierarchy, and the group above it where nothing else is left."""
        for directory in self._used():
            common.remove(directory)
            if "/" in self.path:
                common.remove_empty_parent(directory)

    def locations(self) -> dict[str, str]:
        """Return the group's directory by controller, where it exists."""
        found = {c: f"{m}/{self.path}" for c, m in self._mounts.items()}
        return {c: d for c, d in found.items() if os.path.isdir(d)}
