"""What `run --plan` shows: the steps that starting a container would take, without taking them."""

from __future__ import annotations

from ...linux import cgroup, process
from ...runtime.monitor import launch
from ...runtime.plan import ops
from ...store import rootfs
from . import create
from .records.launch import form_of, launch_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...runtime.monitor.records import LaunchRecord
    from ...store.store import Store
    from ..options import ContainerOptions


def plan_lines(store: Store, options: ContainerOptions) -> list[str]:
    """Return the steps, a line each; see `Containers.plan`."""
    made = create.draft(store, options)
    paths, intent = store.paths, made.intent
    form = form_of(store, intent)
    if "machine" in intent:
        rootfs.prepare(paths, form, made.image.diff_ids)
    lower = rootfs.lower_names(paths, form, made.image.chain)
    shared = rootfs.shared_mount(paths, form, made.image.diff_ids, made.image.chain)
    record = launch_record(store, made.id, "", intent, lower, make=False)
    if "machine" in record:
        return _of_machine(record, shared.files)
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


def _of_machine(record: LaunchRecord, files: list[str]) -> list[str]:
    """Return the steps for a container in a machine: those on the host, then those of the agent."""
    from ...runtime.machine import inside

    machine = record["machine"]
    spec, shown = inside.specification(record["spec"], record["network"] is not None, lambda _: "")
    step = record.copy()
    step["spec"] = spec
    prepared = launch.prepare(step)
    lines = ["# by the command", f"{'fork':<14} the monitor", "# by the monitor"]
    lines.append(f"{'sandbox':<14} without capabilities, for the stand-in and QEMU")
    lines += [f"{'share':<14} {mount['source']}" for mount in inside.shared(record["spec"])]
    lines.append(f"{'machine':<14} {machine['memory'] >> 20} MiB, {machine['processors']} processors")
    lines.append(f"{'kernel':<14} {machine['kernel']}")
    lines += [f"{'disk':<14} {path} read-only" for path in (record["shared_mount"][3], *files)]
    lines.append(f"{'disk':<14} {record['root']['disk']}")
    lines += ["# by the agent in the machine", *(f"{'file':<14} {name}" for name in shown)]
    left = ("disk", "gate", "enter-cgroup", "die-with-monitor")
    return lines + [ops.describe(operation) for operation in prepared.operations if operation[0] not in left]
