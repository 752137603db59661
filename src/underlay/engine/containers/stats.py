"""Resource usage of a running container: its control group, its network, and the host's totals to compare with."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.cgroup import Group
    from ...linux.cgroup.stats import Figures
    from ...store.rows.containers import ContainerRow


class Stats:
    """A sample of a container's resource usage. Sizes are bytes: since the start, for memory the current ones.

    `id`, `name`; `when` (monotonic ns); `figures`, all counters of the cgroup (see `linux.cgroup.stats`; {} without a
    cgroup); `received`, `sent` over the network.
    """

    __slots__ = ("_memory_there", "figures", "id", "name", "received", "sent", "when")

    def __init__(self, row: ContainerRow, figures: Figures, traffic: tuple[int, int], memory_there: int) -> None:
        self.id = row.id
        self.name = row.name
        self.when = time.monotonic_ns()
        self.figures = figures
        self.received, self.sent = traffic
        self._memory_there = memory_there

    @property
    def cpu(self) -> int:
        """Nanoseconds of processor time since the start."""
        return int(self.figures["cpu"]["usage"]["total"]) if self.figures else 0

    def cpu_percent(self, before: Stats) -> float:
        """Return the processor time since an earlier sample; 100 is one processor."""
        passed = self.when - before.when
        return max(0, self.cpu - before.cpu) / passed * 100 if passed > 0 else 0.0

    @property
    def memory(self) -> int:
        """Memory in use, without file content that the kernel can drop at once (docker stats, "Description")."""
        if not self.figures:
            return 0
        memory = self.figures["memory"]
        usage, raw = int(memory["usage"]["usage"]), memory["raw"]
        # Version 1 counts with the groups below under names of its own.
        inactive = int(raw.get("total_inactive_file", raw.get("inactive_file", 0)))
        return usage - inactive if inactive < usage else usage

    @property
    def memory_limit(self) -> int:
        """The limit of memory, or what the host has where that is less."""
        if not self.figures:
            return 0
        return min(int(self.figures["memory"]["usage"]["limit"]) or self._memory_there, self._memory_there)

    @property
    def memory_percent(self) -> float:
        """The part of the limit that is in use."""
        return self.memory / self.memory_limit * 100 if self.memory_limit else 0.0

    @property
    def read(self) -> int:
        """Bytes read from block devices."""
        return self._block("read")

    @property
    def written(self) -> int:
        """Bytes written to block devices."""
        return self._block("write")

    def _block(self, operation: str) -> int:
        entries = self.figures["blkio"]["ioServiceBytesRecursive"] if self.figures else []
        return sum(entry["value"] for entry in entries if entry["op"].lower() == operation)

    @property
    def pids(self) -> int:
        """Processes and threads."""
        return int(self.figures["pids"]["current"]) if self.figures else 0


def sample(row: ContainerRow, group: Group, pid: int, network: str) -> Stats:
    """Return what a container with the first process `pid` uses now."""
    # The host's interfaces are not a container's.
    traffic = (0, 0) if network == "host" else _traffic(pid)
    return Stats(row, group.stats(), traffic, _host_memory())


def _host_memory() -> int:
    import os

    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _traffic(pid: int) -> tuple[int, int]:
    """Return the bytes received and sent over a process's interfaces but loopback (proc_pid_net(5), "dev")."""
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()[2:]
    except OSError:
        return 0, 0
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if name.strip() != "lo" and len(words) > 8:
            received += int(words[0])
            sent += int(words[8])
    return received, sent
