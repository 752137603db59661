"""Documents that the runtime writes: the example specification of `spec`, and `features`."""

from __future__ import annotations

from ..linux import process
from ..linux.security import capabilities, seccomp
from . import config
from .apply import hooks
from .plan import mountplan
from .policy import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..linux.specification import Linux, Mount, Spec


def specification(ids: tuple[int, int] | None = None) -> Spec:
    """Return a specification that runs a shell in a terminal; with `ids` (uid, gid) for a user without privileges."""
    few = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    flags = ["nosuid", "noexec", "nodev"]
    kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
    linux: Linux = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in kinds],
        "maskedPaths": list(profiles.MASKED_PATHS),
        "readonlyPaths": list(profiles.READONLY_PATHS),
    }
    system: Mount = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*flags, "ro"]}
    if ids is not None:
        del linux["resources"]
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"], linux["gidMappings"] = (
            [{"containerID": 0, "hostID": host_id, "size": 1}] for host_id in ids
        )
    return {
        "ociVersion": config.SPECIFICATION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(few) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "underlay",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            *profiles.device_mounts(ids is None),  # a lone id has no such group
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": [*flags, "mode=1777", "size=65536k"],
            },
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": flags},
            system,
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": [*flags, "relatime", "ro"],
            },
        ],
        "linux": linux,
    }


def features() -> dict[str, Any]:
    """Return the features structure (features, features-linux): what this runtime recognizes, whatever the host."""
    options = ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap", "sync", "dirsync", "lazytime", "mand"]
    options += ["async", "defaults", "loud", "silent", "noiversion", "nolazytime", "nomand"]
    options += [*mountplan.ATTRIBUTES, *("r" + word for word in mountplan.ATTRIBUTES), *mountplan.PROPAGATION]
    natives = {name for names in seccomp.NATIVE.values() for name in names}
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": config.SPECIFICATION,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted(options),
        "linux": {
            "namespaces": sorted(process.NAMESPACES),
            "capabilities": sorted(capabilities.NUMBERS),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(f"SCMP_CMP_{name}" for name in seccomp.OPERATORS),
                "archs": sorted(natives),
                "knownFlags": sorted(name for name in seccomp.FLAGS if name != "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
                "supportedFlags": sorted(name for name in seccomp.FLAGS if name != "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }
