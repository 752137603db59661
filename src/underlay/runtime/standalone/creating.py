"""`create` from a bundle: everything is made, and the program waits to be started."""

from __future__ import annotations

import _signal
import os
import time

from ...errors import InvalidInput, StartFailed, UnderlayError
from ...lean.jsontext import known
from ...linux import cgroup, process
from ...linux.security import capabilities
from .. import config, plan
from ..apply import laststep
from ..monitor import control
from ..plan.context import Context
from ..policy import profiles
from ..process import child_channel, init, spawn
from . import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from ...linux.specification import Resources, Spec
    from .records import BundleRecord


class StartOptions:
    """Options of `create` and `run`, beside the bundle.

    `console` gets the terminal's descriptor when the process has one; `warn` gets warnings.
    """

    __slots__ = ("console", "keyring", "pid_file", "pivot", "preserve", "warn")

    def __init__(self) -> None:
        self.console: Callable[[int], None] | None = None
        self.pid_file = ""
        self.preserve = 0
        self.pivot = True
        self.keyring = True
        self.warn: Callable[[str], None] = lambda text: None


def create(root: str, container_id: str, bundle: str, options: StartOptions) -> BundleRecord:
    """Create a container and return its record; on failure nothing is left behind.

    The caller must have one thread. Raises InvalidInput, Unsupported, Conflict, KernelError, StartFailed.
    """
    records.directory(root, container_id)
    bundle = os.path.realpath(bundle)
    spec, warnings = config.read(bundle)
    for text in warnings:
        options.warn(text)
    terminal = bool(spec["process"].get("terminal"))
    if terminal and options.console is None:
        raise InvalidInput("process.terminal: a terminal needs --console-socket, or `run` without --detach")
    if options.console is not None and not terminal:
        raise InvalidInput("--console-socket: the process has no terminal (process.terminal)")
    record = _draft(container_id, bundle, spec)
    made = _plan(record, spec, options)
    records.claim(root, container_id)
    try:
        # A group in use belongs to another container: it must not be removed with this one.
        records.group_of(record).check_free()
    except BaseException:
        records.forget(root, container_id)
        raise
    try:
        records.save(root, record)
        _bring_up(root, record, made, options)
        if options.pid_file:
            write_pid(options.pid_file, record["pid"])
    except BaseException:
        take_down(root, record, options.warn)
        raise
    return record


def write_pid(path: str, pid: int) -> None:
    """Write a pid file in one step; raises UnderlayError."""
    from ...files import write_atomic

    try:
        write_atomic(path, str(pid).encode(), 0o644, durable=False)
    except OSError as error:
        raise UnderlayError(f"cannot write the pid file {path}: {error.strerror}") from None


def _draft(container_id: str, bundle: str, spec: Spec) -> BundleRecord:
    import pwd

    try:
        owner = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        owner = str(os.getuid())
    rootless = os.geteuid() != 0 or records.in_user_namespace()
    path = str((spec.get("linux") or {}).get("cgroupsPath") or f"/underlay/{container_id}")
    if ".." in path.split("/"):
        raise InvalidInput(f"linux.cgroupsPath: {path!r} must not contain ..")
    group = cgroup.open_group(path, rootless)
    now = time.time()
    return {
        "id": container_id,
        "bundle": bundle,
        "rootfs": config.root_directory(spec, bundle),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}Z",
        "owner": owner,
        "pid": 0,
        "when": 0,
        "rootless": rootless,
        "cgroup": {"version": group.version, "path": group.path, "base": group.base},
        "config": spec,
    }


def _plan(record: BundleRecord, spec: Spec, options: StartOptions) -> plan.Plan:
    version = record["cgroup"]["version"]
    if version == "v1":
        version = "v1:" + ",".join(cgroup.visible(cgroup.detect()[1], spec))
    extras = plan.Extras(
        waits=True,
        hooks=[kind for kind, items in (spec.get("hooks") or {}).items() if items],
        pivot=options.pivot,
        keyring=options.keyring,
        base=record["bundle"],
    )
    # Attached over the old root, in the container's own mount namespace: no directory has to be reached for that.
    root = plan.Root(target="/", path=record["rootfs"])
    made = plan.make(spec, root, extras, version, nodes=not record["rootless"])
    init.prepare(made.operations)
    capabilities.last_known_cached()
    return made


def _context(root: str, record: BundleRecord, options: StartOptions) -> Context:
    spec = record["config"]
    context = Context()
    context.stdio = (0, 1, 2)
    context.environment = dict(pair.partition("=")[::2] for pair in spec["process"].get("env") or [] if "=" in pair)
    context.hooks = {kind: items for kind, items in (spec.get("hooks") or {}).items() if items}
    context.state = records.hook_state(record, records.CREATING)
    context.listener = control.listen(records.directory(root, record["id"]), records.GATE)
    if options.preserve and os.environ.get("LISTEN_FDS"):
        context.environment.update(LISTEN_FDS=os.environ["LISTEN_FDS"], LISTEN_PID="1")
    context.seccomp = filter_of(spec)
    return context


