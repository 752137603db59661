"""What this host has and lacks for each feature, with what to install or set: `underlay doctor`."""

from __future__ import annotations

import os
import shutil

from ..errors import UnderlayError
from ..lean.values import Value
from ..linux import cgroup
from ..linux.facts import gather
from ..store import rootfs
from .containers.specification import disk_limit
from .networks import Networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..store.store import Store

GOOD, LIMITED, MISSING = "ok", "limited", "missing"
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_CONTROLLERS = ("cpu", "memory", "pids")


class Finding(Value):
    """One feature: its `state` (ok, limited, missing), what was found, and what to do ("" for nothing)."""

    feature: str
    state: str
    found: str
    remedy: str = ""


def examine(store: Store) -> list[Finding]:
    """Return what was found, in the order in which people need the features. Nothing is changed."""
    host = gather()
    rootless = os.geteuid() != 0
    return [
        *_namespaces(host, rootless),
        _layers(store, host, rootless),
        _limits(host, rootless),
        _confinement(host),
        *_networks(store, rootless),
        _disk(store, rootless),
        _machines(store, rootless),
        *_users(rootless),
        _emulation(store),
        *_tools(),
    ]


def _namespaces(host: dict[str, Any], rootless: bool) -> Iterator[Finding]:
    missing = [
        kind for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup") if not os.path.exists(f"/proc/self/ns/{kind}")
    ]
    if missing:
        yield Finding(
            "containers", MISSING, f"no namespaces of kind {', '.join(missing)}", "use a kernel that has them"
        )
        return
    blocked = _text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    if rootless and (not host["user_namespaces"] or blocked):
        setting = "kernel.apparmor_restrict_unprivileged_userns=0" if blocked else "user.max_user_namespaces=28633"
        yield Finding("containers", MISSING, "users may not make user namespaces", f"as root: sysctl -w {setting}")
        return
    yield Finding(
        "containers", GOOD, f"as a user, Linux {os.uname().release}" if rootless else f"Linux {os.uname().release}"
    )
    if not rootless and not host["user_namespaces"]:
        remedy = "sysctl -w user.max_user_namespaces=28633"
        yield Finding("--userns", MISSING, "user namespaces are switched off", remedy)


def _layers(store: Store, host: dict[str, Any], rootless: bool) -> Finding:
    form, reason = rootfs.form_for(store.paths, store.form_setting)
    if "overlay" not in host["filesystems"]:
        return Finding("layers", LIMITED, "the kernel does not list overlay", "modprobe overlay")
    if form == "erofs":
        return Finding("layers", GOOD, "EROFS: layers are mounted as they are")
    chosen = store.form_setting == "tree"
    remedy = "" if rootless or chosen else "modprobe erofs, or use a kernel that mounts EROFS from files (Linux 6.12)"
    return Finding("layers", LIMITED, f"tree: layers are unpacked ({reason})", remedy)


def _limits(host: dict[str, Any], rootless: bool) -> Finding:
    usable = cgroup.open_group("underlay", rootless).version
    controllers = host["cgroup"]["controllers"]
    if usable == "none":
        if rootless and host["cgroup"]["version"] == "v2":
            remedy = "delegate a control group to the user (systemd: Delegate=yes for user@.service)"
        else:
            remedy = "mount cgroup2 at /sys/fs/cgroup" if not rootless else "limits need root with version 1"
        return Finding("limits", MISSING, "no control group may be made", remedy)
    lacking = [name for name in _CONTROLLERS if name not in controllers]
    if lacking:
        remedy = "boot with cgroup_enable=" + ",".join(lacking) if usable == "v2" else "mount their hierarchies"
        return Finding("limits", LIMITED, f"version {usable[1]}, without {', '.join(lacking)}", remedy)
    if not host["swap_accounting"]:
        return Finding("limits", LIMITED, f"version {usable[1]}, without swap", "boot with swapaccount=1")
    return Finding("limits", GOOD, f"control groups version {usable[1]}: {' '.join(controllers)}")


def _confinement(host: dict[str, Any]) -> Finding:
    has = [word for word in ("seccomp", "apparmor") if word in host["security"]]
    if host["landlock"]:
        has.append("landlock")
    if "seccomp" not in has:
        return Finding("confinement", MISSING, "no seccomp", "use a kernel with CONFIG_SECCOMP_FILTER")
    return Finding("confinement", GOOD, ", ".join(has))


