"""Facts about this host and other containers that composing a specification needs, gathered as far as the options ask."""

from __future__ import annotations

import os
import stat

from ....errors import Conflict, Unsupported
from ....linux.security import capabilities
from ....store.rows import containers
from ... import presence
from . import compose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Device
    from ....store.store import Store
    from .request import Request


def gather(store: Store, request: Request) -> compose.HostFacts:
    """Gather what the composition needs of this host and of the containers whose namespaces are joined."""
    options = request.options
    host = compose.HostFacts()
    last = capabilities.last_known_cached()
    host.capabilities = ["CAP_" + name for name in capabilities.NAMES[: last + 1]]
    if os.geteuid() != 0:
        host.rootless = True
    else:
        bounding = capabilities.bounding_cached()
        host.capabilities = [c for n, c in enumerate(host.capabilities) if bounding >> n & 1]
    if options.privileged and not host.rootless:
        host.devices = nodes_below("/dev")
    for device in request.devices:
        host.device[device.path] = nodes_below(os.path.realpath(device.path), shown=device.path)
    if options.network == "host":
        host.name = os.uname().nodename
    limit_facts(request, host)
    apparmor_facts(store, request, host)
    if host.rootless and (options.ipc == "shareable" or options.ipc.startswith("container:")):
        raise Unsupported(
            f"--ipc {options.ipc}: containers of a user cannot share their /dev/shm",
            "each has its own, or --ipc host has the host's",
        )
    for value in (options.network, options.pid, options.ipc, options.uts):
        if value.startswith("container:"):
            name = value.partition(":")[2]
            # 0 if it does not run now: whoever starts the container finds its first process then (records.launch).
            host.joined[value] = presence.status(store, containers.find(store.meta, name).id).pid
    if options.ipc.startswith("container:"):
        host.shared_memory = _shared_memory(store, options.ipc.partition(":")[2])
    return host


def _shared_memory(store: Store, name: str) -> str:
    """Return the directory that a container shares as /dev/shm; raises Conflict, as docker, when it shares none."""
    donor = containers.find(store.meta, name)
    for mount in donor.intent["spec"]["mounts"]:
        if mount["destination"] == "/dev/shm" and mount["type"] == "bind" and mount["source"].endswith("/shm"):
            return mount["source"]
    raise Conflict(
        f"container {donor.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
        f"start {donor.name} with --ipc shareable",
    )


def apparmor_facts(store: Store, request: Request, host: compose.HostFacts) -> None:
    """Add whether there is AppArmor, and the default profile; say once when that cannot be had."""
    from ....linux.security import apparmor

    host.apparmor = apparmor.enabled()
    if not host.apparmor or host.rootless or request.options.privileged:
        return
    from ....runtime.policy import apparmor_profile

    if apparmor_profile.available(store.paths.root):
        host.apparmor_default = apparmor_profile.NAME
    elif not request.security.apparmor:
        apparmor_profile.warn_once(store.paths.state, "apparmor_parser is not installed", store.emit)


def limit_facts(request: Request, host: compose.HostFacts) -> None:
    """Add what limits are checked against, as far as they are wished for: processors, memory nodes, block devices."""
    options = request.options
    if options.cpus:
        host.processors = os.cpu_count() or 0
    if options.cpuset_cpus:
        host.online_cpus = text_of("/sys/devices/system/cpu/online").strip()
    if options.cpuset_mems:
        host.online_mems = text_of("/sys/devices/system/node/online").strip()
    named = [path for pairs in (request.weights, *request.throttles.values()) for path, _ in pairs]
    for path in named:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISBLK(status.st_mode):
            host.block_devices[path] = (os.major(status.st_rdev), os.minor(status.st_rdev))


def nodes_below(path: str, shown: str = "") -> list[Device]:
    """Return the device nodes at or below `path` as OCI devices; /dev/pts, shm, mqueue and console are left out."""
    shown = shown or path
    try:
        status = os.stat(path)
    except OSError:
        return []
    if stat.S_ISDIR(status.st_mode):
        nodes = []
        if path in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/.udev"):
            return []
        for name in sorted(os.listdir(path)):
            if not os.path.islink(f"{path}/{name}"):
                nodes += nodes_below(f"{path}/{name}", f"{shown}/{name}")
        return nodes
    if path in ("/dev/console", "/dev/ptmx", "/dev/tty") and shown == path:
        return []
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return []
    return [
        {
            "path": shown,
            "type": "b" if stat.S_ISBLK(status.st_mode) else "c",
            "major": os.major(status.st_rdev),
            "minor": os.minor(status.st_rdev),
            "fileMode": stat.S_IMODE(status.st_mode),
            "uid": status.st_uid,
            "gid": status.st_gid,
        }
    ]


def text_of(path: str) -> str:
    """Return the beginning of a host's text file; "" when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
