"""Containers: create, run, start, stop, kill, wait, remove, list, inspect, logs, exec, attach, update, stats, top."""

from __future__ import annotations

import os
import time

from ... import events
from ...errors import Conflict, InvalidInput, KernelError, NotFound, UnderlayError
from ...runtime.monitor import control, state
from ...store.rows import containers as rows
from .. import presence
from . import session as starting
from .launcher import Launcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ...linux.cgroup import Group
    from ...runtime.monitor.attachment import Attachment
    from ...runtime.monitor.records import Attach
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import Container
    from ...store.rows.intent import Intent
    from ...store.store import Store
    from ..options import ContainerOptions
    from .exec import ExecOptions, Execution
    from .log_records import Record
    from .session import Session
    from .stats import Stats
    from .top import Processes


class Listed:
    """A container as `ps` shows it: `container` (its row), `intent` (what was asked for), `status` (what is so)."""

    __slots__ = ("container", "intent", "status")

    def __init__(self, container: Container, intent: Intent, status: Status) -> None:
        self.container = container
        self.intent = intent
        self.status = status


class Pruned:
    """What a prune has removed: `ids` of containers, and `space`, the bytes given back."""

    __slots__ = ("ids", "space")

    def __init__(self, ids: list[str], space: int) -> None:
        self.ids = ids
        self.space = space


