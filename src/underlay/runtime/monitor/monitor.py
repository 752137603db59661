"""The supervisor of one container: streams, log, exit, restart, cleaning. Imports almost nothing.

It begins as a fork of the command that starts the container, so that nothing has to be loaded twice on the way to a
running program; when the container has run for a moment it executes itself as a slim interpreter that holds only what
waiting needs (docs/decisions/0005-monitor.md). It never opens the database.
"""

from __future__ import annotations

import _signal
import _socket
import os
import select
import time

from ...lean.jsontext import known
from . import control, state
from .health import HealthChecks
from .logdrivers import open_log
from .logs import Log
from .networks import names, relays
from .networks.firewallwatch import FirewallWatch
from .networks.lending import LentSockets
from .streams import Client, Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from .logdrivers.sending import Sending
    from .records import Last, LaunchRecord, Message

SLIM_AFTER = 0.25  # seconds of running after which the monitor becomes slim
_GRACE = 0.2  # seconds to read what is left when others still hold the container's pipes
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Monitor:
    """One container's supervisor. `launch` is the record that `launch` describes."""

    __slots__ = (
        "channels",
        "code",
        "finished",
        "firewall",
        "health",
        "hold",
        "holds",
        "launch",
        "listener",
        "lock",
        "log",
        "oom",
        "pid",
        "pidfd",
        "poll",
        "ports",
        "questions",
        "relay",
        "relays",
        "removers",
        "restarts",
        "slim",
        "started",
        "stopping",
        "when",
    )

    def __init__(self, launch: LaunchRecord, lock: int, hold: int) -> None:
        self.launch = launch
        self.lock = lock
        self.hold = hold
        self.holds: list[int] = []  # locks of the mounts that are shared beside the root
        self.ports: list[int] = []  # sockets that hold the host's ports which are published
        self.poll = select.poll()
        self.questions: LentSockets | None = None  # for names
        self.relays: LentSockets | None = None
        self.firewall: FirewallWatch | None = None
        self.health: HealthChecks | None = None
        self.log = open_log(launch["log"], self.poll)
        self.relay = Relay(self.poll, self.log, launch["terminal"])
        self.relay.close_input_at_end = launch["stdin_once"]
        self.channels: dict[int, tuple[_socket.socket, Client | None]] = {}
        self.removers: set[int] = set()  # channels of clients that remove the container themselves when it has ended
        self.listener: _socket.socket | None = None
        self.pid = self.pidfd = -1
        self.when = 0
        self.code = -1
        self.oom = False
        self.started = self.finished = 0
        self.restarts = 0
        self.stopping = False
        self.slim = False

    # The connected clients.

    def add_channel(self, channel: _socket.socket, client: Client | None) -> None:
        """Watch the connection of a client; `client` are the streams attached through it."""
        channel.setblocking(False)
        self.channels[channel.fileno()] = (channel, client)
        self.poll.register(channel.fileno(), select.POLLIN)

    def _drop_channel(self, fd: int) -> None:
        channel, client = self.channels.pop(fd)
        self.removers.discard(fd)
        self.poll.unregister(fd)
        channel.close()
        if client is not None:
            self.relay.detach(client)

    def tell(self, message: Message) -> None:
        """Send a message to all connected clients; a connection that cannot take it is closed."""
        for fd in list(self.channels):
            if not control.send(self.channels[fd][0], message):
                self._drop_channel(fd)

    def listen(self) -> None:
        """Open the control socket for later clients."""
        if self.listener is not None:
            return  # another run of the same container
        self.listener = control.listen(self.launch["state"])
        self.listener.setblocking(False)
        self.poll.register(self.listener.fileno(), select.POLLIN)

    # The loop.

    def watch(self, pid: int, pidfd: int, when: int) -> None:
        """Supervise process `pid`, which has become the container's program."""
        self.pid, self.pidfd, self.when = pid, pidfd, when
        self.started = time.time_ns()
        self.code = -1
        self.poll.register(pidfd, select.POLLIN)
        self.check_health()
        self.record(state.RUNNING)

    def check_health(self) -> None:
        """Begin to check the health of this run, where that is asked for; the first check comes after the interval."""
        settings = self.launch.get("health")
        if settings is None:
            return
        record = settings["exec"]
        record["pid"], record["when"] = self.pid, self.when
        record["group"] = (*record["group"][:2], self.launch["cgroup_used"].get("base", ""))
        if record["state"] is not None:
            record["state"]["pid"] = self.pid
        self.health = HealthChecks(
            self.poll, settings, self.launch["state"], self.started, lambda word: self.note(f"health_status: {word}")
        )

    def record(self, word: str) -> None:
        """Write the current state to `state.json`, and the run with `record_run`."""
        state.write(
            self.launch["state"],
            "state.json",
            {
                "status": word,
                "pid": self.pid,
                "when": self.when,
                "monitor": os.getpid(),
                "started": self.started,
                "cgroup": self.launch["cgroup_used"],
            },
        )
        self.record_run()

    def record_run(self) -> None:
        """Write how this run began and, when it has, how it ended."""
        record: Last = {
            "started": self.started,
            "finished": self.finished,
            "code": self.code if self.finished else None,
            "oom": self.oom,
            "restarts": self.restarts,
            "error": self.log.problem,
            "stopped": self.stopping,
        }
        try:
            state.write(self.launch["directory"], "last.json", record)
        except OSError as error:
            # The container must not depend on it; what can still be reported, the log's problem reports.
            self.log.problem = self.log.problem or f"the run could not be recorded: {error.strerror}"

    def run(self) -> bool:
        """Wait until the container has exited and its output is forwarded. Returns False when it is time to re-execute."""
        deadline = 0.0 if self.slim else time.monotonic() + SLIM_AFTER
        ended_at = 0.0
        while True:
            if self.code >= 0:
                if not self.relay.outputs and not self.relay.blocked:
                    return True
                timeout = _GRACE
                if not self.relay.blocked and time.monotonic() > ended_at + _GRACE:
                    return True
            elif deadline:
                timeout = max(0.0, deadline - time.monotonic())
            else:
                timeout = self.health.wait() if self.health is not None else -1.0
            ready = self.poll.poll(timeout * 1000 if timeout >= 0 else None)
            if self.health is not None and self.slim:
                self.health.turn()
            if not ready:
                if self.code >= 0 and not self.relay.blocked:
                    return True
                if deadline and time.monotonic() >= deadline and not self.relay.blocked:
                    return False
                continue
            for fd, mask in ready:
                self._handle(fd, mask)
            if self.code >= 0 and not ended_at:
                ended_at = time.monotonic()

    def _handle(self, fd: int, mask: int) -> None:
        if fd == self.pidfd:
            self._reap()
        elif fd in self.channels:
            self._message(fd)
        elif self.listener is not None and fd == self.listener.fileno():
            try:
                channel = control.accept(self.listener)
            except OSError:
                return
            self.add_channel(channel, None)
        elif any(
            other.handle(fd)
            for other in (self.questions, self.relays, self.firewall, self.health, self._sending)
            if other is not None
        ):
            pass  # it belongs to the network, a health check or the log
        elif self.relay.handle(fd, mask):
            for channel_fd, (channel, client) in list(self.channels.items()):
                if client is not None and (client.detached or client.lost):
                    self.channels[channel_fd] = (channel, None)
                    self.removers.discard(channel_fd)
                    self.relay.detach(client)
                    control.send(channel, {"lost": client.lost} if client.lost else {"detached": True})

    @property
    def _sending(self) -> Sending | None:
        """The log, where it is sent elsewhere and may have to wait."""
        return self.log if not isinstance(self.log, Log) else None

    def _message(self, fd: int) -> None:
        channel = self.channels[fd][0]
        message, fds = control.receive(channel)
        if message is None:
            self._drop_channel(fd)
            return
        try:
            self._obey(fd, message, fds)
        finally:
            for extra in fds:
                os.close(extra)

    def _obey(self, fd: int, message: Message, fds: list[int]) -> None:
        channel, client = self.channels[fd]
        attach_request = message.get("attach")
        if isinstance(attach_request, dict) and client is None and len(fds) == 3:
            wanted = [
                fds[i] if attach_request.get(name) else -1 for i, name in enumerate(("stdin", "stdout", "stderr"))
            ]
            keys = attach_request.get("keys")
            typed = bytes(k & 0xFF for k in keys if isinstance(k, int)) if isinstance(keys, list) else b""
            try:
                self.channels[fd] = (channel, self.relay.attach(wanted[0], wanted[1], wanted[2], typed))
            except OSError:
                self._drop_channel(fd)  # descriptors that cannot be used
                return
            if attach_request.get("removes"):
                self.removers.add(fd)
            control.send(channel, {"attached": True, "pid": self.pid})
        size = message.get("resize")
        if isinstance(size, list) and len(size) == 2 and self.launch["terminal"] and self.relay.input >= 0:
            from ...linux import tty

            try:
                tty.set_window_size(self.relay.input, int(size[0]), int(size[1]))
            except (OSError, ValueError, TypeError, OverflowError):
                pass
        if message.get("stopping"):
            self.stopping = True
            if message.get("keep"):
                self.launch["remove"] = False
            control.send(channel, {"noted": True})
        name = message.get("renamed")
        if isinstance(name, str):
            self.launch["journal"][1]["name"] = name
            control.send(channel, {"noted": True})
        if message.get("relaunch") and fds:
            # What is to be started again is another (`update`); what belongs to this run stays.
            record: LaunchRecord = known(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
            # A caller that has given up waiting for the answer has changed nothing else either.
            if control.send(channel, {"noted": True}):
                record["cgroup_used"], record["delay"] = self.launch["cgroup_used"], self.launch.get("delay", 0.0)
                record["network"] = self.launch["network"]
                if "secrets" in self.launch:
                    record["secrets"] = self.launch["secrets"]
                self.launch = record
        moved = message.get("relays")
        if moved is not None and isinstance(self.launch["network"], dict):
            self.launch["network"]["relays"] = moved
            if self.relays is not None and self.relays.channel is not None:
                control.send(self.relays.channel, {"relays": moved})
            control.send(channel, {"noted": True})
        if "joined" in message and isinstance(self.launch["network"], dict):
            self.launch["network"]["joined"] = message["joined"]
            control.send(channel, {"noted": True})
        number = message.get("signal")
        if isinstance(number, int) and self.pidfd >= 0:
            try:
                _signal.pidfd_send_signal(self.pidfd, number)
            except (OSError, OverflowError):
                pass
        if isinstance(message.get("paused"), bool):
            if self.health is not None:
                self.health.pause(message["paused"])
            self.record(state.PAUSED if message["paused"] else state.RUNNING)
            control.send(channel, {"noted": True})

    def _reap(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0x7F00
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        self.code = code if code >= 0 else 128 - code
        self.finished = time.time_ns()
        if self.health is not None:
            self.health.close()
            self.health = None
        self.poll.unregister(self.pidfd)
        os.close(self.pidfd)
        self.pidfd = -1

    def note(self, action: str, **attributes: str) -> None:
        """Write what has happened to the container into the journal."""
        from ... import journal

        path, always = self.launch["journal"]
        journal.append(path, "container", action, self.launch["id"], {**always, **attributes})

    # The end.

    def clean(self) -> None:
        """Remove what the run has created on the host: processes, cgroup."""
        from ...linux import cgroup
        from .. import drivers

        group = cgroup.open_group(
            self.launch["cgroup"], self.launch["rootless"], self.launch["cgroup_used"].get("base", "")
        )
        self.oom = drivers.ran_out_of_memory(self.launch, group)
        drivers.clean(self.launch)
        group.kill()
        group.remove()

    def release_root(self) -> None:
        """Release the shared mount of the image's index; unmount it when no other container uses it."""
        if self.hold >= 0:
            from ...files import unlock

            unlock(self.hold)
            self.hold = -1
        if self.launch["shared_mount"]:
            from ...errors import KernelError
            from ...linux.files import sharedmount

            try:
                sharedmount.SharedMount(*self.launch["shared_mount"]).release()
            except KernelError:
                pass  # a process of the host uses the mount: the next container that ends releases it
        shared = self.launch.get("shared")
        if shared is not None:
            from . import heldmounts

            heldmounts.give_back(shared, self.holds)

    def release_network(self) -> None:
        """Close the sockets for questions, unpublish the ports, release the network namespace with its interfaces."""
        network = self.launch.get("network")
        if not network or network == control.COMING:
            return
        from ... import journal
        from ...errors import UnderlayError
        from ...linux.network import emptying, netns, nft

        for lent in (self.questions, self.relays):
            if lent is not None:
                lent.close()
        self.questions = self.relays = None
        if self.firewall is not None:
            self.firewall.close()
            self.firewall = None
        # Apart, because what may have come later is seldom there: the others go without a look at what there is.
        for part in (network["elements"], network.get("later") or {}):
            contents = {name: [nft.Element(bytes.fromhex(key)) for key in keys] for name, keys in part.items()}
            try:
                nft.take_away(network["table"], contents)
            except UnderlayError:
                pass  # another program has removed the firewall table
        if network.get("plugins"):
            self._leave_plugins()
        while self.ports:
            os.close(self.ports.pop())
        for path in network["namespaces"]:
            try:
                # Others that use the namespace must not keep an address that somebody else may get.
                if os.path.isdir(self.launch["state"] + "/sidecars"):
                    emptying.empty_pinned(path)
                netns.release(path)
            except UnderlayError:
                pass  # a process uses it: the next start, or the removal, releases it
        for network_id, (name, driver) in (network.get("joined") or {}).items():
            attributes = {"container": self.launch["id"], "name": name, "type": driver}
            journal.append(self.launch["journal"][0], "network", "disconnect", network_id, attributes)

    def _leave_plugins(self) -> None:
        """Have the container detached from its networks of CNI, by a process that has what running plugins takes."""
        paths = self.launch["paths"]
        command = slim_command(
            self.launch, "from underlay.engine.monitor_entry import detach_plugins; detach_plugins()"
        )
        child = os.posix_spawn(
            self.launch["python"],
            [*command, paths[0], paths[1], self.launch["id"]],
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        os.waitpid(child, 0)  # what it could not do, the next start or the removal does

    def lend_questions(self, sockets: list[int], channel: _socket.socket | None = None) -> None:
        """Have questions for names answered; `channel` is the connection to a name server that has the sockets."""
        network = self.launch["network"]
        service = network["names"] if isinstance(network, dict) else None
        if service is not None and sockets:
            self.questions = LentSockets(
                self.poll, sockets, lambda fds: names.hand_over(service, self.launch["id"], fds)
            )
            self.questions.watch(channel)

    def lend_ports(self, sockets: list[int], channel: _socket.socket | None = None) -> None:
        """Have what comes to these bound sockets of published ports relayed."""
        if sockets:
            self.relays = LentSockets(self.poll, sockets, self._relay)
            self.relays.watch(channel)

    def _relay(self, sockets: Sequence[int]) -> _socket.socket | None:
        network = self.launch["network"]
        assert isinstance(network, dict)
        command = slim_command(self.launch, "from underlay.runtime.monitor.networks.portrelay import serve; serve()")
        return relays.lend(command, network["relays"], sockets)

    def watch_firewall(self, socket: int) -> None:
        """Have the firewall mended when the kernel tells on this socket that it was changed."""
        code = "from underlay.engine.monitor_entry import mend; mend()"
        root, state_directory = self.launch["paths"]
        command = [*slim_command(self.launch, code), root, state_directory]
        self.firewall = FirewallWatch(self.poll, socket, command, state_directory + "/networks/mending.lock")

    def wants_restart(self) -> bool:
        """Return whether the restart policy requires a restart (docker run, "--restart")."""
        name, maximum = self.launch["restart"]["name"], self.launch["restart"]["maximum"]
        if self.stopping or name in ("", "no"):
            return False
        if name == "on-failure":
            return self.code != 0 and (not maximum or self.restarts < maximum)
        return True  # always, unless-stopped

    def pause_before_restart(self) -> bool:
        """Wait as docker does (100 ms, doubled each time, at most a minute); False when a stop is requested meanwhile."""
        ran = (self.finished - self.started) / 1e9
        if ran > 10:
            self.launch["delay"] = 0.0
        delay = min(60.0, (self.launch.get("delay") or 0.05) * 2)
        self.launch["delay"] = delay
        self.record(state.RESTARTING)
        deadline = time.monotonic() + delay
        while not self.stopping:
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            for fd, mask in self.poll.poll(left * 1000):
                self._handle(fd, mask)
        return False

    def finish(self) -> None:
        """Record the exit and notify clients; the lock is released last, so that a waiting process finds all done."""
        directory = self.launch["state"]
        self.relay.close()
        self.log.close()
        self.record_run()
        for name in ("state.json", "control"):
            try:
                os.unlink(f"{directory}/{name}")
            except FileNotFoundError:
                pass
        self.release_network()
        self.tell({"exited": self.code, "oom": self.oom, "remove": self.launch["remove"]})
        self.release_root()
        if self.launch["remove"] and not self.removers:
            os.close(self.lock)
            self._become("from underlay.engine.monitor_entry import removed; removed()", self.launch["id"])
        if self.launch["remove"] and self.launch["network"]:
            self._rest()

    def _rest(self) -> None:
        """Become the process that removes what networks have on the host if this was the last container, unless one waits
        for that already."""
        import fcntl

        try:
            waits = os.open(
                self.launch["paths"][1] + "/networks/rest.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(waits, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        os.close(self.lock)
        os.set_inheritable(waits, True)
        self._become("from underlay.engine.monitor_entry import rest; rest()", str(waits))

    def _become(self, code: str, word: str) -> NoReturn:
        """Execute an interpreter with all of underlay, for what needs the database."""
        command = [*slim_command(self.launch, code), *self.launch["paths"], word]
        os.execve(self.launch["python"], command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def slim_command(launch: LaunchRecord, code: str) -> list[str]:
    """Return the command line of an isolated interpreter that can import only underlay and the standard library."""
    return [
        launch["python"],
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path[:0] = {launch['import_path']!r}; {code}",
    ]