def _networks(store: Store, rootless: bool) -> Iterator[Finding]:
    if rootless:
        yield Finding(
            "networks",
            LIMITED,
            "host and none only: a user cannot make interfaces",
            "run containers in networks as root",
        )
        return
    if _text("/proc/sys/net/ipv4/ip_forward") == "":
        yield Finding("networks", MISSING, "no IPv4 in this network namespace", "")
        return
    obstacles = Networks(store).obstacles()
    if obstacles:
        yield Finding("networks", LIMITED, obstacles[0], "let what is forwarded from the bridge pass there")
    else:
        yield Finding("networks", GOOD, "bridges, with nf_tables of our own")
    plugins = [path for path in ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni") if os.path.isdir(path)]
    if not plugins:
        yield Finding("--network cni:NAME", MISSING, "no plugins of CNI", "install containernetworking-plugins")


def _disk(store: Store, rootless: bool) -> Finding:
    kind, reason = disk_limit.way(store.paths)
    if kind == disk_limit.NONE:
        remedy = (
            "limits of disk need root" if rootless else "put the root directory on XFS or ext4 mounted with prjquota"
        )
        return Finding("--storage-opt size", MISSING, reason, remedy)
    return Finding("--storage-opt size", GOOD, f"by {kind}: {reason}")


def _machines(store: Store, rootless: bool) -> Finding:
    """Say whether containers can have kernels of their own, and how fast these would be."""
    from ..runtime.machine import accelerator, qemu, shares
    from .machines import kernels

    feature = "--isolation machine"
    if rootless:
        return Finding(feature, MISSING, "machines need root", "run it as root")
    try:
        program = qemu.program(qemu.architecture())
        kernel = kernels.find(store.paths, architecture=qemu.architecture())
    except UnderlayError as error:
        return Finding(feature, MISSING, error.message, error.hint)
    way, why = accelerator.choose(store.paths.state, program, kernel.image)
    if way == accelerator.TCG:
        return Finding(
            feature, LIMITED, f"emulated, which is slow: {why}", "give this host KVM (nested virtualisation)"
        )
    try:
        shares.program()
    except UnderlayError as error:
        return Finding(feature, LIMITED, "no volumes: there is no virtiofsd", error.hint)
    return Finding(feature, GOOD, f"KVM, {kernel.release}")


def _users(rootless: bool) -> Iterator[Finding]:
    if not rootless:
        return
    import pwd

    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    ranges = any(
        line.split(":", 1)[0] in (name, str(os.geteuid())) for line in _text("/etc/subuid").splitlines() if ":" in line
    )
    helpers = all(os.path.exists(f"/usr/bin/{program}") for program in ("newuidmap", "newgidmap"))
    if ranges and helpers:
        yield Finding("ids of a user", GOOD, "a range of subordinate ids")
    else:
        remedy = (
            f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
            if not ranges
            else "install uidmap"
        )
        yield Finding("ids of a user", LIMITED, "one id only: files of others cannot be kept apart", remedy)


def _emulation(store: Store) -> Finding:
    directory = "/proc/sys/fs/binfmt_misc"
    try:
        found = sorted(name.removeprefix("qemu-") for name in os.listdir(directory) if name.startswith("qemu-"))
    except OSError:
        found = []
    if found:
        return Finding("other processors", GOOD, "emulated: " + " ".join(found))
    if others := _other_machines(store):
        remedy = "for containers without machines, and builds: install qemu-user-binfmt"
        return Finding("other processors", LIMITED, f"with --isolation machine: {' '.join(others)}", remedy)
    return Finding("other processors", MISSING, "no emulators are registered", "install qemu-user-binfmt")


def _other_machines(store: Store) -> list[str]:
    """Return the architectures, but for this host's, of which there can be machines."""
    from ..runtime.machine import qemu
    from .machines import kernels, userlands

    found = []
    for architecture in qemu.BOARDS:
        try:
            qemu.program(architecture)
            kernels.find(store.paths, architecture=architecture)
        except UnderlayError:
            continue
        if architecture != qemu.architecture() and userlands.is_there(store.paths, architecture):
            found.append(architecture)
    return found


def _tools() -> Iterator[Finding]:
    if shutil.which("git") is None:
        yield Finding("builds from Git", MISSING, "no git", "install git")
    if shutil.which("systemctl", path=f"{os.environ.get('PATH', '')}:{_SBIN}") is None or not os.path.isdir(
        "/run/systemd/system"
    ):
        yield Finding("restart at boot", MISSING, "no systemd is running", "call `underlay system start` at boot")
    else:
        yield Finding("restart at boot", GOOD, "systemd: `underlay system install`")


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20).strip()
    except OSError:
        return ""
