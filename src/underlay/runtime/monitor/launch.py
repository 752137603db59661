"""Starting a monitor: prepares the plan and forks; the monitor makes the cgroup and clones the container's process.

A launch record (`records.LaunchRecord`) is a dict that JSON can hold:

id, name; directory, state (of the container); paths [root, state]; spec (OCI); root (arguments of `plan.Root`);
extras (arguments of `plan.Extras`); cgroup (path), cgroup_used (filled in); joined ([pid, start time] of those whose
namespaces are joined); rootless; seccomp (the compiled filter in hexadecimal digits); log {path, driver, limit, keep};
terminal; open_stdin, stdin_once; network (`control.COMING` until it arrives, see `_await_network`; None for none);
restart {name, maximum}; remove; shared_mount (arguments of
`linux.sharedmount.SharedMount`); python, import_path; runtime (path of the OCI runtime that runs it instead of our
driver); nodes (false where we live in a user namespace ourselves).
"""

from __future__ import annotations

import _signal
import _socket
import fcntl
import gc
import os

from ...errors import StartFailed, UnderlayError
from ...linux import cgroup, process
from ...linux.files.sharedmount import SharedMount
from ...linux.security import capabilities
from .. import drivers, plan
from ..plan.context import Context
from ..process import init
from . import control, state, streams
from .attachment import Attachment
from .monitor import Monitor, slim_command
from .networks import relays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .networks.lending import LentSockets
    from .records import Handover, HeldChannel, LaunchRecord, NetworkResources, StepRecord


def spawn(record: LaunchRecord, attachment: Attachment | None, lock: int, hold: int) -> _socket.socket:
    """Fork the monitor of a container and return the control socket to it.

    Its first message is {"started": pid} or {"failed": …}. `lock` is the container's lock and `hold` the shared lock on
    the image's mount, both held by the monitor from now on. This process must have one thread and is expected to end soon,
    as the monitor is its child; see `fresh.spawn` for others. Raises InvalidInput and Unsupported for a specification that
    cannot be planned.
    """
    # Prepared before the fork, so that a mistake in the specification is an exception here.
    made = prepare(record)
    ours, theirs = control.pair()
    # What is in memory now stays as it is in both: collecting garbage would only copy its pages.
    gc.freeze()
    if os.fork() == 0:
        serve(record, made, attachment, lock, hold, theirs)
    theirs.close()
    return ours


def prepare(record: StepRecord) -> plan.Plan:
    """Return the plan of a launch record and import what applying it needs."""
    root = plan.Root(**record["root"])
    version, hierarchies = cgroup.detect()
    if version == "v1":
        version = "v1:" + ",".join(cgroup.visible(hierarchies, record["spec"]))
    if record["rootless"] and version != "v2":
        version = "none"
    made = plan.make(record["spec"], root, plan.Extras(**record["extras"]), version, record.get("nodes", True))
    init.prepare(made.operations)
    capabilities.last_known_cached()
    return made


def serve(
    record: LaunchRecord,
    made: plan.Plan | None,
    attachment: Attachment | None,
    lock: int,
    hold: int,
    channel: _socket.socket,
) -> NoReturn:
    """Run as the monitor of a container from now on; the plan is made here when `made` is None. Never returns."""
    try:
        if os.getsid(0) != os.getpid():
            os.setsid()
        # Where the caller has closed its standard streams our descriptors may have their numbers.
        lock, hold = _above_streams(lock), _above_streams(hold)
        if channel.fileno() < 3:
            channel = _socket.socket(fileno=_above_streams(channel.detach()))
        for number in (0, 1, 2):
            try:
                os.fstat(number)
            except OSError:
                os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        process.set_name("underlay-monito")
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE, _signal.SIGQUIT):
            _signal.signal(number, _signal.SIG_IGN)
        for number in (_signal.SIGTERM, _signal.SIGCHLD, _signal.SIGWINCH, _signal.SIGUSR1, _signal.SIGUSR2):
            _signal.signal(number, _signal.SIG_DFL)
        keep = [lock, channel.fileno()] + ([hold] if hold >= 0 else [])
        if attachment is not None:
            keep += [fd for fd in (attachment.stdin, attachment.stdout, attachment.stderr) if fd > 2]
        process.close_from(3, tuple(keep))
        monitor = Monitor(record, lock, hold)
        try:
            if "machine" not in record:  # else no kernel but the machine's reads what is in the image
                SharedMount(*record["shared_mount"]).ensure()
            if "shared" in record:
                from . import heldmounts

                monitor.holds = heldmounts.take(record["shared"])
            begin(monitor, made or prepare(record), attachment, channel)
        except UnderlayError as error:
            give_up(monitor, error, channel)
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            give_up(monitor, UnderlayError(f"{error.strerror}{where}"), channel)
        _detach_from_terminal()
        supervise(monitor)
    except BaseException as error:
        if os.environ.get("UNDERLAY_DEBUG"):
            import traceback

            traceback.print_exc()
        control.send(channel, {"failed": {"message": f"{type(error).__name__}: {error}", "code": 125}})
    finally:
        os._exit(0)


