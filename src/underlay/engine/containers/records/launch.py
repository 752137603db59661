"""The launch record of a container (`runtime.monitor.launch` describes it), with the namespaces of others that it is in."""

from __future__ import annotations

import os

from ....linux.files import mounts
from ....paths import interpreter
from ....runtime.monitor import control
from ....store import rootfs
from ... import journaling, presence
from ...options import ExecOptions
from ..specification import log_options
from . import execution
from .confinement import confined, group_path, processor_of, system_call_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Namespace, Spec
    from ....runtime.monitor.records import LaunchRecord, SharedMounts
    from ....store.rows.intent import Intent
    from ....store.store import Store
    from ..specification.disk_limit import Layer

# redirect_dir and metacopy would let attributes of an image's files name other files (attacks IM-07).
_NOTHING_RUNS = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_OVERLAY_OPTIONS: dict[str, str | None] = {"redirect_dir": "off", "metacopy": "off", "index": "off"}


def launch_record(
    store: Store, container_id: str, name: str, intent: Intent, lower: list[str], make: bool = True
) -> LaunchRecord:
    """Return the launch record (see `runtime.launch`) of a container; `make` makes the directory it is mounted at."""
    paths = store.paths
    directory = paths.container(container_id)
    state_directory = paths.container_state(container_id)
    target = state_directory + "/root"
    layer: Layer = {"upper": directory + "/upper", "work": directory + "/work"}
    disk = intent.get("disk")
    if disk:
        from ..specification import disk_limit

        layer = disk_limit.prepare(directory, state_directory, disk, make)
    if make:
        os.makedirs(target, mode=0o700, exist_ok=True)
    options = intent["options"]
    shared = rootfs.shared_mount(paths, form_of(store, intent), intent["image"]["diff_ids"], intent["image"]["chain"])
    overlay: dict[str, str | None] = dict(_OVERLAY_OPTIONS)
    if intent["rootless"]:
        overlay = {"userxattr": None}
    python, import_path = interpreter()
    intent = {**intent, "spec": confined(store, intent["spec"], make)}
    record: LaunchRecord = {
        "id": container_id,
        "name": name,
        "directory": directory,
        "state": state_directory,
        "paths": [paths.root, paths.state],
        "spec": intent["spec"],
        "root": {
            "target": target,
            "lower": lower,
            **layer,
            "options": overlay,
        },
        "extras": intent["extras"],
        "cgroup": group_path(container_id, intent),
        "cgroup_used": {},
        "joined": intent.get("joined") or [],
        "rootless": intent["rootless"],
        "seccomp": system_call_filter(store, intent["seccomp"], intent["spec"], processor_of(intent)).hex(),
        "log": log_options.of_run(container_id, name, intent, directory + "/log"),
        "terminal": bool(options.get("terminal")),
        "open_stdin": bool(options.get("interactive")),
        "stdin_once": True,
        "restart": intent["restart"],
        "remove": intent["remove"],
        "network": control.COMING if "network" in intent else None,
        "journal": (journaling.path(paths), journaling.attributes_of(name, intent)),
        "shared_mount": (shared.change_lock, shared.use_lock, shared.point, shared.index, shared.files),
        "python": python,
        "import_path": import_path,
    }
    others = shared_mounts(store, container_id, intent, make)
    if others is not None:
        record["shared"] = others
    if "runtime" in intent:
        record["runtime"] = intent["runtime"]
    if "machine" in intent:
        from ...machines import starting

        record["around"] = starting.around(paths, record["state"], python, import_path)
        chosen, limits = intent["machine"], intent["spec"]["linux"].get("resources") or {}
        record["machine"] = starting.record(store, chosen["kernel"], limits, make, chosen.get("architecture", ""))
    check = intent.get("health")
    if check is not None:
        record["health"] = {
            "interval": check["interval"],
            "timeout": check["timeout"],
            "start_period": check["start_period"],
            "start_interval": check["start_interval"],
            "retries": check["retries"],
            "exec": execution.exec_record(
                container_id, state_directory, intent, ExecOptions(command=check["command"]), 0, 0, ""
            ),
        }
    return record


def form_of(store: Store, intent: Intent) -> str:
    """Return the form of the image's layers that a container has: machines read indexes whatever this kernel can."""
    return rootfs.EROFS if "machine" in intent else store.form


def shared_mounts(store: Store, container_id: str, intent: Intent, resolve: bool = False) -> SharedMounts | None:
    """Return the mounts of volumes, of other images and of memory that a container shares, None when there are none.

    With `resolve` they are about to be mounted. Raises InvalidInput, NotFound.
    """
    names = {mount["Name"] for mount in intent["mounts"] if mount["Type"] == "volume"}
    images = intent.get("image_mounts") or {}
    memory = intent["options"].get("ipc") == "shareable" and not intent["rootless"]
    if not names and not images and not memory:
        return None
    from ....store import volumeoptions
    from ....store.rows import volumes

    others: SharedMounts = {"images": [], "volumes": []}
    for used in images.values():
        if resolve:
            rootfs.prepare(store.paths, store.form, used["diff_ids"])
        shared = rootfs.shared_mount(store.paths, store.form, used["diff_ids"], used["chain"])
        others["images"].append((shared.change_lock, shared.use_lock, shared.point, shared.index, shared.files))
    for volume in volumes.with_options(store.meta, names):
        m = volumeoptions.mount_of(store.paths, volume, resolve)
        others["volumes"].append((m.change_lock, m.use_lock, m.point, m.source, m.fstype, m.flags, m.data))
    if memory:
        point = store.paths.container_state(container_id) + "/shm"
        if resolve:
            os.makedirs(point, mode=0o700, exist_ok=True)
        size = intent["options"].get("shm_size") or 64 << 20
        data = f"mode=1777,size={size}"
        others["volumes"].append((point + ".change", point + ".use", point, "shm", "tmpfs", _NOTHING_RUNS, data))
    return others if others["images"] or others["volumes"] else None


def joined(store: Store, container_id: str, intent: Intent) -> Intent:
    """Return the intent with the namespaces of other containers as these run now; raises Conflict when one does not.

    Their processes are named with their start times (`joined`): what starts the container again must not take another's.
    """
    owners = intent.get("joins") or {}
    if not owners:
        return intent
    from ...networks import sidecars

    namespaces: list[Namespace] = []
    processes: list[tuple[int, int]] = []
    for namespace in intent["spec"]["linux"]["namespaces"]:
        owner = owners.get(namespace["type"])
        if owner:
            pid, when = presence.first_process(store, owner, owner[:12])
            processes.append((pid, when))
            if namespace["type"] == "network":
                sidecars.note(store, owner, container_id)
            namespace = {**namespace, "path": f"/proc/{pid}/ns/{namespace['path'].rpartition('/')[2]}"}
        namespaces.append(namespace)
    spec: Spec = {**intent["spec"], "linux": {**intent["spec"]["linux"], "namespaces": namespaces}}
    return {**intent, "spec": spec, "joined": processes}
