"""Features of this host, gathered once: control groups, security modules, namespaces, file systems."""

from __future__ import annotations

import os

from . import cgroup
from .security import apparmor, landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def gather() -> dict[str, Any]:
    """Return facts of the kernel and of this process's standing on it; values that JSON can hold.

    `cgroup` {version, controllers}; `security` names of what confines containers here; `lsm` the active security modules;
    `user_namespaces` how many may be made (0 is none); `filesystems` of those we use, the known ones; `landlock` the
    version of its interface, 0 for none.
    """
    version, mounts = cgroup.detect()
    if version == "v2":
        controllers = _read(mounts[""] + "/cgroup.controllers").split()
    else:
        controllers = sorted(name for name in mounts if not name.startswith("name="))
    lsm = [name for name in _read("/sys/kernel/security/lsm").strip().split(",") if name]
    if not lsm and _read("/sys/module/apparmor/parameters/enabled").strip() == "Y":
        lsm = ["apparmor"]
    known = _read("/proc/filesystems").split()
    return {
        "cgroup": {"version": version, "controllers": controllers},
        "security": _security(version),
        "lsm": lsm,
        "user_namespaces": _number("/proc/sys/user/max_user_namespaces"),
        "filesystems": [name for name in ("overlay", "erofs", "tmpfs", "ext4", "xfs", "btrfs") if name in known],
        "landlock": landlock.version(),
        "swap_accounting": _swap_accounting(version, mounts),
        "vsyscall": "vsyscall" in _read("/proc/self/maps"),
    }


def _security(version: str) -> list[str]:
    features = []
    if "SECCOMP" in _read("/proc/self/status").upper():
        features.append("seccomp")
    if apparmor.enabled():
        features.append("apparmor")
    features.append("capabilities")
    if version != "none":
        features.append("devices")
    if os.path.exists("/proc/self/ns/cgroup"):
        features.append("cgroupns")
    return features


def _swap_accounting(version: str, mounts: dict[str, str]) -> bool:
    if version == "v1":
        return os.path.exists(mounts.get("memory", "") + "/memory.memsw.limit_in_bytes")
    if version == "v2":
        # The root group has no such file: any group below it shows.
        try:
            with os.scandir(mounts[""]) as entries:
                return any(os.path.exists(f"{e.path}/memory.swap.max") for e in entries if e.is_dir())
        except OSError:
            return False
    return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0