def announcer(record: BundleRecord, word: str, pid: int = 0) -> Callable[[int, int], None] | None:
    """Return the function that notifies the seccomp agent; None for filters without one. `pid` is the first process's."""
    profile = (record["config"].get("linux") or {}).get("seccomp")
    if not profile:
        return None
    from ..apply import seccomp_notify

    container_state = seccomp_notify.state_of(record["id"], word, record["bundle"], record["config"])
    return seccomp_notify.announcer(profile, {**container_state, "pid": pid} if pid else container_state)


def filter_of(spec: Spec) -> bytes:
    """Return the compiled system call filter of a specification; empty when it has none."""
    profile = (spec.get("linux") or {}).get("seccomp")
    if not profile:
        return b""
    from ...linux.security import seccomp

    return seccomp.compile_filter(profile)


def _bring_up(root: str, record: BundleRecord, made: plan.Plan, options: StartOptions) -> None:
    spec = record["config"]
    resources = resources_of(spec)
    context = _context(root, record, options)
    ours, theirs = control.pair()
    context.channel = theirs
    spawn.prepare(made, context)
    group = records.group_of(record)
    preserved = tuple(range(3, 3 + options.preserve))
    for fd in preserved:
        os.set_inheritable(fd, True)
    pid, born = spawn.clone(made, context, group, resources, ours, (context.listener.fileno(), *preserved))
    context.listener.close()
    record["pid"], record["when"] = pid, process.start_time(pid)
    try:
        records.save(root, record)
        spawn.let_on(made, group, resources, ours, pid, born)
        _await_created(ours, record, options)
    finally:
        ours.close()


def resources_of(spec: Spec) -> Resources:
    """Return the limits of a specification with a complete list of devices.

    What it does not allow is denied, except the devices that every container has (config-linux, "Default Devices").
    """
    given: Resources = (spec.get("linux") or {}).get("resources") or {}
    nothing, *common = profiles.device_rules()
    return {**given, "devices": [nothing, *(given.get("devices") or []), *common]}


def _await_created(channel: _socket.socket, record: BundleRecord, options: StartOptions) -> None:
    """Serve the new process until it waits to be started; raises StartFailed with what it says went wrong."""
    while True:
        data, console = child_channel.message(channel)
        if not data:
            raise StartFailed("the container's process has ended before it was created", 125)
        if data[:1] == b"!":
            raise laststep.failure(known(data[1:]))
        if data == b"console":
            assert options.console is not None
            try:
                options.console(console)
            finally:
                os.close(console)
        elif data == b"hooks":
            from ..apply import hooks

            hook_state = records.hook_state(record, records.CREATING)
            for kind in ("prestart", "createRuntime"):
                hooks.run(kind, (record["config"].get("hooks") or {}).get(kind) or [], hook_state)
            child_channel.open_gate(channel, b"hooked")
        elif data == b"created":
            return


def take_down(root: str, record: BundleRecord, warn: Callable[[str], None]) -> None:
    """Remove all that `create` has made: processes, cgroup, record; then run the hooks of the end."""
    if records.alive(record):
        try:
            os.kill(record["pid"], _signal.SIGKILL)
        except ProcessLookupError:
            pass
    await_end(record)
    group = records.group_of(record)
    group.kill()
    group.remove()
    records.forget(root, record["id"])
    items = (record["config"].get("hooks") or {}).get("poststop")
    if items:
        from ..apply import hooks

        for position, item in enumerate(items):
            try:
                hooks.run("poststop", [item], {**records.hook_state(record, records.STOPPED), "pid": 0})
            except UnderlayError as error:
                # The end goes on whatever they say (runtime, "Lifecycle", step 13).
                warn(error.message.replace("[0]", f"[{position}]", 1))


def await_end(record: BundleRecord, seconds: float = 10.0) -> None:
    """Wait until the first process is gone, whichever process is its parent; raises UnderlayError when it does not go."""
    pid = record["pid"]
    if not pid:
        return
    deadline = time.monotonic() + seconds
    try:
        os.waitpid(pid, 0)
        return
    except ChildProcessError:
        pass  # not ours: its new parent reaps it
    while records.alive(record):
        if time.monotonic() > deadline:
            raise UnderlayError(
                f"process {pid} does not end",
                "a killed process in an uninterruptible system call (state D) ends when that returns",
            )
        time.sleep(0.002)


def has_terminal(bundle: str) -> bool:
    """Return whether the bundle asks for a terminal, for who must know before it is created."""
    spec, _ = config.read(os.path.realpath(bundle))
    return bool(spec["process"].get("terminal"))
