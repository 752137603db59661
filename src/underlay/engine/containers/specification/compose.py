"""Composes the OCI specification of a container from its image's configuration and its options. A pure function.

The rules are docker's (docker run; container defaults): what the wishes leave open the image says, what both leave
open is the default. Host facts come in as a value.
"""

from __future__ import annotations

from ....errors import InvalidInput, Unsupported
from ....human import whole
from ....linux.security.capabilities import NUMBERS
from ....runtime.plan import mountplan, processplan
from ....runtime.policy import profiles
from . import limits, mount_flags
from .limits import device_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from ....linux.specification import Device, IdMaps, Linux, Maps, Mount, Namespace, Process, Rlimit, Spec
    from ....oci.configuration import Execution
    from ...options import ContainerOptions

    # What --security-opt says; `given` tells whether it is the filter that was asked for.
    Security = TypedDict(
        "Security",
        {
            "seccomp": str,
            "no-new-privileges": bool,
            "systempaths": str,
            "given": bool,
            "apparmor": str,
            "landlock": list[list[str]],
        },
    )

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Kernel parameters that belong to a namespace of the container (container defaults, "sysctls").
_IPC_SYSCTLS = frozenset(
    (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
)
_ULIMITS = {name.removeprefix("RLIMIT_").lower(): name for name in processplan.RLIMITS}


class HostFacts:
    """What the composition needs to know of the host and of other containers."""

    __slots__ = (
        "apparmor",
        "apparmor_default",
        "block_devices",
        "capabilities",
        "device",
        "devices",
        "joined",
        "kept",
        "maps",
        "network_namespace",
        "online_cpus",
        "online_mems",
        "processors",
        "rootless",
        "user",
        "user_namespace",
        "user_pid",
    )

    def __init__(self) -> None:
        self.rootless = False
        self.user_namespace = False  # whether the container has another than the host's
        self.user_pid = 0  # of the process whose user namespace is joined; 0 for a new one
        self.maps: IdMaps = ([], [])
        self.kept = (0, 0)  # what the caller's own ids are inside
        self.user = ""  # whom to be, when nobody has said
        self.capabilities: list[str] = []  # all that the kernel knows
        self.devices: list[Device] = []  # all nodes of the host, for --privileged
        self.device: dict[str, list[Device]] = {}  # host path → nodes, for --device
        self.block_devices: dict[str, tuple[int, int]] = {}  # path → numbers, for limits of I/O
        self.network_namespace = ""  # the file of one that is made beforehand, for networks other than none and host
        self.processors = 0  # how many; 0 and "" where nobody has asked
        self.online_cpus = ""
        self.online_mems = ""
        self.apparmor = False  # whether the kernel confines by AppArmor profiles
        self.apparmor_default = ""  # the name of the default profile, where it can be had
        self.joined: dict[str, int] = {}  # "container:NAME" → pid of its first process


class Composed:
    """A specification and what belongs to it beyond the OCI's words."""

    __slots__ = ("copy_up", "groups", "init", "landlock", "seccomp", "soft_sysctls", "spec", "stop_signal", "user")

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.user = ""
        self.groups: list[str] = []
        self.init = False
        self.soft_sysctls: dict[str, str] = {}
        self.copy_up: list[str] = []
        self.seccomp = "default"  # or "unconfined", or the path of a profile
        self.landlock: list[list[str]] = []
        self.stop_signal = "SIGTERM"


def compose(
    container_id: str,
    wish: ContainerOptions,
    image: Execution,
    mounts: list[mount_flags.Mount],
    files: dict[str, str],
    host: HostFacts,
) -> Composed:
    """Return the specification of a container.

    `image` is the `config` object of the image's
    configuration, `mounts` the volumes with their sources known, `files` host paths by container path for /etc/hosts and
    its kin. Raises InvalidInput and Unsupported naming the option.
    """
    arguments = _arguments(wish, image)
    hostname = wish.hostname or container_id[:12]
    namespaces, own = _namespaces(wish, host)
    capabilities = _capabilities(wish, host)
    security = _security(wish)
    process: Process = {
        "terminal": wish.terminal,
        "args": arguments,
        "env": _environment(wish, image, hostname),
        "cwd": _directory(wish.working_directory or image.get("WorkingDir") or "/"),
        "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": capabilities, "permitted": capabilities, "effective": capabilities},
        "noNewPrivileges": security["no-new-privileges"],
    }
    if wish.ulimits:
        process["rlimits"] = [_ulimit(text) for text in wish.ulimits]
    label = _label(security["apparmor"], wish.privileged, host)
    if label:
        process["apparmorProfile"] = label
    if wish.oom_score_adj:
        process["oomScoreAdj"] = wish.oom_score_adj
    open_paths = wish.privileged or security["systempaths"] == "unconfined"
    linux: Linux = {
        "namespaces": namespaces,
        "resources": limits.compose(wish, host),
        "maskedPaths": [] if open_paths else list(profiles.MASKED_PATHS),
        "readonlyPaths": [] if open_paths else list(profiles.READONLY_PATHS),
        "devices": [] if host.user_namespace else _device_nodes(wish, host),
    }
    if host.user_namespace:
        linux["uidMappings"], linux["gidMappings"] = host.maps
    if wish.sysctls:
        linux["sysctl"] = _sysctls(wish.sysctls, own)
    spec: Spec = {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": wish.read_only},
        "process": process,
        "mounts": _mounts(wish, mounts, files, own, host),
        "linux": linux,
        "annotations": dict(wish.annotations),
    }
    if "uts" in own:
        spec["hostname"] = hostname
        if wish.domainname:
            spec["domainname"] = wish.domainname
    composed = Composed(spec)
    composed.user = wish.user or host.user or image.get("User") or ""
    composed.groups = list(wish.groups)
    composed.init = wish.init
    if "network" in own:
        composed.soft_sysctls = dict(profiles.NETWORK_SYSCTLS)
        if host.user_namespace:
            # The kernel takes only groups that are mapped.
            composed.soft_sysctls["net.ipv4.ping_group_range"] = f"0 {_highest(host.maps[1])}"
    composed.copy_up = [mount.target for mount in mounts if mount.copy_up]
    composed.seccomp = "unconfined" if wish.privileged and not security["given"] else security["seccomp"]
    composed.landlock = security["landlock"]
    composed.stop_signal = wish.stop_signal or image.get("StopSignal") or "SIGTERM"
    return composed