def _above_streams(fd: int) -> int:
    """Return `fd` with a number that is no standard stream's; -1 stays -1."""
    if fd < 0 or fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def _detach_from_terminal() -> None:
    """Close the caller's standard streams and leave its directory: a reader of its output must not wait for the monitor."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    os.chdir("/")


def give_up(monitor: Monitor, error: UnderlayError, channel: _socket.socket) -> NoReturn:
    """Report that the container could not start, clean up, and exit."""
    code = error.exit_code if isinstance(error, StartFailed) else 125
    try:
        monitor.clean()
    except UnderlayError as failure:
        error.hint = error.hint or f"cleaning up failed too: {failure.message}"
    try:
        state.write(
            monitor.launch["directory"],
            "last.json",
            {"failed": True, "code": code, "error": error.message, "restarts": monitor.restarts},
        )
    except OSError as failure:
        error.hint = error.hint or f"nor could that be recorded: {failure.strerror}"
    for name in ("state.json", "control"):
        try:
            os.unlink(f"{monitor.launch['state']}/{name}")
        except FileNotFoundError:
            pass
    monitor.release_root()
    control.send(channel, {"failed": {"message": error.message, "hint": error.hint, "code": code}})
    os._exit(0)


def begin(monitor: Monitor, made: plan.Plan, attachment: Attachment | None, channel: _socket.socket | None) -> None:
    """Start the container: streams, process, cgroup; then record the state and notify the caller. Raises UnderlayError."""
    record = monitor.launch
    if any(process.start_time(pid) != when for pid, when in record.get("joined") or []):
        raise StartFailed("cannot join the namespace of a container that has ended or started again", 125)
    ours, theirs = control.pair()
    context = Context()
    context.channel = theirs
    context.seccomp = bytes.fromhex(record["seccomp"])
    context.environment = dict(pair.split("=", 1) for pair in record["spec"]["process"].get("env") or [] if "=" in pair)
    if record["spec"].get("hooks") and "runtime" not in record:
        from . import hooks

        hooks.prepare(record, context)
    if "secrets" in record:
        from . import secretvalues

        context.secrets = secretvalues.read(record["secrets"])
    outputs: list[tuple[int, int]] = []
    given = -1
    if not record["terminal"]:
        out, out_end = streams.output_pipe()
        err, err_end = streams.output_pipe()
        outputs = [(out, streams.STDOUT), (err, streams.STDERR)]
        if record["open_stdin"]:
            in_end, given = streams.input_pipe()
        else:
            in_end = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        context.stdio = (in_end, out_end, err_end)
    group = cgroup.open_group(record["cgroup"], record["rootless"])
    record["cgroup_used"] = {"version": group.version, "path": group.path, "base": group.base}
    network = record["network"]
    if network == control.COMING:
        assert channel is not None
        network, sockets = _await_network(channel)
        record["network"] = network
        monitor.lend_questions(sockets)
    if network and (network["ports"] or network["relays"]) and not monitor.ports and monitor.relays is None:
        _hold_ports(monitor, network)
    try:
        pid, console = drivers.start(record, made, context, group, ours)
    except BaseException:
        for fd, _ in outputs:
            os.close(fd)
        if given >= 0:
            os.close(given)
        raise
    finally:
        ours.close()
    when, pidfd = process.start_time(pid), process.pidfd_open(pid)
    relay = monitor.relay
    if console >= 0:
        os.set_blocking(console, False)
        relay.add_output(console, streams.STDOUT)
        relay.replace_input(os.dup(console))
    else:
        for fd, stream in outputs:
            relay.add_output(fd, stream)
        relay.replace_input(given)
    monitor.watch(pid, pidfd, when)
    monitor.listen()
    if channel is not None:
        client = None
        if attachment is not None:
            client = relay.attach(attachment.stdin, attachment.stdout, attachment.stderr, attachment.keys)
            if attachment.removes:
                monitor.removers.add(channel.fileno())
        monitor.add_channel(channel, client)
        # By whoever waits for the start it would come after the end of a short program.
        monitor.note("start")
        control.send(channel, {"started": pid})
    if network and monitor.firewall is None:
        _watch_firewall(monitor)


def _await_network(channel: _socket.socket) -> tuple[NetworkResources, list[int]]:
    """Wait for the caller's description of the network that it creates meanwhile, and the sockets for questions.

    Raises StartFailed.
    """
    message, fds = control.receive(channel)
    if message is None or "network" not in message or not fds:
        reason = (message or {}).get("abandoned") or "the container's network could not be created"
        raise StartFailed(reason, 125)
    network: NetworkResources = control.unpack(fds[0])
    return network, fds[1:]


def _hold_ports(monitor: Monitor, network: NetworkResources) -> None:
    """Hold the container's ports of the host, and lend those that are to be relayed."""
    from ...linux.network import hostports

    relayed = network["relays"]
    held = hostports.hold(
        [*((relay["protocol"], relay["address"], relay["number"]) for relay in relayed), *network["ports"]]
    )
    sockets, monitor.ports = held[: len(relayed)], held[len(relayed) :]
    relays.listen(sockets, relayed)
    monitor.lend_ports(sockets)


