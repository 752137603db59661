"""What `run --plan` shows: the steps that starting a container would take, without taking them."""

from __future__ import annotations

from ...linux import cgroup, process
from ...runtime.monitor import launch
from ...runtime.plan import ops
from ...store import rootfs
from . import create
from .records.launch import launch_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store
    from ..options import ContainerOptions


def plan_lines(store: Store, options: ContainerOptions) -> list[str]:
    """Return the steps, a line each; see `Containers.plan`."""
    made = create.draft(store, options)
    paths, intent = store.paths, made.intent
    lower = rootfs.lower_names(paths, store.form, made.image.chain)
    shared = rootfs.shared_mount(paths, store.form, made.image.diff_ids, made.image.chain)
    record = launch_record(store, made.id, "", intent, lower, make=False)
    prepared = launch.prepare(record)
    version = cgroup.open_group(record["cgroup"], record["rootless"]).version
    kinds = [kind for kind, (_, flag) in process.NAMESPACES.items() if prepared.flags & flag]
    lines = ["# by the command", f"{'fork':<14} the monitor", "# by the monitor"]
    if shared.point:
        files = ",".join(shared.files) or "none"
        lines.append(
            f"{'mount-index':<14} {shared.index} {shared.point} devices {files} (unless it is mounted already)"
        )
    lines.append(f"{'clone':<14} {','.join(kinds)}")
    if prepared.mappings is not None:
        for name, maps in zip(("uid-map", "gid-map"), prepared.mappings, strict=True):
            text = ",".join(f"{m['containerID']}:{m['hostID']}:{m['size']}" for m in maps)
            lines.append(f"{name:<14} {text}")
    if prepared.maps is not None and not record["rootless"]:
        lines.append(f"{'idmap':<14} the layers, for the overlay")
    lines.append(f"{'cgroup':<14} {version} /{record['cgroup']}")
    for kind, value in intent["spec"]["linux"]["resources"].items():
        if isinstance(value, list):
            lines.append(f"{'limit':<14} devices {len(value)} rules")
        elif isinstance(value, dict):
            lines.append(f"{'limit':<14} {kind} " + " ".join(f"{k}={v}" for k, v in value.items()))
    size = len(record["seccomp"]) // 16
    lines.append("# in the new process")
    for operation in prepared.operations:
        text = ops.describe(operation)
        lines.append(f"{text:<14} {size} instructions" if operation[0] == "seccomp" else text)
    return lines
