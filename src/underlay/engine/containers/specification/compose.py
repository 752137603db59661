"""Composes the OCI specification of a container from its image's configuration and its options. A pure function.

The rules are docker's (docker run; container defaults): what the wishes leave open the image says, what both leave
open is the default. Host facts come in as a value.
"""

from __future__ import annotations

from ....errors import InvalidInput, Unsupported
from ....human import plain
from ....runtime.plan import mountplan
from ....runtime.policy import profiles
from . import limits, mount_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Device, IdMaps, Linux, Maps, Mount, Namespace, Process, Spec
    from ....oci.configuration import Execution
    from ...options import ContainerOptions
    from .request import Request

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
_SHM_SIZE = 64 << 20  # bytes of /dev/shm where none, or 0, are asked for (docker run, "--shm-size")


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
        "name",
        "network_namespace",
        "online_cpus",
        "online_mems",
        "processors",
        "rootless",
        "shared_memory",
        "user",
        "user_namespace",
        "user_pid",
    )

    def __init__(self) -> None:
        self.name = ""  # the host's, for a container in its network
        self.rootless = False
        self.shared_memory = ""  # a directory of this host that is /dev/shm; "" for one in the container alone
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
        self.joined: dict[str, int] = {}  # "container:NAME" → pid of its first process, 0 if it does not run


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
    request: Request,
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
    options, security = request.options, request.security
    arguments = _arguments(options, image)
    hostname = options.hostname or host.name or container_id[:12]
    namespaces, own = _namespaces(options, host)
    capabilities = _capabilities(request, host)
    process: Process = {
        "terminal": options.terminal,
        "args": arguments,
        "env": _environment(options, image, hostname),
        "cwd": _directory(options.working_directory or image.get("WorkingDir") or "/"),
        "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": capabilities, "permitted": capabilities, "effective": capabilities},
        "noNewPrivileges": security.no_new_privileges,
    }
    if request.ulimits:
        process["rlimits"] = request.ulimits
    label = _label(security.apparmor, options.privileged, host)
    if label:
        process["apparmorProfile"] = label
    if options.oom_score_adj:
        if not -1000 <= options.oom_score_adj <= 1000:
            raise InvalidInput(
                f"Invalid value {options.oom_score_adj}, range for oom score adj is [-1000, 1000]",
                "see --oom-score-adj",
            )
        process["oomScoreAdj"] = options.oom_score_adj
    open_paths = options.privileged or security.open_paths
    linux: Linux = {
        "namespaces": namespaces,
        "resources": limits.compose(request, host),
        "maskedPaths": [] if open_paths else list(profiles.MASKED_PATHS),
        "readonlyPaths": [] if open_paths else list(profiles.READONLY_PATHS),
        "devices": [] if host.user_namespace else _device_nodes(request, host),
    }
    if host.user_namespace:
        linux["uidMappings"], linux["gidMappings"] = host.maps
    if options.sysctls:
        linux["sysctl"] = _sysctls(options.sysctls, own)
    spec: Spec = {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": options.read_only},
        "process": process,
        "mounts": _mounts(request, mounts, files, own, host),
        "linux": linux,
        "annotations": dict(options.annotations),
    }
    if "uts" in own:
        spec["hostname"] = hostname
        if options.domainname:
            spec["domainname"] = options.domainname
    composed = Composed(spec)
    composed.user = options.user or host.user or image.get("User") or ""
    composed.groups = list(options.groups)
    composed.init = options.init
    if "network" in own:
        composed.soft_sysctls = dict(profiles.NETWORK_SYSCTLS)
        if host.user_namespace:
            # The kernel takes only groups that are mapped.
            composed.soft_sysctls["net.ipv4.ping_group_range"] = f"0 {_highest(host.maps[1])}"
    composed.copy_up = [mount.target for mount in mounts if mount.copy_up]
    composed.seccomp = "unconfined" if options.privileged and not security.chosen else security.seccomp
    composed.landlock = security.landlock
    composed.stop_signal = options.stop_signal or image.get("StopSignal") or "SIGTERM"
    return composed


