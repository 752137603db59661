"""Containers: create, run, start, stop, kill, wait, remove, list, inspect, logs, exec, attach, update, stats, top."""

from __future__ import annotations

from ...errors import Conflict, InvalidInput, UnderlayError
from ...events import Event
from ...lean.overload import overload
from ...runtime.monitor import control, state
from .. import presence
from ..launcher import Launcher
from ..space import Writing
from . import session as starting
from .find import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO, Literal, Unpack

    from ...runtime.monitor.attachment import Attachment
    from ...runtime.monitor.state import Status
    from ...store.pruned import Pruned
    from ...store.rows.intent import Intent
    from ...store.store import Store
    from ..images.handle import Image
    from ..keywords import Command, ContainerKeywords, ExecKeywords, LimitKeywords
    from ..options import ContainerOptions, ExecOptions
    from .exec import Execution
    from .files.copying import Copied
    from .handle import Container
    from .log_records import Record
    from .result import Result, Source, Target
    from .session import Session
    from .stats import Stats
    from .top import Processes


class Containers:
    """The containers of an engine. A container is given by its name, its id, or a prefix of the id.

    Options are keywords with the names of `ContainerOptions`; values may be given as in docker's Python library: sizes as
    strings (`memory="64m"`), `environment` as a dictionary, `volumes={"data": {"bind": "/data", "mode": "ro"}}`,
    `publish={"80/tcp": 8080}`, `command` as a line that is split into words as a shell would. An unknown keyword
    raises TypeError, an invalid value InvalidInput.
    """

    __slots__ = ("_launcher", "_network", "_store")

    def __init__(self, store: Store, launcher: Launcher | None = None, network: str = "none") -> None:
        """`network` is the one of containers for which none is named; monitors are started by `launcher`."""
        self._store = store
        self._launcher = launcher or Launcher()
        self._network = network

    # Making and starting.

    def _settled(
        self, image: str | Image | ContainerOptions, command: Command | None, keywords: dict[str, object]
    ) -> ContainerOptions:
        """Return the options with a network: the usual one when none is named."""
        from .. import given

        options = given.container_options(image, command, keywords)
        if options.network not in ("", "default"):
            return options
        return options.changed(network=self._network)

    def create(
        self,
        image: str | Image | ContainerOptions,
        command: Command | None = None,
        **options: Unpack[ContainerKeywords],
    ) -> Container:
        """Create a container without starting it.

        Raises NotFound (image), InvalidInput, Conflict (name taken), Unsupported.
        """
        from . import create as creating
        from .handle import Container

        self.recover()
        container_id, _ = creating.create(self._store, self._settled(image, command, {**options}))
        return Container(self, find(self._store, container_id))

    @overload
    def run(
        self,
        image: str | Image | ContainerOptions,
        command: Command | None = None,
        *,
        detach: Literal[False] = False,
        input: bytes | None = None,
        stdin: Source = None,
        stdout: Target = None,
        stderr: Target = None,
        **options: Unpack[ContainerKeywords],
    ) -> Result: ...

    @overload
    def run(
        self,
        image: str | Image | ContainerOptions,
        command: Command | None = None,
        *,
        detach: Literal[True],
        **options: Unpack[ContainerKeywords],
    ) -> Container: ...

    def run(
        self,
        image: str | Image | ContainerOptions,
        command: Command | None = None,
        *,
        detach: bool = False,
        input: bytes | None = None,
        stdin: Source = None,
        stdout: Target = None,
        stderr: Target = None,
        **options: Unpack[ContainerKeywords],
    ) -> Result | Container:
        """Create and start a container; return its output and exit code, or with `detach` the running container.

        `input` is its standard input. `stdin`, `stdout` and `stderr` are open files or descriptors to use instead. With
        `remove=True` the container is removed after it exits; an exception during the wait (KeyboardInterrupt) kills it.
        Raises StartFailed with docker's codes, and what `create` raises.
        """
        settled = self._settled(image, command, {**options})
        if detach:
            from .handle import Container
            from .result import refuse_streams

            refuse_streams(input, stdin, stdout, stderr)
            with self._started(settled) as session:
                return Container(self, find(self._store, session.id))
        from .result import Capture

        with Capture(input, stdin, stdout, stderr) as capture:
            settled.interactive = settled.interactive or capture.reads
            with self._started(settled, capture.attachment(removes=settled.remove)) as session:
                try:
                    code = session.wait()
                except BaseException:
                    try:
                        self.remove(session.id, force=True) if settled.remove else self.kill(session.id)
                    except UnderlayError:
                        pass  # it has ended; what has happened before is what counts
                    raise
            if session.removes:
                self.remove_ended(session.id)
            return capture.result(code or 0, session.id, session.oom)

    def run_attached(
        self, options: ContainerOptions, attachment: Attachment | None = None, size: tuple[int, int] = (0, 0)
    ) -> Session:
        """Create and start a container; returns the session with it: `session.wait()` gives the exit code.

        `attachment` are descriptors for its streams; `size` (rows, columns) of its terminal. Raises StartFailed with
        docker's codes; then a container with `remove` is removed, any other stays in the state `created`.
        """
        return self._started(self._settled(options, None, {}), attachment, size)

    def recover(self) -> None:
        """Clean up what killed processes have left of containers, and carry on their restart policies.

        `run`, `create`, `list` and `prune` do that first.
        """
        from .sweep import sweep

        sweep(self._store, self._launcher)

    def _started(
        self, settled: ContainerOptions, attachment: Attachment | None = None, size: tuple[int, int] = (0, 0)
    ) -> Session:
        from . import create as creating

        self.recover()
        container_id, intent = creating.create(self._store, settled, starts=True)
        try:
            return self._start(container_id, intent["name"], intent, attachment, size)
        except (UnderlayError, OSError):
            if settled.remove:
                try:
                    starting.forget(self._store, container_id, True)
                except (UnderlayError, OSError):
                    pass  # why it did not start is what counts; what is left is listed
            raise

    def start(self, name: str) -> None:
        """Start a stopped container; harmless when it runs already. Raises StartFailed."""
        session = self.start_attached(name)
        if session is not None:
            session.close()

    def start_attached(
        self, name: str, attachment: Attachment | None = None, size: tuple[int, int] = (0, 0)
    ) -> Session | None:
        """Start a stopped container; returns the session, None when it is running already. Raises StartFailed."""
        row = find(self._store, name)
        status = presence.status(self._store, row.id)
        if status.status == state.PAUSED:
            raise Conflict(f"cannot start a paused container, try unpause instead: {name}")
        if status.pid or status.status == state.RESTARTING:
            return None
        if status.error:
            from . import ending

            ending.tidy(self._store, row)
        return self._start(row.id, row.name, row.intent, attachment, size)

    def _start(
        self, container_id: str, name: str, intent: Intent, attachment: Attachment | None, size: tuple[int, int]
    ) -> Session:
        with Writing(self._store, f"start container {name}", starts=True):
            return starting.start(self._store, self._launcher, container_id, name, intent, attachment, size)

    def restart(self, name: str, timeout: float | None = None, signal: str = "") -> None:
        """Stop a container if it runs, as `stop` does, and start it again. A container with --rm is not removed."""
        from . import ending

        ending.stop(self._store, name, timeout, signal, keep=True)
        self.start(name)
        self._store.emit(Event("container.restart", find(self._store, name).id))

    def plan(
        self,
        image: str | Image | ContainerOptions,
        command: Command | None = None,
        **options: Unpack[ContainerKeywords],
    ) -> list[str]:
        """Return the steps that `run` would perform on the host and the kernel, a line each; nothing is executed.

        Raises NotFound, InvalidInput, Unsupported as `create` does.
        """
        from .plan import plan_lines

        return plan_lines(self._store, self._settled(image, command, {**options}))

    # Looking.

    def get(self, name: str) -> Container:
        """Return a container; raises NotFound, Conflict (ambiguous)."""
        from .handle import Container

        return Container(self, find(self._store, name))

    def list(self, all: bool = False) -> list[Container]:
        """Return the running containers, or all, the newest first."""
        from .find import listed
        from .handle import Container

        self.recover()
        return [Container(self, item.row) for item in listed(self._store, all)]

    def state(self, name: str) -> Status:
        """Return the present state of a container: status, first process, times, exit code. Raises NotFound."""
        return presence.status(self._store, find(self._store, name).id)

    def is_running(self, name: str) -> bool:
        """Return whether a container is running, or about to be restarted."""
        return presence.is_running(self._store, find(self._store, name).id)

    def inspect(self, name: str, size: bool = False) -> dict[str, Any]:
        """Return detailed information on a container, in the format of `docker inspect`; with `size` its disk usage too."""
        from .inspect import inspect

        row = find(self._store, name)
        return inspect(self._store, row, row.intent, presence.status(self._store, row.id), size)

    def ports(self, name: str) -> dict[str, Sequence[str]]:
        """Return the host addresses of a running container's ports: `{"80/tcp": ["0.0.0.0:8080", "[::]:8080"]}`."""
        row = find(self._store, name)
        if "network" not in row.intent or not presence.is_running(self._store, row.id):
            return {}
        from ..networks import ports as publishing

        return (publishing.held if row.intent.get("cni") else publishing.published)(self._store, row.id)

    def logs(
        self,
        name: str,
        follow: bool = False,
        tail: int = -1,
        since: float = 0.0,
        until: float = 0.0,
        stdout: bool = True,
        stderr: bool = True,
        stopped: Callable[[], bool] = bool,
    ) -> Iterator[Record]:
        """Yield the logged output as (time in ns, stream, bytes): the last `tail` lines, between two times.

        Times are seconds since the epoch. With `follow` new output is yielded until the container exits, or `stopped()`
        is true. Raises Unsupported when the log driver stores nothing.
        """
        from .logs import read_log

        row = find(self._store, name)
        return read_log(self._store, row, follow, tail, since, until, stdout, stderr, stopped)

    # Ending.

    def stop(self, name: str, timeout: float | None = None, signal: str = "") -> None:
        """Send a container its stop signal, and kill it after `timeout` seconds (-1 waits for ever).

        Harmless when it has exited already.
        """
        from . import ending

        ending.stop(self._store, name, timeout, signal)

    def kill(self, name: str, signal: str = "KILL") -> None:
        """Send a signal to a container's first process; raises Conflict when it is not running."""
        from . import ending

        ending.kill(self._store, name, signal)

    def wait(self, name: str) -> int:
        """Block until a container exits and return its exit code; returns at once when it has exited."""
        from . import ending

        return ending.wait(self._store, name)

    def wait_healthy(self, name: str) -> None:
        """Block until a container's health check has found it healthy.

        Raises Conflict when it has no health check, or ends before.
        """
        from . import ending

        ending.wait_healthy(self._store, name)

    def remove(self, name: str, force: bool = False, volumes: bool = False) -> str:
        """Remove a container, with `volumes` its anonymous volumes too; with `force` a running one is killed first.

        Returns its id. Raises Conflict when it runs.
        """
        from . import ending

        removed = ending.remove(self._store, name, force, volumes)
        self._retire_networks()
        return removed

    def remove_link(self, path: str) -> None:
        """Remove a link, given as `container/alias`: the container no longer knows the other by that name.

        Raises NotFound, Conflict.
        """
        from ..networks import links

        links.remove(self._store, path)

    # Its files.

    def copy_out(
        self, name: str, path: str, destination: str | int, follow: bool = False, archive: bool = False
    ) -> Copied:
        """Copy a path of a container to this host, or as a tar to a descriptor; the container may run or not.

        With `follow` a link at the end of `path` is followed; with `archive` owners, devices and set-id bits are kept.
        Raises NotFound, Conflict, InvalidInput, KernelError.
        """
        from .files import copying

        return copying.out(self._store, find(self._store, name), path, destination, follow, archive)

    def look(self, name: str, path: str) -> Mapping[str, Any]:
        """Return what is at a path of a container: name, size (bytes), mode (st_mode), mtime (ns), link (its target).

        Raises NotFound, Conflict, KernelError.
        """
        from .files import copying

        return copying.look(self._store, find(self._store, name), path)

    def copy_in(
        self, name: str, source: str | BinaryIO, path: str, follow: bool = False, archive: bool = False
    ) -> Copied:
        """Copy a path of this host into a container, or the members of a tar into one of its directories.

        What is copied belongs to the container's root unless `archive` keeps its owners. Raises as `copy_out`.
        """
        from .files import copying

        return copying.into(self._store, find(self._store, name), source, path, follow, archive)

    def diff(self, name: str) -> Sequence[tuple[str, str]]:
        """Return what a container has changed of its image: C, A or D (changed, added, deleted) and the path, by path.

        Raises NotFound, Conflict for a running container with a size limit on its disk.
        """
        from .files import differences

        return differences.differences(self._store, find(self._store, name))

    def export(self, name: str, target: int) -> int:
        """Write a container's root file system, without what is mounted in it, as a tar to a descriptor; returns its
        bytes. Raises NotFound, Conflict."""
        from .files import exporting

        return exporting.export(self._store, find(self._store, name), target)

    def commit(
        self,
        name: str,
        image: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        author: str = "",
        pause: bool = True,
    ) -> str:
        """Make an image of a container's changes on its image, called `image` if given; returns its id.

        `changes` are Dockerfile instructions for its configuration. A running container is paused meanwhile if `pause`.
        Raises NotFound, InvalidInput, Conflict, LimitExceeded.
        """
        from .files import committing

        return committing.commit(self._store, find(self._store, name), image, changes, message, author, pause)

    def _retire_networks(self) -> None:
        """Remove what the host has for networks, if this was the last container in one."""
        from ..networks import retiring

        retiring.retire(self._store)

    def remove_ended(self, container_id: str) -> None:
        """Remove a container whose session, attached with `removes`, has reported its exit: the last step of `run --rm`."""
        from . import ending

        ending.remove_ended(self._store, container_id)

    def prune(
        self,
        until: float | None = None,
        labels: Sequence[str] = (),
        given: Mapping[str, str] | None = None,
    ) -> Pruned:
        """Remove all containers that are not running, created before `until` (seconds since the epoch).

        `labels` are `key`, `key=value`, `!key` or `!key=value`: one of the first two must match, none of the others.
        `given` are labels that a container must have been given when it was made, all of them: not those of its image.
        """
        from . import ending

        self.recover()
        pruned = ending.prune(self._store, until, labels, given)
        self._retire_networks()
        return pruned

    # Working with a running one.

    def pause(self, name: str) -> None:
        """Suspend all processes of a container until `unpause`."""
        from . import pause

        pause.freeze(self._store, name, True)

    def unpause(self, name: str) -> None:
        """Resume all processes of a paused container."""
        from . import pause

        pause.freeze(self._store, name, False)

    def update(self, name: str, options: ContainerOptions | None = None, **limits: Unpack[LimitKeywords]) -> None:
        """Change limits (`memory`, `cpus`, `pids_limit`, …) or `restart` of a container, running or not.

        Options that are 0 or empty stay unchanged. The cgroup, the monitor's settings for restarts and the database change
        together or not at all. Raises InvalidInput, Conflict with options given before, Unsupported, KernelError.
        """
        from .. import given
        from .update import update

        update(self._store, find(self._store, name).id, given.container_options(options or "", None, {**limits}))

    def stats(self, name: str) -> Stats:
        """Return the current resource usage of a running container; a rate takes two samples.

        Raises Conflict when it does not run."""
        from .pause import group_of
        from .stats import sample

        row = find(self._store, name)
        status = presence.status(self._store, row.id)
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        return sample(row, group_of(row, status), status.pid, row.intent["options"].get("network") or "none")

    def top(self, name: str, options: Sequence[str] = ()) -> Processes:
        """Return the processes of a running container as ps would list them with `options`; none means `-ef`.

        Process ids are those of the host. Raises Conflict when it does not run, InvalidInput for unknown options.
        """
        from . import top as processes
        from .pause import group_of

        row = find(self._store, name)
        status = presence.status(self._store, row.id)
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        group = group_of(row, status)
        pids = group.processes() if group.version != "none" else processes.of_namespace(status.pid)
        self._store.emit(Event("container.top", row.id))
        if not pids:
            raise Conflict(f"container {row.id} is not running")  # it has ended since
        return processes.of_container(self._store, row, pids, [*options])

    def attach(self, name: str, attachment: Attachment) -> Session:
        """Attach descriptors to a running container's streams; `session.wait()` returns when it ends or detaches."""
        return starting.attach(self._store, find(self._store, name), attachment)

    def resize(self, name: str, rows: int, columns: int) -> None:
        """Set the size of a running container's terminal; raises Conflict when it does not run."""
        row = find(self._store, name)
        with starting.connect(self._store, row) as session:
            session.resize(rows, columns)
        self._store.emit(Event("container.resize", row.id, height=rows, width=columns))

    @overload
    def exec(
        self,
        name: str,
        command: Command,
        *,
        detach: Literal[False] = False,
        input: bytes | None = None,
        stdin: Source = None,
        stdout: Target = None,
        stderr: Target = None,
        **options: Unpack[ExecKeywords],
    ) -> Result: ...

    @overload
    def exec(self, name: str, command: Command, *, detach: Literal[True], **options: Unpack[ExecKeywords]) -> None: ...

    def exec(
        self,
        name: str,
        command: Command,
        *,
        detach: bool = False,
        input: bytes | None = None,
        stdin: Source = None,
        stdout: Target = None,
        stderr: Target = None,
        **options: Unpack[ExecKeywords],
    ) -> Result | None:
        """Run another program in a running container until it exits; return its exit code and output.

        The streams are those of `run`. With `detach` it is only started, not waited for. Raises Conflict when
        the container is not running, StartFailed with docker's codes.
        """
        from .. import given
        from .result import Capture, refuse_streams

        if detach:
            refuse_streams(input, stdin, stdout, stderr)
            chosen = given.exec_options(command, {**options, "detach": True})
            with self.exec_attached(name, chosen):
                return None
        with Capture(input, stdin, stdout, stderr) as capture:
            chosen = given.exec_options(command, {**options})
            chosen.interactive = chosen.interactive or capture.reads
            with self.exec_attached(name, chosen, capture.attachment()) as execution:
                try:
                    code = execution.wait()
                except BaseException:
                    execution.signal(9)
                    raise
            return capture.result(code or 0, find(self._store, name).id)

    def exec_attached(
        self, name: str, options: ExecOptions, attachment: Attachment | None = None, known_as: str = ""
    ) -> Execution:
        """Run another program in a running container; `execution.wait()` forwards its streams and returns its exit code.

        `known_as` is the id by which an event has announced the program already.

        Raises Conflict when the container is not running, StartFailed with docker's codes.
        """
        from .exec import execute

        row = find(self._store, name)
        status = presence.status(self._store, row.id)
        if status.status == state.PAUSED:
            raise Conflict(f"container {name} is paused, unpause the container before exec")
        if status.status == state.RESTARTING:
            raise Conflict(f"container {row.id} is restarting, wait until the container is running")
        if not status.pid:
            raise Conflict(f"container {row.id} is not running")
        return execute(self._store, row, status, options, attachment, self._launcher.leaving, known_as)

    def rename(self, name: str, new: str) -> None:
        """Give a container another name; raises Conflict when it is taken."""
        from ...store.rows import containers as rows

        if not new:
            raise InvalidInput("a container's name cannot be empty")
        row = find(self._store, name)
        rows.rename(self._store.meta, row.id, new)
        control.inform(self._store.paths.container_state(row.id), {"renamed": new})
        self._store.emit(Event("container.rename", row.id, oldName=f"/{row.name}"))
