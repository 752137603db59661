"""Starting a container in a machine, by its monitor: the sandbox, the disks, the taps, and the stand-in in it."""

from __future__ import annotations

import _socket
import os

from ...errors import StartFailed
from ...linux import cgroup
from .. import plan
from ..monitor import control, state, streams
from ..plan.context import Context
from ..policy import profiles
from ..process import child_channel, init
from ..process import spawn as birth
from . import initrd, inside, outside, qemu, shares, standin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.cgroup import Group
    from ..monitor.records import LaunchRecord
    from .records import Disk, Inside, Interface, MachineRecord, StandInRecord

SOCKET = "machine"  # in the state directory: the stand-in's, for other programs
NOTES = "machine.notes"  # what the stand-in says of the end
SIZE = "machine.json"  # the bytes of memory of the machine that runs
_SANDBOX = "sandbox"


def start(
    record: LaunchRecord, made: plan.Plan, context: Context, group: Group, ours: _socket.socket, idle: bool = False
) -> tuple[int, int]:
    """Start the container of a launch record; returns the pid of its stand-in and its console or -1.

    With `idle` nothing is started, and only files are served. `made` is the plan of the container, `context` and `ours` as
    for `drivers.start`, with the values of the secrets. Raises StartFailed, Unsupported, KernelError, OSError.
    """
    held: list[int] = []
    server: shares.Server | None = None
    try:
        server = None if idle else _server(record, made)
        held.append(control.listen(record["state"], SOCKET).detach())
        told = _told(record, context, held, idle)
        if server is not None:
            told["shares"] = server.connection
            held.append(server.connection)
        sandbox = _plan(record, told, held)
        outer = Context()
        outer.channel = context.channel
        outer.stdio = context.stdio
        outer.seccomp = profiles.default_filter([], record["paths"][1] + "/seccomp")
        outer.environment = dict(pair.split("=", 1) for pair in outside.ENVIRONMENT)
        streams.give(outer.stdio, *[outside.user(record["id"])] * 2)
        machine = record["machine"]
        limits = record["spec"]["linux"].get("resources") or {}
        resources = outside.resources(limits, machine["memory"], machine["accelerator"] == "kvm")
        for fd in held:
            os.set_inheritable(fd, True)
        if not idle:
            state.write(record["state"], SIZE, {"memory": machine["memory"]})
        birth.prepare(sandbox, outer)
        pid, born = birth.clone(sandbox, outer, group, resources, ours, tuple(held))
    except BaseException:
        if server is not None:
            server.close()
        raise
    finally:
        for fd in (*held, *context.stdio):
            os.close(fd)
    try:
        birth.let_on(sandbox, group, resources, ours, pid, born)
        if server is not None:
            server.start(group)
        return pid, child_channel.await_start(ours, pid)
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise


def _server(record: LaunchRecord, made: plan.Plan) -> shares.Server | None:
    """Return what serves the container's volumes and directories of the host, None without any."""
    places = [mount["destination"] for mount in inside.shared(record["spec"])]
    binds = {operation[2]: operation for operation in made.operations if operation[0] == "bind"}
    if not places:
        return None
    return shares.Server(record["state"], shares.opened([binds[place] for place in places]))


