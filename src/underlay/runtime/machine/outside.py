"""The sandbox of stand-in and QEMU: an OCI specification, made from the container's own. A pure function of its arguments.

What escapes from QEMU finds a process of an id that nothing else has, without capabilities, under the filter of system
calls that every container has, alone in its namespaces, whose files are the host's programs and libraries, read-only.
"""

from __future__ import annotations

import os

from ...errors import Unsupported
from ..policy import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...linux.specification import Cpu, DeviceRule, Mount, Namespace, Resources, Spec
    from .records import MachineRecord

KERNEL, INITRD = "/machine/kernel", "/machine/initrd"
OVERHEAD = 192 << 20  # bytes that QEMU and the stand-in may have beyond the machine's memory
RESERVE = 128 << 20  # bytes of the machine's memory for its kernel and the agent, beyond what the container may have
LEAST = 256 << 20  # bytes of memory that a machine has at least
_FIRST_USER = 2_000_000_000  # far from the ids of people, services and subordinate ranges
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
ENVIRONMENT = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
_NOTHING_NEW = ["ro", "rbind", "nosuid", "nodev"]


def user(container_id: str) -> int:
    """Return the id of the user and group that the stand-in and QEMU of a container, or of a step of a build, run as."""
    digits = container_id.rpartition("-")[2]
    return _FIRST_USER + (int(digits[:7], 16) >> 1)


def places(python: str, import_path: Sequence[str], program: str) -> list[str]:
    """Return the directories and files of the host that the sandbox shows: what Python and QEMU are made of."""
    wanted = [path for path in _PROGRAMS if os.path.exists(path)]
    real = os.path.realpath(python)
    for path in (os.path.dirname(os.path.dirname(real)), *import_path, os.path.dirname(os.path.realpath(program))):
        if not any(path == place or path.startswith(place + "/") for place in wanted):
            wanted.append(path)
    return wanted


def specification(
    spec: Spec,
    container_id: str,
    machine: MachineRecord,
    paths: tuple[str, str],
    arguments: list[str],
    shown: Sequence[str],
) -> Spec:
    """Return the sandbox's specification for a container's; `paths` are the kernel and the initrd on the host,
    `arguments` what is run, `shown` what `places` has returned."""
    linux = spec["linux"]
    number = user(container_id)
    accelerated = machine["accelerator"] == "kvm"
    mounts: list[Mount] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec", "mode=755", "size=64k"],
        },
    ]
    if spec["process"].get("terminal"):
        options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", f"gid={number}"]
        mounts.append({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": options})
    for path in shown:
        if not os.path.islink(path):
            mounts.append({"destination": path, "type": "bind", "source": path, "options": _NOTHING_NEW})
    for place, source in ((KERNEL, paths[0]), (INITRD, paths[1])):
        mounts.append({"destination": place, "type": "bind", "source": source, "options": _NOTHING_NEW})
    groups = []
    if accelerated:
        mounts.append({"destination": "/dev/kvm", "type": "bind", "source": "/dev/kvm", "options": ["rbind"]})
        groups.append(os.stat("/dev/kvm").st_gid)
    kinds: list[Namespace] = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup")]
    namespaces = [item for item in linux["namespaces"] if item["type"] == "network"]
    made: Spec = {
        "ociVersion": spec["ociVersion"],
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "machine",
        "process": {
            "terminal": bool(spec["process"].get("terminal")),
            "args": arguments,
            "env": ENVIRONMENT,
            "cwd": "/",
            "user": {"uid": number, "gid": number, "additionalGids": groups},
            "capabilities": {"bounding": [], "permitted": [], "effective": [], "inheritable": [], "ambient": []},
            "noNewPrivileges": True,
        },
        "mounts": mounts,
        "annotations": {},
        "linux": {
            "namespaces": [*kinds, *namespaces],
            "resources": resources(linux.get("resources") or {}, machine["memory"], accelerated),
            "maskedPaths": linux.get("maskedPaths") or [],
            "readonlyPaths": linux.get("readonlyPaths") or [],
            "devices": [],
        },
    }
    if "consoleSize" in spec["process"]:
        made["process"]["consoleSize"] = spec["process"]["consoleSize"]
    if "oomScoreAdj" in spec["process"]:
        made["process"]["oomScoreAdj"] = spec["process"]["oomScoreAdj"]
    made["process"]["apparmorProfile"] = spec["process"].get("apparmorProfile", "")
    return made


def resources(given: Resources, memory: int, accelerated: bool) -> Resources:
    """Return the limits of QEMU as a whole, for those of a container in a machine with `memory` bytes.

    What a kernel counts by process holds in the machine, what it counts by processor or disk of the host, here; the memory
    of the container holds in the machine, that of the machine here. Raises Unsupported.
    """
    for name in ("hugepageLimits", "network", "rdma", "unified"):
        if given.get(name):
            raise Unsupported(f"--isolation machine: a limit of {name} is not possible")
    made: Resources = {"devices": [*profiles.device_rules(), *(_KVM if accelerated else ())]}
    if "cpu" in given:
        made["cpu"] = given["cpu"]
    if "blockIO" in given:
        made["blockIO"] = given["blockIO"]
    if (given.get("memory") or {}).get("limit"):
        whole = memory + OVERHEAD
        made["memory"] = {"limit": whole, "swap": whole}
    return made


_KVM: list[DeviceRule] = [{"allow": True, "type": "c", "major": 10, "minor": 232, "access": "rw"}]


def memory_of(limit: int, host: int) -> int:
    """Return the bytes of memory of a machine whose container may have `limit` bytes, 0 for no limit, on a host that has
    `host` bytes: then half of those, 2 GiB at most."""
    wanted = limit + RESERVE if limit > 0 else min(host // 2, 2 << 30)
    return max(LEAST, -(-wanted // (1 << 20)) << 20)


def room_of(memory: int) -> int:
    """Return the most bytes that the container in a machine with `memory` bytes can be allowed."""
    return memory - RESERVE


def changes(given: Resources, memory: int) -> Resources:
    """Return the limits of QEMU as a whole that change with those `given` of a container, in a machine that runs."""
    made = resources(given, memory, False)
    del made["devices"]
    return made


def processors_of(cpu: Cpu, host: int) -> int:
    """Return the processors of a machine for a container's limits, on a host that has `host`."""
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 100_000
    count = host
    if quota > 0:
        count = min(count, -(-quota // period))
    words = cpu.get("cpus") or ""
    if words:
        count = min(count, sum(_span(word) for word in words.split(",")))
    return max(1, min(count, 64))


def _span(word: str) -> int:
    first, _, last = word.partition("-")
    return int(last or first) - int(first) + 1
