"""A specification and host facts become a list of operations: a pure function, printed by `run --plan`."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from ...linux import process
from ...linux.files import mounts
from . import mountplan, processplan
from .extras import Extras

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import IdMaps, Linux, Process, Seccomp, Spec
    from .context import Add, Operation

__all__ = ["Extras", "Plan", "Root"]


class Root:
    """How the root file system comes about: an overlay of `lower` directories, or the plain directory `path`.

    `disk` is a file with the file system that `upper` and `work` are directories of; it is mounted above them first.
    """

    __slots__ = ("disk", "lower", "options", "path", "target", "upper", "work")

    def __init__(
        self,
        target: str,
        lower: list[str] | None = None,
        upper: str = "",
        work: str = "",
        options: dict[str, str | None] | None = None,
        path: str = "",
        disk: str = "",
    ) -> None:
        self.disk = disk
        self.target = target  # an existing directory, mounted over in the container's own mount namespace
        self.lower = lower or []
        self.upper = upper
        self.work = work
        self.options = options or {}
        self.path = path


class Plan:
    """What will be done: `flags` of clone(2), `operations` in the new process, in this order.

    `joins` are (kind, path) of namespaces to be joined before it is cloned, `mappings` the maps of its own new user
    namespace, `maps` those of the one that it is in, new or joined, as far as they are known.
    """

    __slots__ = ("flags", "joins", "mappings", "maps", "operations")

    def __init__(self) -> None:
        self.flags = 0
        self.joins: list[tuple[str, str]] = []
        self.mappings: IdMaps | None = None
        self.maps: IdMaps | None = None
        self.operations: list[Operation] = []

    @property
    def in_user(self) -> bool:
        """Return whether the process is in a user namespace that is not ours, new or joined."""
        return self.mappings is not None or any(kind == "user" for kind, _ in self.joins)


def make(spec: Spec, root: Root, extras: Extras, cgroup: str, nodes: bool = True) -> Plan:
    """Return the plan for an OCI specification.

    `cgroup` is the version in use ("v1", "v2", "none") and, for v1, the hierarchies after a colon; `nodes` is false
    where we cannot make device nodes, since we live in a user namespace ourselves. Raises InvalidInput and Unsupported
    with the JSON path of what cannot be done.
    """
    plan = Plan()
    linux = spec.get("linux") or {}
    body = spec["process"]
    add = plan.operations.append
    namespaces = _namespaces(plan, linux)
    fresh = {kind for kind, path in namespaces.items() if not path}
    if "user" in fresh:
        plan.mappings = (linux.get("uidMappings") or [], linux.get("gidMappings") or [])
        add(("gate", "mapped"))
    if "user" in namespaces:
        plan.maps = plan.mappings
        if linux.get("uidMappings") and linux.get("gidMappings"):
            plan.maps = (linux["uidMappings"], linux["gidMappings"])
    elif linux.get("uidMappings") or linux.get("gidMappings"):
        raise InvalidInput("linux.uidMappings: a map needs a user namespace in linux.namespaces")
    if "mount" not in fresh:
        raise Unsupported("linux.namespaces: a new mount namespace is needed")
    _root(add, linux, root)
    if "user" in namespaces:
        # Not before: the container's root may not be able to reach the directory of the root.
        add(("become-root",))
    processplan.add_user(add, body, extras.user, extras.groups)
    if "time" in fresh:
        add(("time", _time_offsets(linux)))
    if "network" in fresh:
        add(("loopback",))
    _mounts(add, spec, namespaces, extras, cgroup, plan.maps, nodes and "user" not in namespaces)
    if extras.secrets:
        add(("secrets", extras.secrets))
    if body.get("terminal"):
        size = body.get("consoleSize") or {}
        add(("console", int(size.get("height") or 0), int(size.get("width") or 0), True))
    for name, value in (linux.get("sysctl") or {}).items():
        add(("sysctl", name, str(value), False))
    for name, value in extras.soft_sysctls.items():
        add(("sysctl", name, value, True))
    if "uts" in fresh or (extras.waits and "uts" in namespaces):
        if spec.get("hostname"):
            add(("hostname", spec["hostname"]))
        if spec.get("domainname"):
            add(("domainname", spec["domainname"]))
    elif extras.waits and (spec.get("hostname") or spec.get("domainname")):
        raise InvalidInput("hostname: a name of its own needs a uts namespace in linux.namespaces")
    if body.get("oomScoreAdj") is not None:
        add(("write-proc", "self/oom_score_adj", str(body["oomScoreAdj"])))
    if linux.get("readonlyPaths"):
        add(("readonly", list(linux["readonlyPaths"])))
    if linux.get("maskedPaths"):
        add(("mask", list(linux["maskedPaths"])))
    if body.get("cwd", "/") != "/":
        add(("directory", body["cwd"]))
    _change_root(add, spec, linux, extras)
    personality = -1
    if linux.get("personality"):
        from ...linux import scheduling

        personality = scheduling.personality_word(linux["personality"], "linux.personality")
    processplan.add_process(add, body, extras, not extras.waits, personality, linux.get("seccomp"))
    return plan


def _root(add: Add, linux: Linux, root: Root) -> None:
    word = linux.get("rootfsPropagation") or "rslave"
    if word not in mountplan.PROPAGATION:
        raise InvalidInput(f"linux.rootfsPropagation: unknown value {word!r}")
    # What is mounted in here must never reach the host; what the host mounts may reach binds that ask for it. A root
    # that is to be shared keeps its tie to the host's mounts, but for what lies over the root's own place.
    shared = bool(mountplan.PROPAGATION[word] & mounts.MS_SHARED)
    if shared:
        add(("propagation-around", root.target))
    else:
        add(("propagation", mounts.MS_SLAVE | mounts.MS_REC, "rslave"))
    if root.path:
        add(("bind-root", root.path, root.target))
    else:
        if root.disk:
            add(("disk", root.disk, root.upper.rpartition("/")[0]))
        add(("overlay", root.lower, root.upper, root.work, root.target, root.options))


def _mounts(
    add: Add,
    spec: Spec,
    namespaces: dict[str, str],
    extras: Extras,
    cgroup: str,
    maps: IdMaps | None,
    nodes: bool,
) -> None:
    """Emit mounts and devices in the order of the specification; the cgroup is entered before its files are mounted."""
    own_cgroup = "cgroup" in namespaces
    late_cgroup = namespaces.get("cgroup") == ""
    devices = (spec.get("linux") or {}).get("devices") or []
    gated = False
    device_system = ""
    for position, item in enumerate(spec.get("mounts") or []):
        if item.get("type") in ("cgroup", "cgroup2") and not gated:
            gated = True
            _enter(add, late_cgroup)
        mountplan.add_mount(add, item, f"mounts[{position}]", cgroup, own_cgroup, maps, extras)
        if str(item.get("destination")).rstrip("/") == "/dev":
            device_system = "bound" if mountplan.is_bind(item) else "mounted"
            if device_system == "mounted":
                mountplan.add_devices(add, devices, not nodes, True)
    if device_system == "bound":
        mountplan.add_devices(add, devices, not nodes, False)
    elif not device_system:
        mountplan.add_devices(add, devices, not nodes, True)
    if not gated:
        _enter(add, late_cgroup)


def _enter(add: Add, namespace: bool) -> None:
    """Enter the cgroup; its namespace is made after that, since the group of its maker becomes its root."""
    add(("gate", "grouped"))
    add(("enter-cgroup",))
    if namespace:
        add(("unshare", process.CLONE_NEWCGROUP, ["cgroup"]))


def _change_root(add: Add, spec: Spec, linux: Linux, extras: Extras) -> None:
    """Emit hooks of the creation, and the change of root."""
    if "prestart" in extras.hooks or "createRuntime" in extras.hooks:
        add(("announce", "hooks"))
        add(("gate", "hooked"))
    if "createContainer" in extras.hooks:
        add(("hooks", "createContainer"))
    if (spec.get("root") or {}).get("readonly"):
        add(("readonly-root",))
    add(("pivot",) if extras.pivot else ("move-root",))
    word = linux.get("rootfsPropagation") or ""
    final = mountplan.PROPAGATION[word] if word else 0
    if final and not final & mounts.MS_SLAVE:
        add(("root-propagation", final, word))


def _namespaces(plan: Plan, linux: Linux) -> dict[str, str]:
    paths_by_kind: dict[str, str] = {}
    for position, item in enumerate(linux.get("namespaces") or []):
        kind, path = item.get("type"), item.get("path") or ""
        if kind not in process.NAMESPACES:
            raise InvalidInput(f"linux.namespaces[{position}].type: unknown namespace {kind!r}")
        if kind in paths_by_kind:
            raise InvalidInput(f"linux.namespaces[{position}]: {kind} is named twice")
        if path and not path.startswith("/"):
            raise InvalidInput(f"linux.namespaces[{position}].path: {path!r} is not an absolute path")
        paths_by_kind[kind] = path
    # With a user namespace of its own the process could no longer join what belongs to the host: joined before it is
    # cloned. A pid namespace can only be joined by a parent for its children.
    early = "user" in paths_by_kind or bool(paths_by_kind.get("pid"))
    for kind, path in paths_by_kind.items():
        if path and (early or kind == "pid"):
            plan.joins.append((kind, path))
        elif path:
            plan.operations.append(("join", kind, path))
        elif kind not in ("cgroup", "time"):
            # The root of a cgroup namespace is the group of its maker: made later, after the group has been joined. A
            # time namespace gets its offsets between making and joining.
            plan.flags |= process.NAMESPACES[kind][1]
    if linux.get("timeOffsets") and paths_by_kind.get("time") != "":
        raise InvalidInput("linux.timeOffsets: offsets need a new time namespace in linux.namespaces")
    return paths_by_kind


def _time_offsets(linux: Linux) -> dict[str, list[int]]:
    offsets = {}
    for clock, value in (linux.get("timeOffsets") or {}).items():
        if clock not in ("monotonic", "boottime"):
            raise InvalidInput(f"linux.timeOffsets.{clock}: only monotonic and boottime have offsets")
        offsets[clock] = [int(value.get("secs") or 0), int(value.get("nanosecs") or 0)]
    return offsets


def for_exec(
    body: Process,
    extras: Extras,
    size: tuple[int, int],
    profile: Seccomp | None = None,
    personality: int = -1,
) -> list[Operation]:
    """Return the operations of another program in a running container, whose namespaces have been joined.

    `profile` is `linux.seccomp` of the container, `personality` as in `processplan.add_process`.
    """
    operations: list[Operation] = []
    add = operations.append
    processplan.add_user(add, body, extras.user, extras.groups)
    if body.get("terminal"):
        add(("console", size[0], size[1], False))
    processplan.add_process(add, body, extras, monitored=False, personality=personality, profile=profile)
    return operations
