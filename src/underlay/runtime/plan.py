"""A specification and host facts become a list of operations: a pure function, printed by `run --plan`."""

from __future__ import annotations

from ..errors import InvalidInput, Unsupported
from ..linux import capabilities, mounts, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Operation

_ATTRIBUTES = {
    "ro": (mounts.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mounts.MOUNT_ATTR_RDONLY),
    "nosuid": (mounts.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mounts.MOUNT_ATTR_NOSUID),
    "nodev": (mounts.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mounts.MOUNT_ATTR_NODEV),
    "noexec": (mounts.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mounts.MOUNT_ATTR_NOEXEC),
    "noatime": (mounts.MOUNT_ATTR_NOATIME, 0),
    "atime": (0, mounts.MOUNT_ATTR_NOATIME),
    "nodiratime": (mounts.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mounts.MOUNT_ATTR_NODIRATIME),
    "strictatime": (mounts.MOUNT_ATTR_STRICTATIME, 0),
    "nostrictatime": (0, mounts.MOUNT_ATTR_STRICTATIME),
    "relatime": (0, 0),
    "norelatime": (0, 0),
    "nosymfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mounts.MOUNT_ATTR_NOSYMFOLLOW),
    "defaults": (0, 0),
    "async": (0, 0),
}
PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "slave": mounts.MS_SLAVE,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "shared": mounts.MS_SHARED,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
_LINKS = {
    "/dev/ptmx": "pts/ptmx",
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
DEFAULT_DEVICES: tuple[tuple[str, str, int, int, int, int, int], ...] = (
    ("/dev/null", "c", 1, 3, 0o666, 0, 0),
    ("/dev/zero", "c", 1, 5, 0o666, 0, 0),
    ("/dev/full", "c", 1, 7, 0o666, 0, 0),
    ("/dev/random", "c", 1, 8, 0o666, 0, 0),
    ("/dev/urandom", "c", 1, 9, 0o666, 0, 0),
    ("/dev/tty", "c", 5, 0, 0o666, 0, 0),
)


class Root:
    """How the root file system comes about: an overlay of `lower` directories, or the plain directory `path`."""

    __slots__ = ("lower", "options", "path", "target", "upper", "work")

    def __init__(
        self,
        target: str,
        lower: list[str] | None = None,
        upper: str = "",
        work: str = "",
        options: dict[str, str | None] | None = None,
        path: str = "",
    ) -> None:
        self.target = target  # an existing directory, mounted over in the container's own mount namespace
        self.lower = lower or []
        self.upper = upper
        self.work = work
        self.options = options or {}
        self.path = path


class Plan:
    """What will be done: `before` by the monitor (words), `flags` of clone(2), `operations` in the new process."""

    __slots__ = ("flags", "join_pid", "mappings", "operations")

    def __init__(self) -> None:
        self.flags = 0
        self.join_pid = ""
        self.mappings: tuple[list[dict[str, int]], list[dict[str, int]]] | None = None
        self.operations: list[Operation] = []


class Extras:
    """What an engine asks for beyond the OCI specification.

    `user` is a name to look up in the root, or None to take `process.user` as numbers; `groups` names of more groups;
    `init` keeps process 1 ours; `soft_sysctls` are set where the kernel has them; `copy_up` are mount destinations whose
    new, empty volume is filled from the image.
    """

    __slots__ = ("copy_up", "groups", "init", "soft_sysctls", "user")

    def __init__(
        self,
        user: str | None = None,
        groups: list[str] | None = None,
        init: bool = False,
        soft_sysctls: dict[str, str] | None = None,
        copy_up: list[str] | None = None,
    ) -> None:
        self.user = user
        self.groups = groups or []
        self.init = init
        self.soft_sysctls = soft_sysctls or {}
        self.copy_up = copy_up or []


def make(spec: dict[str, Any], root: Root, extras: Extras, cgroup: str) -> Plan:
    """Return the plan for an OCI specification.

    `cgroup` is the version in use ("v1", "v2", "none") and, for v1, the hierarchies after a colon. Raises InvalidInput
    and Unsupported with the JSON path of what cannot be done.
    """
    plan = Plan()
    linux = spec.get("linux") or {}
    body = spec["process"]
    add = plan.operations.append
    namespaces = _namespaces(plan, linux)
    fresh = {kind for kind, path in namespaces.items() if not path}
    in_user = "user" in namespaces
    if "user" in fresh:
        plan.mappings = (linux.get("uidMappings") or [], linux.get("gidMappings") or [])
        add(("gate", "mapped"))
        add(("become-root",))
    if "mount" not in fresh:
        raise Unsupported("linux.namespaces: a new mount namespace is needed")
    word = linux.get("rootfsPropagation") or "rslave"
    if word not in PROPAGATION:
        raise InvalidInput(f"linux.rootfsPropagation: unknown value {word!r}")
    # What is mounted in here must never reach the host; what the host mounts may reach binds that ask for it.
    add(("propagation", mounts.MS_SLAVE | mounts.MS_REC, "rslave"))
    if root.path:
        add(("bind-root", root.path, root.target))
    else:
        add(("overlay", root.lower, root.upper, root.work, root.target, root.options))
    _user(add, body, extras.user, extras.groups)
    if "network" in fresh:
        add(("loopback",))
    late_cgroup = "cgroup" in fresh
    gated = False
    for position, item in enumerate(spec.get("mounts") or []):
        if item.get("type") in ("cgroup", "cgroup2") and not gated:
            gated = True
            _enter(add, late_cgroup)
        _mount(add, item, f"mounts[{position}]", cgroup, extras.copy_up)
        if item["destination"] == "/dev" and item.get("type") == "tmpfs":
            _nodes(add, linux, in_user)
    if not gated:
        _enter(add, late_cgroup)
    if body.get("terminal"):
        size = body.get("consoleSize") or {}
        add(("console", int(size.get("height") or 0), int(size.get("width") or 0), True))
    for name, value in (linux.get("sysctl") or {}).items():
        add(("sysctl", name, str(value), False))
    for name, value in extras.soft_sysctls.items():
        add(("sysctl", name, value, True))
    if "uts" in fresh:
        if spec.get("hostname"):
            add(("hostname", spec["hostname"]))
        if spec.get("domainname"):
            add(("domainname", spec["domainname"]))
    if body.get("oomScoreAdj") is not None:
        add(("write-proc", "self/oom_score_adj", str(body["oomScoreAdj"])))
    if linux.get("readonlyPaths"):
        add(("readonly", list(linux["readonlyPaths"])))
    if linux.get("maskedPaths"):
        add(("mask", list(linux["maskedPaths"])))
    if body.get("cwd", "/") != "/":
        add(("directory", body["cwd"]))
    if (spec.get("root") or {}).get("readonly"):
        add(("readonly-root",))
    add(("pivot",))
    final = PROPAGATION[linux["rootfsPropagation"]] if linux.get("rootfsPropagation") else 0
    if final and not final & mounts.MS_SLAVE:
        add(("root-propagation", final, linux["rootfsPropagation"]))
    _process(add, body, extras.init)
    return plan


def _enter(add: Any, namespace: bool) -> None:
    """Enter the cgroup; its namespace is made after that, since the group of its maker becomes its root."""
    add(("gate", "grouped"))
    add(("enter-cgroup",))
    if namespace:
        add(("unshare", process.CLONE_NEWCGROUP, ["cgroup"]))


def _namespaces(plan: Plan, linux: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for position, item in enumerate(linux.get("namespaces") or []):
        kind, path = item.get("type"), item.get("path") or ""
        if kind not in process.NAMESPACES:
            raise InvalidInput(f"linux.namespaces[{position}].type: unknown namespace {kind!r}")
        if kind in found:
            raise InvalidInput(f"linux.namespaces[{position}]: {kind} is named twice")
        if kind == "time":
            raise Unsupported(f"linux.namespaces[{position}]: time namespaces are not supported yet")
        found[kind] = path
        if not path:
            # The cgroup namespace's root is the group of the process that makes it: made later, after the group is joined.
            if kind != "cgroup":
                plan.flags |= process.NAMESPACES[kind][1]
        elif kind == "pid":
            plan.join_pid = path
        else:
            plan.operations.append(("join", kind, path))
    return found


def _user(add: Any, body: dict[str, Any], user: str | None, groups: list[str]) -> None:
    if user is not None:
        add(("user", user, list(groups)))
        return
    numbers = body.get("user") or {}
    more = [int(g) for g in numbers.get("additionalGids") or []]
    gid = int(numbers.get("gid") or 0)
    add(("ids", int(numbers.get("uid") or 0), gid, [gid, *more]))


def parse_options(options: list[str], where: str) -> tuple[int, int, int, bool, bool, dict[str, str | None]]:
    """Return (attributes to set, to clear, propagation, is a bind, is recursive, the rest) of OCI mount options."""
    attributes = clear = propagation = 0
    bind = recursive = False
    rest: dict[str, str | None] = {}
    for option in options:
        if option in ("bind", "rbind"):
            bind, recursive = True, option == "rbind"
        elif option in _ATTRIBUTES:
            on, off = _ATTRIBUTES[option]
            attributes = (attributes | on) & ~off
            clear = (clear | off) & ~on
        elif option in PROPAGATION:
            propagation = PROPAGATION[option]
        elif option in ("tmpcopyup", "idmap", "ridmap") or option.startswith(("rro", "rnosuid", "rnodev")):
            raise Unsupported(f"{where}.options: {option!r} is not supported yet")
        else:
            key, equals, value = option.partition("=")
            rest[key] = value if equals else None
    return attributes, clear, propagation, bind, recursive, rest


def _mount(add: Any, item: dict[str, Any], where: str, cgroup: str, copy_up: list[str]) -> None:
    path = item.get("destination") or ""
    if not path.startswith("/"):
        raise InvalidInput(f"{where}.destination: {path!r} is not an absolute path")
    kind = item.get("type") or ""
    attributes, clear, propagation, bind, recursive, rest = parse_options(item.get("options") or [], where)
    if kind == "bind" or (bind and kind in ("", "none")):
        if rest:
            raise InvalidInput(f"{where}.options: {next(iter(rest))!r} means nothing for a bind mount")
        source = item.get("source") or ""
        if path in copy_up:
            add(("copy-up", path, source))
        if propagation == 0:
            propagation = mounts.MS_PRIVATE
        add(("bind", source, path, attributes, recursive, propagation & ~mounts.MS_REC, clear))
        return
    if kind in ("cgroup", "cgroup2"):
        version, _, hierarchies = cgroup.partition(":")
        if version == "v1":
            add(("cgroup-v1", path, hierarchies.split(","), attributes))
        elif version == "v2":
            add(("mount", "cgroup2", "cgroup", path, attributes, {}, True))
        return
    optional = kind == "mqueue"
    add(("mount", kind, item.get("source") or kind, path, attributes, rest, optional))


def _nodes(add: Any, linux: dict[str, Any], bind: bool) -> None:
    nodes = {node[0]: list(node) for node in DEFAULT_DEVICES}
    for position, item in enumerate(linux.get("devices") or []):
        path = item.get("path") or ""
        if not path.startswith("/dev/") or not {"", ".", ".."}.isdisjoint(path[5:].split("/")):
            raise InvalidInput(f"linux.devices[{position}].path: {path!r} is not below /dev")
        nodes[path] = [
            path,
            item.get("type") or "c",
            int(item.get("major") or 0),
            int(item.get("minor") or 0),
            int(item.get("fileMode") or 0o666) & 0o7777,
            int(item.get("uid") or 0),
            int(item.get("gid") or 0),
        ]
    add(("devices", list(nodes.values()), _LINKS, bind))


def for_exec(body: dict[str, Any], extras: Extras, size: tuple[int, int]) -> list[Operation]:
    """Return the operations of another program in a running container, whose namespaces have been joined."""
    operations: list[Operation] = []
    add = operations.append
    _user(add, body, extras.user, extras.groups)
    if body.get("terminal"):
        add(("console", size[0], size[1], False))
    _process(add, body, False, False)
    return operations


def _process(add: Any, body: dict[str, Any], init: bool, monitored: bool = True) -> None:
    sets = body.get("capabilities") or {}
    masks = []
    for name in ("bounding", "permitted", "inheritable", "ambient"):
        try:
            masks.append(capabilities.mask(sets.get(name) or []))
        except KeyError as error:
            raise InvalidInput(f"process.capabilities.{name}: unknown capability {error.args[0]!r}") from None
    add(("session",))
    add(("streams",))
    for position, item in enumerate(body.get("rlimits") or []):
        kind = item.get("type")
        if kind not in RLIMITS:
            raise InvalidInput(f"process.rlimits[{position}].type: unknown limit {kind!r}")
        add(("rlimit", kind, RLIMITS[kind], int(item["soft"]), int(item["hard"])))
    umask = (body.get("user") or {}).get("umask")
    add(("umask", 0o022 if umask is None else int(umask)))
    add(("session-keyring",))
    hardened = bool(body.get("noNewPrivileges"))
    if hardened:
        add(("no-new-privs",))
    else:
        # Without no_new_privs only CAP_SYS_ADMIN may load a filter, so before capabilities go (seccomp(2)).
        add(("seccomp",))
    add(("credentials", masks[0], masks[1], masks[2], masks[3]))
    if monitored:
        add(("die-with-monitor",))
    add(("chdir", body.get("cwd") or "/"))
    if hardened:
        add(("seccomp",))
    add(("execute", list(body.get("args") or []), init))