def _arguments(wish: ContainerOptions, image: Execution) -> list[str]:
    entrypoint, command = image.get("Entrypoint") or [], image.get("Cmd") or []
    if wish.entrypoint is not None:
        # Another entrypoint makes the image's own command meaningless (docker run, "--entrypoint").
        entrypoint, command = wish.entrypoint, []
    if wish.command:
        command = wish.command
    arguments = [*entrypoint, *command]
    if not arguments:
        raise InvalidInput("no command specified", "the image has neither ENTRYPOINT nor CMD: name a command after it")
    for argument in arguments:
        if "\0" in argument:
            raise InvalidInput("a command cannot hold a NUL character")
    return arguments


def _directory(path: str) -> str:
    import posixpath

    if not path.startswith("/"):
        raise InvalidInput(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return posixpath.normpath(path) if path != "//" else "/"


def _environment(wish: ContainerOptions, image: Execution, hostname: str) -> list[str]:
    values = {"PATH": PATH, "HOSTNAME": hostname}
    if wish.terminal:
        values["TERM"] = "xterm"
    for text in [*(image.get("Env") or []), *wish.environment]:
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            raise InvalidInput(f"invalid environment variable: {text!r}")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    return [f"{name}={value}" for name, value in values.items()]


def _namespaces(wish: ContainerOptions, host: HostFacts) -> tuple[list[Namespace], set[str]]:
    """Return the namespaces of the specification, and the kinds that are the container's own."""
    found: list[Namespace] = [{"type": "mount"}]
    own = {"mount"}
    if host.user_pid:
        found.insert(0, {"type": "user", "path": f"/proc/{host.user_pid}/ns/user"})
    elif host.user_namespace and host.network_namespace:
        # Made beforehand as well: the network namespace belongs to it.
        found.insert(0, {"type": "user", "path": host.network_namespace + ".user"})
        own.add("user")
    elif host.user_namespace:
        found.insert(0, {"type": "user"})
        own.add("user")
    network = wish.network or "none"
    choices = (
        ("network", network, ("none",), "network", "net"),
        ("pid", wish.pid or "private", ("private",), "pid", "pid"),
        ("ipc", wish.ipc or "private", ("private", "shareable", "none"), "ipc", "ipc"),
        ("uts", wish.uts or "private", ("private",), "uts", "uts"),
        ("cgroup", wish.cgroupns or "private", ("private",), "cgroupns", "cgroup"),
    )
    for kind, value, private, option, file in choices:
        if value in private:
            found.append({"type": kind})
            own.add(kind)
        elif value == "host":
            continue
        elif kind == "network" and host.network_namespace:
            found.append({"type": kind, "path": host.network_namespace})
            own.add(kind)
        elif value.startswith("container:") and option in ("network", "pid", "ipc", "uts"):
            found.append({"type": kind, "path": f"/proc/{host.joined[value]}/ns/{file}"})
        else:
            raise InvalidInput(f"--{option}: invalid mode: {value}")
    return found, own


def _capabilities(wish: ContainerOptions, host: HostFacts) -> list[str]:
    if wish.privileged:
        return list(host.capabilities)
    add, drop = [_capability(c) for c in wish.cap_add], [_capability(c) for c in wish.cap_drop]
    if "ALL" in drop:
        chosen: list[str] = []
    elif "ALL" in add:
        chosen = list(host.capabilities)
    else:
        chosen = list(profiles.CAPABILITIES)
    if "ALL" in add and "ALL" in drop:
        chosen = list(host.capabilities)
    chosen = [c for c in chosen if c not in drop]
    chosen += [c for c in add if c != "ALL" and c not in chosen]
    return [c for c in chosen if c in host.capabilities]


def _capability(name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    if not upper.startswith("CAP_"):
        upper = "CAP_" + upper
    if upper not in NUMBERS:
        raise InvalidInput(f'invalid capability: "{name}"', "see capabilities(7) for the names")
    return upper


def _security(wish: ContainerOptions) -> Security:
    found: Security = {
        "seccomp": "default",
        "no-new-privileges": False,
        "systempaths": "",
        "given": False,
        "apparmor": "",
        "landlock": [],
    }
    for text in wish.security:
        key, separator, value = text.partition("=")
        if not separator and ":" in text:
            key, _, value = text.partition(":")
        if key == "no-new-privileges":
            if value not in ("", "true", "false"):
                raise InvalidInput(f"invalid --security-opt: {text}")
            found["no-new-privileges"] = value != "false"
        elif key == "seccomp":
            found["seccomp"], found["given"] = value, True
        elif key == "systempaths" and value == "unconfined":
            found["systempaths"] = value
        elif key == "apparmor" and value:
            found["apparmor"] = value
        elif key == "landlock":
            from ....linux.security import landlock

            found["landlock"] += landlock.parse(value)
        elif key == "label":
            if value != "disable":
                raise Unsupported(f"--security-opt {text} is not supported yet")
        else:
            raise InvalidInput(f"invalid --security-opt: {text}")
    return found


def _label(wanted: str, privileged: bool, host: HostFacts) -> str:
    """Return the AppArmor profile of a container, "" where there is no AppArmor; raises Unsupported."""
    if not host.apparmor:
        if wanted not in ("", "unconfined"):
            raise Unsupported(f"--security-opt apparmor={wanted}: AppArmor is not enabled on this host")
        return ""
    return wanted or ("unconfined" if privileged else host.apparmor_default)


def _ulimit(text: str) -> Rlimit:
    name, _, value = text.partition("=")
    soft, colon, hard = value.partition(":")
    if name not in _ULIMITS:
        raise InvalidInput(f"invalid ulimit type: {name}")
    words = (soft, hard if colon else soft)
    low, high = map(whole, words)
    if any(number < 0 and word not in ("unlimited", "-1") for word, number in zip(words, (low, high), strict=True)):
        raise InvalidInput(f"invalid ulimit argument: {text}")
    if high != -1 and (low > high or low == -1):
        raise InvalidInput(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return {"type": _ULIMITS[name], "soft": low, "hard": high}


def _sysctls(wanted: dict[str, str], own: set[str]) -> dict[str, str]:
    for name in wanted:
        if "/" in name or ".." in name:
            raise InvalidInput(f"sysctl '{name}' is not a dotted name")
        if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            needed = "ipc"
        elif name.startswith("net."):
            needed = "network"
        elif name == "kernel.domainname":
            needed = "uts"
        else:
            raise InvalidInput(
                f"sysctl '{name}' is not allowed",
                "it belongs to the whole host, not to a container's namespace",
            )
        if needed not in own:
            raise InvalidInput(f"sysctl '{name}' is not allowed: the {needed} namespace is not the container's own")
    return dict(wanted)


def _device_nodes(wish: ContainerOptions, host: HostFacts) -> list[Device]:
    """Return the nodes asked for; raises InvalidInput when there is none."""
    if wish.privileged:
        return list(host.devices)
    found: list[Device] = []
    for text in wish.devices:
        path, target, _, _ = device_words(text)
        nodes = host.device.get(path)
        if not nodes:
            raise InvalidInput(f"error gathering device information: no device at {path}")
        for node in nodes:
            found.append({**node, "path": target + node["path"][len(path) :]})
    return found


def _device_binds(wish: ContainerOptions, host: HostFacts) -> list[Mount]:
    """Return the devices asked for as mounts: in a user namespace no node can be made, but the host's can be bound."""
    found: list[Mount] = []
    usual = {path for path, *_ in mountplan.DEFAULT_DEVICES}
    for path in (node["path"] for node in host.devices):
        # Those who own them are nobody inside, so most can only be looked at.
        if path not in usual:
            found.append({"destination": path, "type": "bind", "source": path, "options": ["bind"]})
    for text in wish.devices:
        path, target, _, access = device_words(text)
        if not host.device.get(path):
            raise InvalidInput(f"error gathering device information: no device at {path}")
        options = ["rbind"] if "w" in access else ["rbind", "ro"]
        found.append({"destination": target, "type": "bind", "source": path, "options": options})
    return found


def _mounts(
    wish: ContainerOptions, user: list[mount_flags.Mount], files: dict[str, str], own: set[str], host: HostFacts
) -> list[Mount]:
    """Return the mounts in the order in which they are made: the kernel's, the engine's files, the user's by depth."""
    taken = {mount.target for mount in user}
    for path in taken:
        if path == "/proc" or path.startswith("/proc/"):
            raise InvalidInput(f"invalid mount {path}: nothing can be mounted at or below /proc")
    flags = ["nosuid", "noexec", "nodev"]
    loose = ["rw"] if wish.privileged else ["ro"]
    found: list[Mount] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": flags},
        *profiles.device_mounts(not host.user_namespace or _maps_gid(host, 5)),
    ]
    if host.user_namespace and "network" not in own:
        # sysfs shows a network namespace: only its owner may mount it. The host's is bound instead.
        found.append(
            {
                "destination": "/sys",
                "type": "bind",
                "source": "/sys",
                "options": ["rbind", "rslave", "rnosuid", "rnoexec", "rnodev", "rro", *flags, "ro"],
            }
        )
    else:
        found.append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": flags + loose})
        found.append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": flags + loose})
    if wish.ipc == "host":
        found.append(
            {
                "destination": "/dev/mqueue",
                "type": "bind",
                "source": "/dev/mqueue",
                "options": ["rbind", *flags],
            }
        )
        found.append({"destination": "/dev/shm", "type": "bind", "source": "/dev/shm", "options": ["rbind", *flags]})
    else:
        found.append({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": flags})
        if wish.ipc != "none":
            found.append(
                {
                    "destination": "/dev/shm",
                    "type": "tmpfs",
                    "source": "shm",
                    "options": [*flags, "mode=1777", f"size={wish.shm_size}"],
                }
            )
    found = [mount for mount in found if mount["destination"] not in taken]
    if host.user_namespace:
        found += _device_binds(wish, host)
    access = ["ro"] if wish.read_only else []
    if host.user_namespace and not host.rootless:
        access.append("idmap")  # they are root's, the container's too
    for target, source in files.items():
        if target not in taken:
            found.append({"destination": target, "type": "bind", "source": source, "options": ["rbind", *access]})
    found += [mount.oci() for mount in sorted(user, key=lambda mount: mount.target.count("/"))]
    return found


def _highest(maps: Maps) -> int:
    """Return the last of the ids that are mapped from 0 on without a gap."""
    following = 0
    for entry in maps:
        if entry["containerID"] == following:
            following += entry["size"]
    return following - 1


def _maps_gid(host: HostFacts, gid: int) -> bool:
    return any(m["containerID"] <= gid < m["containerID"] + m["size"] for m in host.maps[1])