def _arguments(options: ContainerOptions, image: Execution) -> list[str]:
    entrypoint, command = image.get("Entrypoint") or [], image.get("Cmd") or []
    if options.entrypoint is not None:
        # Another entrypoint makes the image's own command meaningless (docker run, "--entrypoint").
        entrypoint, command = options.entrypoint, []
    if options.command:
        command = options.command
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


def _environment(options: ContainerOptions, image: Execution, hostname: str) -> list[str]:
    values = {"PATH": PATH, "HOSTNAME": hostname}
    if options.terminal:
        values["TERM"] = "xterm"
    for text in [*(image.get("Env") or []), *options.environment]:
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            raise InvalidInput(f"invalid environment variable: {text!r}")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    return [f"{name}={value}" for name, value in values.items()]


def _namespaces(options: ContainerOptions, host: HostFacts) -> tuple[list[Namespace], set[str]]:
    """Return the namespaces of the specification, and the kinds that are the container's own."""
    namespaces: list[Namespace] = [{"type": "mount"}]
    own = {"mount"}
    if host.user_pid:
        namespaces.insert(0, {"type": "user", "path": f"/proc/{host.user_pid}/ns/user"})
    elif host.user_namespace and host.network_namespace:
        # Made beforehand as well: the network namespace belongs to it.
        namespaces.insert(0, {"type": "user", "path": host.network_namespace + ".user"})
        own.add("user")
    elif host.user_namespace:
        namespaces.insert(0, {"type": "user"})
        own.add("user")
    network = options.network or "none"
    choices = (
        ("network", network, ("none",), "network", "net"),
        ("pid", options.pid or "private", ("private",), "pid", "pid"),
        ("ipc", options.ipc or "private", ("private", "shareable", "none"), "ipc", "ipc"),
        ("uts", options.uts or "private", ("private",), "uts", "uts"),
        ("cgroup", options.cgroupns or "private", ("private",), "cgroupns", "cgroup"),
    )
    for kind, value, private, option, file in choices:
        if value in private:
            namespaces.append({"type": kind})
            own.add(kind)
        elif value == "host":
            continue
        elif kind == "network" and host.network_namespace:
            namespaces.append({"type": kind, "path": host.network_namespace})
            own.add(kind)
        elif value.startswith("container:") and option in ("network", "pid", "ipc", "uts"):
            namespaces.append({"type": kind, "path": f"/proc/{host.joined[value]}/ns/{file}"})
        else:
            modes = [*(mode for mode in private if mode), "host"]
            modes += ["container:NAME"] if option in ("network", "pid", "ipc", "uts") else []
            raise InvalidInput(f"--{option}: invalid mode: {value}", f"one of {', '.join(modes)}")
    return namespaces, own


def _capabilities(request: Request, host: HostFacts) -> list[str]:
    if request.options.privileged:
        return list(host.capabilities)
    add, drop = request.cap_add, request.cap_drop
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


def _label(wanted: str, privileged: bool, host: HostFacts) -> str:
    """Return the AppArmor profile of a container, "" where there is no AppArmor; raises Unsupported."""
    if not host.apparmor:
        if wanted not in ("", "unconfined"):
            raise Unsupported(f"--security-opt apparmor={wanted}: AppArmor is not enabled on this host")
        return ""
    return wanted or ("unconfined" if privileged else host.apparmor_default)


def _sysctls(wanted: dict[str, str], own: set[str]) -> dict[str, str]:
    for name, value in wanted.items():
        if "/" in name or ".." in name or not plain(name):
            raise InvalidInput(f"sysctl '{name}' is not a dotted name")
        if not value.replace("\t", " ").isprintable():
            raise InvalidInput(f"sysctl '{name}': the value '{value}' contains control characters")
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


def _device_nodes(request: Request, host: HostFacts) -> list[Device]:
    """Return the nodes asked for; raises InvalidInput when there is none."""
    if request.options.privileged:
        return list(host.devices)
    devices: list[Device] = []
    for device in request.devices:
        for node in _nodes(device.path, host):
            devices.append({**node, "path": device.target + node["path"][len(device.path) :]})
    return devices