class Containers:
    """The containers of an engine. Names are names, ids, or beginnings of ids."""

    __slots__ = ("_launcher", "_network", "_store")

    def __init__(self, store: Store, launcher: Launcher | None = None, network: str = "none") -> None:
        """`network` is the one of containers for which none is named; monitors are started by `launcher`."""
        self._store = store
        self._launcher = launcher or Launcher()
        self._network = network

    # Making and starting.

    def _settled(self, wish: ContainerOptions) -> ContainerOptions:
        """Return the options with a network: the usual one when none is named."""
        if wish.network not in ("", "default"):
            return wish
        return ContainerOptions(**{**wish.given(), "network": self._network})

    def create(self, wish: ContainerOptions) -> str:
        """Record a container without starting it; returns its id.

        Raises NotFound (image), InvalidInput, Conflict (name taken), Unsupported.
        """
        from . import create as creating

        return creating.create(self._store, self._settled(wish))[0]

    def run(
        self, wish: ContainerOptions, attachment: Attachment | None = None, size: tuple[int, int] = (0, 0)
    ) -> Session:
        """Create and start a container; returns the session with it: `session.wait()` gives the exit code.

        `attachment` are descriptors for its streams; `size` (rows, columns) of its terminal. Raises StartFailed with
        docker's codes; a container that was to be removed after its end is then gone, else it stays as created.
        """
        from . import create as creating

        container_id, intent = creating.create(self._store, self._settled(wish))
        try:
            return starting.start(self._store, self._launcher, container_id, intent["name"], intent, attachment, size)
        except (UnderlayError, OSError):
            if wish.remove:
                try:
                    starting.forget(self._store, container_id, True)
                except (UnderlayError, OSError):
                    pass  # why it did not start is what counts; what is left is listed
            raise

    def start(self, name: str, attachment: Attachment | None = None, size: tuple[int, int] = (0, 0)) -> Session | None:
        """Start a stopped container; returns the session, None when it is running already. Raises StartFailed."""
        row = self.get(name)
        status = self.status(row)
        if status.status == state.PAUSED:
            raise Conflict(f"cannot start a paused container, try unpause instead: {name}")
        if status.pid or status.status == state.RESTARTING:
            return None
        if status.error:
            self._tidy(row)
        return starting.start(self._store, self._launcher, row.id, row.name, row.intent, attachment, size)

    def restart(self, name: str, timeout: float | None = None) -> None:
        """Stop a container if it runs, and start it again."""
        self.stop(name, timeout)
        session = self.start(name)
        if session is not None:
            session.close()

    def plan(self, wish: ContainerOptions) -> list[str]:
        """Return, a line a step, what `run` would do to the host and the kernel; nothing is made.

        Raises NotFound, InvalidInput, Unsupported as `create` does.
        """
        from .plan import plan_lines

        return plan_lines(self._store, self._settled(wish))

    # Looking.

    def get(self, name: str) -> Container:
        """Return the row of a container; raises NotFound, Conflict (ambiguous)."""
        return rows.find(self._store.meta, name)

    def status(self, row: Container) -> Status:
        """Return the present state of a container."""
        return presence.status(self._store, row.id)

    def is_running(self, container_id: str) -> bool:
        """Return whether a container has a living process or is about to get one again."""
        return presence.is_running(self._store, container_id)

    def list(self, all: bool = False) -> list[Listed]:
        """Return the running containers, or all, the newest first."""
        found = []
        for row in rows.every(self._store.meta):
            status = self.status(row)
            running = status.status in (state.RUNNING, state.PAUSED, state.RESTARTING)
            if not running and not all:
                continue
            if status.status == state.CREATED and presence.has_vanished(self._store, row.id):
                continue
            found.append(Listed(row, row.intent, status))
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        """Return all that is known of a container, in the shape of docker's inspect."""
        from .inspect import inspect

        row = self.get(name)
        return inspect(self._store, row, row.intent, self.status(row))

    def ports(self, name: str) -> dict[str, Sequence[str]]:
        """Return where the ports of a running container are reached: `{"80/tcp": ["0.0.0.0:8080", "[::]:8080"]}`."""
        row = self.get(name)
        if "network" not in row.intent or not self.is_running(row.id):
            return {}
        from ..networks import ports as publishing

        return publishing.published(self._store, row.id)

    def logs(
        self,
        name: str,
        follow: bool = False,
        tail: int = -1,
        since: float = 0.0,
        until: float = 0.0,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[Record]:
        """Yield the recorded output: (time ns, stream, bytes), from the last `tail` lines on, between two times.

        Times are seconds since the epoch. With `follow` it goes on until the container ends. Raises Unsupported when the
        log driver keeps nothing.
        """
        from .logs import read_log

        row = self.get(name)
        return read_log(self._store, row, follow, tail, since, until, stdout, stderr)

    # Ending.

    def stop(self, name: str, timeout: float | None = None, signal: str = "") -> None:
        """Ask a container to end (its stop signal), kill it after `timeout` seconds (-1 waits for ever).

        Harmless when it has ended already.
        """
        row = self.get(name)
        intent = row.intent
        from ...linux import signals

        number = signals.number(signal or intent["stop_signal"])
        limit = intent["stop_timeout"] if timeout is None else timeout
        channel = self._announce_stop(row)
        try:
            status = self.status(row)
            if not status.pid:
                if channel is not None:
                    self._await_end(row, None)
                return
            self._signal(status, number)
            if status.status == state.PAUSED:
                try:
                    self.unpause(name)
                except Conflict:
                    pass  # it has ended, or somebody else was faster
            run = status.when
            if not self._await_end(row, None if limit < 0 else float(limit), run):
                status = self.status(row)
                if status.pid and status.when == run:
                    self._kill(row, status)
                self._await_end(row, 10.0, run)
        finally:
            if channel is not None:
                channel.close()
        self._tidy(row)
        self._store.emit(events.Event("container.stop", row.id))

    def _announce_stop(self, row: Container) -> _socket.socket | None:
        """Tell the monitor that the coming end is wanted, so that it does not restart; returns the connection."""
        channel = control.connect(self._store.paths.container_state(row.id))
        if channel is not None:
            try:
                control.ask(channel, {"stopping": True})
            except Conflict:
                pass  # a monitor that hangs does not keep the container from its end
        return channel

    def kill(self, name: str, signal: str = "KILL") -> None:
        """Send a signal to a container's first process; raises Conflict when it is not running."""
        from ...linux import signals

        number = signals.number(signal)
        row = self.get(name)
        status = self.status(row)
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        channel = None
        if number in (9, signals.number(row.intent["stop_signal"])):
            channel = self._announce_stop(row)
        try:
            if number == 9:
                self._kill(row, status)
                self._await_end(row, 10.0, status.when)
                self._tidy(row)
            else:
                self._signal(status, number)
        finally:
            if channel is not None:
                channel.close()
        self._store.emit(events.Event("container.kill", row.id, signal=number))

    def _signal(self, status: Status, number: int) -> None:
        import _signal

        from ...linux import process

        try:
            fd = process.pidfd_open(status.pid)
        except UnderlayError:
            return  # it has just ended
        try:
            # The pid may have been given to another process since it was written down.
            if process.start_time(status.pid) == status.when:
                _signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)

    def _kill(self, row: Container, status: Status) -> None:
        """Kill the first process, and let a paused one go on to die: version 1 keeps even the killed frozen."""
        self._signal(status, 9)
        if status.status == state.PAUSED:
            try:
                self._group(row, status).freeze(False)
            except KernelError as error:
                if error.errno not in starting.GONE:
                    raise

    def _group(self, row: Container, status: Status) -> Group:
        from ...linux import cgroup

        return cgroup.open_group(starting.group_path(row.id, row.intent), os.geteuid() != 0, status.group_base)

    def _await_end(self, row: Container, timeout: float | None, run: int = 0) -> bool:
        """Wait until the container's monitor has finished its work; returns False when the time is up first.

        `run` is the start time of the process whose end is waited for: another one means that somebody else has started
        the container again.
        """
        directory = self._store.paths.container_state(row.id)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while True:
            status = self.status(row)
            if not state.monitored(directory) and not status.pid:
                return True
            if run and status.pid and status.when != run:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def wait(self, name: str) -> int:
        """Block until a container ends and return its exit code; at once when it has ended."""
        row = self.get(name)
        directory = self._store.paths.container_state(row.id)
        channel = control.connect(directory)
        if channel is not None:
            session = starting.Session(row.id, channel)
            try:
                code = session.wait()
                if code is not None:
                    return code
            except UnderlayError:
                pass  # killed monitor, or the end came while we connected: the files tell
            finally:
                session.close()
        self._await_end(row, None)
        try:
            return self.status(self.get(row.id)).code
        except UnderlayError:
            return 0

    def remove(self, name: str, force: bool = False, volumes: bool = False) -> str:
        """Remove a container; with `force` it is killed first. Returns its id. Raises Conflict when it runs."""
        row = self.get(name)
        status = self.status(row)
        # Again when somebody else starts it meanwhile.
        for _ in range(10):
            if status.pid or status.status == state.RESTARTING:
                if not force:
                    raise Conflict(
                        f'cannot remove container "/{row.name}": container is running: '
                        "stop the container before removing or force remove",
                        f"`underlay rm -f {row.name}` does both",
                    )
                channel = self._announce_stop(row)
                if status.pid:
                    self._kill(row, status)
                if channel is not None:
                    channel.close()
            # A monitor that is still clearing up is waited for.
            if self._await_end(row, 1.0):
                break
            status = self.status(row)
        try:
            lock = presence.hold(self._store, row.id, patience=10.0)
        except NotFound:
            # Another process removes it at this moment, or a crash has left its row: both ways the rest may go.
            starting.forget(self._store, row.id, volumes or bool(row.intent.get("remove")))
            return row.id
        try:
            starting.clean_remains(row.id, row.intent, status.group_base)
            self._release(row)
            self._disconnect(row)
            starting.forget(self._store, row.id, volumes or bool(row.intent.get("remove")))
        finally:
            lock.release()
        return row.id

    def _release(self, row: Container) -> None:
        from ...store import rootfs

        rootfs.release_unused(self._store.paths, row.intent["image"]["chain"])

    def _tidy(self, row: Container) -> None:
        """After an end without its monitor, take down what it has left."""
        status = self.status(row)
        try:
            lock = presence.hold(self._store, row.id)
        except (Conflict, NotFound):
            return
        try:
            starting.clean_remains(row.id, row.intent, status.group_base)
            self._release(row)
            self._disconnect(row)
        finally:
            lock.release()

    def _disconnect(self, row: Container) -> None:
        """Take down what is left of a container's interfaces and ports."""
        if "network" in row.intent:
            from ..networks import attach as connecting

            connecting.down(self._store, row.id)

    def remove_ended(self, container_id: str) -> None:
        """Remove a container whose session has told its end: the last act of `run --rm`."""
        # The files go while the monitor still takes down the shared mount; it has ended when its lock is free.
        starting.forget_files(self._store, container_id, True)
        starting.await_monitor(self._store, container_id)
        starting.forget_state(self._store, container_id)

    def prune(self) -> Pruned:
        """Remove all containers that are not running."""
        removed, space = [], 0
        for item in self.list(all=True):
            if item.status.status in (state.EXITED, state.CREATED, state.DEAD):
                from .inspect import written

                size = written(self._store, item.container.id)
                try:
                    removed.append(self.remove(item.container.id))
                except (Conflict, NotFound):
                    continue  # started or removed by another since
                space += size
        return Pruned(removed, space)

    # Working with a running one.

    def pause(self, name: str) -> None:
        """Stop all processes of a container until `unpause`."""
        self._freeze(name, True)

    def unpause(self, name: str) -> None:
        """Let the processes of a paused container go on."""
        self._freeze(name, False)

    def _freeze(self, name: str, on: bool) -> None:
        row = self.get(name)
        status = self.status(row)
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        if (status.status == state.PAUSED) == on:
            raise Conflict(f"container {row.id} is {'already' if on else 'not'} paused")
        try:
            self._group(row, status).freeze(on)
        except KernelError as error:
            if error.errno not in starting.GONE:
                raise
            raise Conflict(f"container {row.id} is not running") from None
        channel = control.connect(self._store.paths.container_state(row.id))
        if channel is not None:
            try:
                control.ask(channel, {"paused": on})
            finally:
                channel.close()

    def update(self, name: str, wish: ContainerOptions) -> None:
        """Change limits (`memory`, `cpus`, `pids_limit`, …) or `restart` of a container, running or not.

        `wish` gives what is to change, in the words of `run`; what is 0 or empty stays. The living group, the monitor's
        plans for restarts and the record change together or not at all. Raises InvalidInput, Conflict with what was
        asked for before, Unsupported, KernelError.
        """
        from .update import update

        update(self._store, self.get(name).id, wish)

    def stats(self, name: str) -> Stats:
        """Return what a running container uses now; two samples make a rate. Raises Conflict when it does not run."""
        from .stats import sample

        row = self.get(name)
        status = self.status(row)
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        return sample(row, self._group(row, status), status.pid, row.intent["options"].get("network") or "none")

    def top(self, name: str, options: Sequence[str] = ()) -> Processes:
        """Return the processes of a running container as ps would list them with `options`; none means `-ef`.

        Their numbers are the host's. Raises Conflict when it does not run, InvalidInput for options that are not known.
        """
        from . import top as processes

        row = self.get(name)
        status = self.status(row)
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        group = self._group(row, status)
        pids = group.processes() if group.version != "none" else processes.of_namespace(status.pid)
        if not pids:
            raise Conflict(f"container {row.id} is not running")  # it has ended since
        return processes.listed(pids, list(options))

    def attach(self, name: str, attachment: Attachment) -> Session:
        """Attach descriptors to a running container's streams; `session.wait()` returns when it ends or detaches."""
        row = self.get(name)
        if not self.status(row).pid:
            raise Conflict("You cannot attach to a stopped container, start it first")
        channel = control.connect(self._store.paths.container_state(row.id))
        if channel is None:
            raise Conflict(f"container {row.name} has no monitor to attach to")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        given = [attachment.stdin, attachment.stdout, attachment.stderr]
        wish: Attach = {
            "stdin": given[0] >= 0,
            "stdout": given[1] >= 0,
            "stderr": given[2] >= 0,
            "keys": list(attachment.keys),
            "removes": attachment.removes,
        }
        fds = tuple(fd if fd >= 0 else null for fd in given)
        control.send(channel, {"attach": wish}, fds)
        os.close(null)
        return starting.Session(row.id, channel)

    def exec(self, name: str, wish: ExecOptions, attachment: Attachment | None = None) -> Execution:
        """Run another program in a running container; `execution.wait()` gives its exit code.

        Raises Conflict when the container is not running, StartFailed with docker's codes.
        """
        from .exec import execute

        row = self.get(name)
        status = self.status(row)
        if status.status == state.PAUSED:
            raise Conflict(f"container {name} is paused, unpause the container before exec")
        if status.status == state.RESTARTING:
            raise Conflict(f"container {row.id} is restarting, wait until the container is running")
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        return execute(row, row.intent, status, wish, attachment, self._launcher.leaving)

    def rename(self, name: str, new: str) -> None:
        """Give a container another name; raises Conflict when it is taken."""
        if not new:
            raise InvalidInput("a container needs a name")
        row = self.get(name)
        rows.rename(self._store.meta, row.id, new)
        if "network" in row.intent:
            from ..networks import names
            from ..networks.records import Records

            for network in Records(self._store).of(row.id):
                names.amend(self._store, network)