def _watch_firewall(monitor: Monitor) -> None:
    from ...linux.network import changes

    try:
        monitor.watch_firewall(changes.subscribe())
    except (UnderlayError, OSError):
        pass  # this kernel tells nothing: what others change is mended at the next start of a container


def supervise(monitor: Monitor) -> NoReturn:
    """Supervise the container until it exits for good, through restarts; never returns."""
    while True:
        if not monitor.run():
            _become_slim(monitor)
        again = False
        try:
            monitor.clean()
            if monitor.oom:
                monitor.note("oom")
            lived = (monitor.finished - monitor.started) // 10**9
            monitor.note("die", execDuration=str(lived), exitCode=str(monitor.code))
            again = monitor.wants_restart()
            if again:
                again = monitor.pause_before_restart()
            if again:
                monitor.restarts += 1
                begin(monitor, prepare(monitor.launch), None, None)
                monitor.note("start")
        except StartFailed as error:
            monitor.log.problem = error.message
            monitor.code = error.exit_code
            again = _give_up_again(monitor)
        except (UnderlayError, OSError) as error:
            monitor.log.problem = str(error)
            again = _give_up_again(monitor)
        if not again:
            monitor.finish()
            os._exit(0)


def _give_up_again(monitor: Monitor) -> bool:
    """Clean up after a failed restart; returns whether the container runs nevertheless."""
    if monitor.pidfd >= 0:
        return True
    try:
        monitor.clean()
    except UnderlayError:
        pass  # what is left, `rm` removes
    return False


# The monitor after re-executing itself.


def _become_slim(monitor: Monitor) -> None:
    """Re-execute this process as an interpreter that loads only the monitor; the container is not affected."""
    fds: list[int] = [monitor.lock, monitor.pidfd, *monitor.relay.outputs]
    channels: list[HeldChannel] = []
    record: Handover = {
        "launch": monitor.launch if monitor.launch["restart"]["name"] not in ("", "no") else _without_spec(monitor),
        "lock": monitor.lock,
        "hold": monitor.hold,
        "holds": monitor.holds,
        "ports": monitor.ports,
        "questions": _sockets(monitor.questions),
        "asked": _channel(monitor.questions),
        "relaying": _sockets(monitor.relays),
        "relayed": _channel(monitor.relays),
        "firewall": monitor.firewall.socket if monitor.firewall is not None else -1,
        "pid": monitor.pid,
        "pidfd": monitor.pidfd,
        "when": monitor.when,
        "started": monitor.started,
        "restarts": monitor.restarts,
        "stopping": monitor.stopping,
        "outputs": list(monitor.relay.outputs.items()),
        "input": monitor.relay.input,
        "unread": monitor.relay.unread.hex(),
        "unfinished": monitor.log.unfinished(),
        "problem": monitor.log.problem,
        "listener": monitor.listener.fileno() if monitor.listener is not None else -1,
        "channels": channels,
    }
    for fd, (_, client) in monitor.channels.items():
        entry: HeldChannel = {"fd": fd, "client": None, "removes": fd in monitor.removers}
        fds.append(fd)
        if client is not None:
            entry["client"] = {
                "source": client.source,
                "targets": list(client.targets.items()),
                "keys": list(client.detach_keys),
                "seen": client.seen,
            }
            fds += [fd for fd in (client.source, *client.targets.values()) if fd >= 0]
        channels.append(entry)
    single = [
        monitor.hold,
        monitor.relay.input,
        *(record[name] for name in ("listener", "asked", "relayed", "firewall")),
    ]
    fds += [
        fd for fd in (*single, *monitor.holds, *monitor.ports, *record["questions"], *record["relaying"]) if fd >= 0
    ]
    from ...lean.jsontext import dumps

    handover = os.memfd_create("underlay-monitor")
    os.write(handover, dumps(record).encode())
    os.lseek(handover, 0, os.SEEK_SET)
    for fd in fds:
        os.set_inheritable(fd, True)
    os.set_inheritable(handover, True)
    launch = monitor.launch
    command = slim_command(launch, "from underlay.runtime.monitor.resident import resume; resume()")
    try:
        os.execve(launch["python"], [*command, str(handover)], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    except OSError:
        # The interpreter is gone (an upgrade): stay as we are.
        for fd in fds:
            os.set_inheritable(fd, False)
        os.close(handover)
        monitor.slim = True


def _sockets(lent: LentSockets | None) -> list[int]:
    return list(lent.sockets) if lent is not None else []


def _channel(lent: LentSockets | None) -> int:
    return lent.channel.fileno() if lent is not None and lent.channel is not None else -1


def _without_spec(monitor: Monitor) -> LaunchRecord:
    record = monitor.launch.copy()
    record.pop("spec", None)
    record.pop("seccomp", None)
    record.pop("secrets", None)
    return record