def _nodes(path: str, host: HostFacts) -> list[Device]:
    nodes = host.device.get(path)
    if not nodes:
        raise InvalidInput(f"error gathering device information: no device at {path}")
    return nodes


def _device_binds(request: Request, host: HostFacts) -> list[Mount]:
    """Return the devices asked for as mounts: in a user namespace no node can be made, but the host's can be bound."""
    mounts: list[Mount] = []
    usual = {path for path, *_ in mountplan.DEFAULT_DEVICES}
    for path in (node["path"] for node in host.devices):
        # Those who own them are nobody inside, so most can only be looked at.
        if path not in usual:
            mounts.append({"destination": path, "type": "bind", "source": path, "options": ["bind"]})
    for device in request.devices:
        _nodes(device.path, host)
        flags = ["rbind"] if "w" in device.access else ["rbind", "ro"]
        mounts.append({"destination": device.target, "type": "bind", "source": device.path, "options": flags})
    return mounts


def _mounts(
    request: Request, user: list[mount_flags.Mount], files: dict[str, str], own: set[str], host: HostFacts
) -> list[Mount]:
    """Return the mounts in the order in which they are made: the kernel's, the engine's files, the user's by depth."""
    options = request.options
    taken = {mount.target for mount in user}
    for path in taken:
        if path == "/proc" or path.startswith("/proc/"):
            raise InvalidInput(f"invalid mount {path}: nothing can be mounted at or below /proc")
    flags = ["nosuid", "noexec", "nodev"]
    loose = ["rw"] if options.privileged else ["ro"]
    mounts: list[Mount] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": flags},
        *profiles.device_mounts(not host.user_namespace or _maps_gid(host, 5)),
    ]
    if host.user_namespace and "network" not in own:
        # sysfs shows a network namespace: only its owner may mount it. The host's is bound instead.
        mounts.append(
            {
                "destination": "/sys",
                "type": "bind",
                "source": "/sys",
                "options": ["rbind", "rslave", "rnosuid", "rnoexec", "rnodev", "rro", *flags, "ro"],
            }
        )
    else:
        mounts.append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": flags + loose})
        mounts.append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": flags + loose})
    if options.ipc == "host":
        # Mounted anew it shows the queues of the host, whose namespace the container has; without root it cannot be.
        kind, bound = ("bind", ["rbind"]) if host.rootless else ("mqueue", [])
        source = "/dev/mqueue" if host.rootless else "mqueue"
        mounts.append({"destination": "/dev/mqueue", "type": kind, "source": source, "options": [*bound, *flags]})
        mounts.append({"destination": "/dev/shm", "type": "bind", "source": "/dev/shm", "options": ["rbind", *flags]})
    else:
        mounts.append({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": flags})
        if host.shared_memory:
            bound = ["bind", "idmap", *flags] if host.user_namespace else ["bind", *flags]
            mounts.append({"destination": "/dev/shm", "type": "bind", "source": host.shared_memory, "options": bound})
        elif options.ipc != "none":
            mounts.append(
                {
                    "destination": "/dev/shm",
                    "type": "tmpfs",
                    "source": "shm",
                    "options": [*flags, "mode=1777", f"size={options.shm_size or _SHM_SIZE}"],
                }
            )
    mounts = [mount for mount in mounts if mount["destination"] not in taken]
    if host.user_namespace:
        mounts += _device_binds(request, host)
    access = ["ro"] if options.read_only else []
    if host.user_namespace and not host.rootless:
        access.append("idmap")  # they are root's, the container's too
    for target, source in files.items():
        if target not in taken:
            mounts.append({"destination": target, "type": "bind", "source": source, "options": ["rbind", *access]})
    mounts += [mount.oci() for mount in sorted(user, key=lambda mount: mount.target.count("/"))]
    return mounts


def _highest(maps: Maps) -> int:
    """Return the last of the ids that are mapped from 0 on without a gap."""
    following = 0
    for entry in maps:
        if entry["containerID"] == following:
            following += entry["size"]
    return following - 1


def _maps_gid(host: HostFacts, gid: int) -> bool:
    return any(m["containerID"] <= gid < m["containerID"] + m["size"] for m in host.maps[1])
