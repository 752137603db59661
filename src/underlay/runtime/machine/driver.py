"""Starting a container in a machine, by its parent: the sandbox, the disks, the taps, and the stand-in in it."""

from __future__ import annotations

import _socket
import os
import select

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
    from .guest import Guest
    from .records import Disk, Inside, Interface, MachineRecord, StandInRecord

SOCKET = "machine"  # in the state directory: the stand-in's, for other programs
NOTES = "machine.notes"  # what the stand-in says of the end
SIZE = "machine.json"  # the bytes of memory of the machine that runs
_SANDBOX = "sandbox"


def start(
    guest: Guest, context: Context, group: Group, ours: _socket.socket, idle: bool = False, lifeline: int = -1
) -> tuple[int, int]:
    """Start a container in a machine; returns the pid of its stand-in and its console or -1.

    With `idle` nothing is started, and only files are served. `context` and `ours` are as for `drivers.start`, with the
    values of the secrets. When the other end of `lifeline`, a socket, is closed meanwhile, the start is given up. Raises
    StartFailed, Unsupported, KernelError, OSError.
    """
    held: list[int] = []
    server: shares.Server | None = None
    directory = guest.around["state"]
    try:
        if guest.shared:
            server = shares.Server(directory, guest.shared)
        held.append(control.listen(directory, SOCKET).detach())
        told = _told(guest, context, held, idle)
        if server is not None:
            told["shares"] = server.connection
            held.append(server.connection)
        sandbox = _plan(guest, told, held)
        outer = Context()
        outer.channel = context.channel
        outer.stdio = context.stdio
        outer.seccomp = profiles.default_filter([], guest.around["filters"])
        outer.environment = dict(pair.split("=", 1) for pair in outside.ENVIRONMENT)
        streams.give(outer.stdio, *[outside.user(guest.id)] * 2)
        machine = guest.machine
        limits = guest.spec["linux"].get("resources") or {}
        resources = outside.resources(limits, machine["memory"], machine["accelerator"] == "kvm")
        for fd in held:
            os.set_inheritable(fd, True)
        if not idle:
            state.write(directory, SIZE, {"memory": machine["memory"]})
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
        if lifeline >= 0:
            _await(ours, lifeline)
        return pid, child_channel.await_start(ours, pid)
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise


def _await(ours: _socket.socket, lifeline: int) -> None:
    """Wait for the first word of the stand-in: the machine boots. Raises StartFailed when the lifeline is cut."""
    poll = select.poll()
    poll.register(ours.fileno(), select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    if lifeline in (fd for fd, _ in poll.poll()):
        raise StartFailed("the start of the machine was given up", 125)


def _told(guest: Guest, context: Context, held: list[int], idle: bool) -> StandInRecord:
    """Return what the stand-in is told; what it needs opened is added to `held`. Raises as `start` does."""
    interfaces: list[Interface] = []
    taps: list[tuple[int, str]] = []
    if guest.namespace:
        from .networks import taps as making

        for fd, interface in making.make(guest.namespace):
            held.append(fd)
            taps.append((fd, interface["mac"]))
            interfaces.append(interface)
    if len(taps) > qemu.NETWORKS:
        raise StartFailed(f"the container is in more networks than a machine can be ({qemu.NETWORKS})", 125)
    spec, files = inside.specification(guest.spec, bool(interfaces))
    disks: list[Disk] = []
    if guest.disk:
        disks = [_disk("index", guest.index, held, False), _disk("disk", guest.disk, held, True)]
    names = [f"l{number}" for number in range(len(guest.layers))]
    disks += [_disk(name, path, held, False) for name, path in zip(names, guest.layers, strict=True)]
    if len(disks) > qemu.DISKS:
        raise StartFailed(f"the image has more layers than a machine can have disks ({qemu.DISKS - 2})", 125)
    notes = os.open(f"{guest.around['state']}/{NOTES}", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    # The stand-in has the setup socket, too: the container has started when it closes that.
    held += [notes, os.dup(context.channel.fileno())]
    container: Inside = {
        "spec": spec,
        "extras": {**guest.extras, "hooks": [], "subpaths": {}},
        "seccomp": guest.seccomp,
        "open_stdin": guest.open_stdin,
        "layers": names,
        "overlay": guest.overlay,
        "files": files,
        "shared": bool(guest.shared),
        "root": -1 if guest.disk else len(guest.shared) - 1,
        "secrets": [value.hex() for value in context.secrets],
        "network": interfaces,
        "time": 0.0,
        "idle": idle,
    }
    return {
        "machine": {**guest.machine, "kernel": outside.KERNEL, "initrd": outside.INITRD},
        "disks": disks,
        "taps": taps,
        "shares": -1,
        "inside": container,
        "terminal": guest.terminal,
        "volatile": guest.volatile,
        "channel": held[-1],
        "listener": held[0],
        "notes": notes,
    }


def _disk(name: str, path: str, held: list[int], writable: bool) -> Disk:
    held.append(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
    return {"name": name, "fd": held[-1], "writable": writable}


def _plan(guest: Guest, told: StandInRecord, held: list[int]) -> plan.Plan:
    """Return the plan of the sandbox in which the stand-in runs."""
    machine = guest.machine
    python, import_path = guest.around["python"], guest.around["import_path"]
    # The initrd is made of this interpreter and this code, which an upgrade changes.
    directory = os.path.dirname(machine["kernel"])
    built = initrd.cached(directory, python, import_path, _modules(machine), machine["userland"])
    parcel = control.parcel(told, "underlay-machine")
    os.lseek(parcel, 0, os.SEEK_SET)
    held.append(parcel)
    shown = outside.places(python, import_path, machine["program"])
    code = f"import sys; sys.path[:0] = {import_path!r}; from underlay.runtime.machine.standin import main; main()"
    arguments = [os.path.realpath(python), "-I", "-S", "-B", "-c", code, str(parcel)]
    spec = outside.specification(guest.spec, guest.id, machine, (machine["kernel"], built), arguments, shown)
    directory = _root(guest.around["state"])
    version, hierarchies = cgroup.detect()
    if version == "v1":
        version = "v1:" + ",".join(cgroup.visible(hierarchies, spec))
    root = plan.Root(target=guest.target, path=directory)
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