def _told(record: LaunchRecord, context: Context, held: list[int], idle: bool) -> StandInRecord:
    """Return what the stand-in is told; what it needs opened is added to `held`. Raises as `start` does."""
    machine = record["machine"]
    network = record["network"]
    interfaces: list[Interface] = []
    taps: list[tuple[int, str]] = []
    if isinstance(network, dict):
        from . import taps as making

        for fd, interface in making.make(network["namespaces"][0]):
            held.append(fd)
            taps.append((fd, interface["mac"]))
            interfaces.append(interface)
    if len(taps) > qemu.NETWORKS:
        raise StartFailed(f"the container is in more networks than a machine can be ({qemu.NETWORKS})", 125)
    spec, files = inside.specification(record["spec"], bool(interfaces))
    _, _, _, index, layers = record["shared_mount"]
    disks = [_disk("index", index, held, False), _disk("disk", record["root"]["disk"], held, True)]
    names = [f"l{number}" for number in range(len(layers))]
    disks += [_disk(name, path, held, False) for name, path in zip(names, layers, strict=True)]
    if len(disks) > qemu.DISKS:
        raise StartFailed(f"the image has more layers than a machine can have disks ({qemu.DISKS - 2})", 125)
    notes = os.open(f"{record['state']}/{NOTES}", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    # The stand-in has the setup socket, too: the container has started when it closes that.
    held += [notes, os.dup(context.channel.fileno())]
    container: Inside = {
        "spec": spec,
        "extras": {**record["extras"], "hooks": [], "subpaths": {}},
        "seccomp": record["seccomp"],
        "open_stdin": record["open_stdin"],
        "layers": names,
        "overlay": record["root"]["options"],
        "files": files,
        "shared": bool(inside.shared(record["spec"])) and not idle,
        "secrets": [value.hex() for value in context.secrets],
        "network": interfaces,
        "time": 0.0,
        "idle": idle,
    }
    return {
        "machine": {**machine, "kernel": outside.KERNEL, "initrd": outside.INITRD},
        "disks": disks,
        "taps": taps,
        "shares": -1,
        "inside": container,
        "terminal": record["terminal"],
        "volatile": record["remove"] and not idle,
        "channel": held[-1],
        "listener": held[0],
        "notes": notes,
    }


def _disk(name: str, path: str, held: list[int], writable: bool) -> Disk:
    held.append(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
    return {"name": name, "fd": held[-1], "writable": writable}


def _plan(record: LaunchRecord, told: StandInRecord, held: list[int]) -> plan.Plan:
    """Return the plan of the sandbox in which the stand-in runs."""
    machine = record["machine"]
    python, import_path = record["python"], record["import_path"]
    # The initrd is made of this interpreter and this code, which an upgrade changes.
    built = initrd.cached(os.path.dirname(machine["kernel"]), python, import_path, _modules(machine))
    parcel = control.parcel(told, "underlay-machine")
    os.lseek(parcel, 0, os.SEEK_SET)
    held.append(parcel)
    shown = outside.places(python, import_path, machine["program"])
    code = f"import sys; sys.path[:0] = {import_path!r}; from underlay.runtime.machine.standin import main; main()"
    arguments = [os.path.realpath(python), "-I", "-S", "-B", "-c", code, str(parcel)]
    spec = outside.specification(record["spec"], record["id"], machine, (machine["kernel"], built), arguments, shown)
    directory = _root(record["state"])
    version, hierarchies = cgroup.detect()
    if version == "v1":
        version = "v1:" + ",".join(cgroup.visible(hierarchies, spec))
    root = plan.Root(target=record["root"]["target"], path=directory)
    made = plan.make(spec, root, plan.Extras(), version)
    init.prepare(made.operations)
    return made


def _modules(machine: MachineRecord) -> list[tuple[str, str]]:
    directory = os.path.dirname(machine["kernel"]) + "/modules"
    return [(name, f"{directory}/{name}.ko") for name in machine["modules"]]


def _root(state_directory: str) -> str:
    """Make the directory that is the sandbox's root, with the links that programs are found by."""
    directory = f"{state_directory}/{_SANDBOX}"
    os.makedirs(directory, 0o755, exist_ok=True)
    os.chmod(directory, 0o755)
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink("/" + name) and not os.path.islink(f"{directory}/{name}"):
            os.symlink(os.readlink("/" + name), f"{directory}/{name}")
    return directory


def memory(state_directory: str) -> int:
    """Return the bytes of memory of the machine that a container runs in."""
    return int(state.read(state_directory, SIZE).get("memory") or outside.LEAST)


def ran_out_of_memory(state_directory: str) -> bool:
    """Return whether the kernel of the machine has killed a program of the container for want of memory."""
    try:
        with open(f"{state_directory}/{NOTES}", "rb") as file:
            return file.read(len(standin.OOM)) == standin.OOM
    except OSError:
        return False
