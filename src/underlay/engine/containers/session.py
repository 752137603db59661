"""Starting a container: mounts its root, builds the launch record, spawns its monitor; the caller's connection to it."""

from __future__ import annotations

import errno
import fcntl
import os
import time

from ... import events
from ...errors import Conflict, InvalidInput, NotFound, StartFailed, UnderlayError, Unsupported
from ...linux import userns
from ...runtime.monitor import control
from ...store import rootfs
from .. import journaling, presence
from ..launcher import Launcher
from .records import launch
from .records.confinement import group_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence

    from ...files import Lock
    from ...runtime.monitor.attachment import Attachment
    from ...runtime.monitor.records import Attach, NetworkResources
    from ...store.rows.containers import ContainerRow
    from ...store.rows.intent import Intent
    from ...store.store import Store

_START_PATIENCE = 10.0  # seconds that others may hold the lock of a container in which nothing runs
_REMOVAL_PATIENCE = 5.0


class Session:
    """A connection to a container's monitor: `id` of the container, `pid` of its first process.

    After `wait`: `code`, `oom` (the kernel's OOM killer killed it), `removes` (it is to be removed now: `--rm`, and it is
    not being restarted), `detached`. As a context manager it is closed at the end of the block; the container goes on.
    """

    __slots__ = ("channel", "code", "detached", "id", "oom", "pid", "removes")

    def __init__(self, container_id: str, channel: _socket.socket) -> None:
        self.id = container_id
        self.channel = channel
        self.pid = 0
        self.code: int | None = None
        self.detached = False
        self.oom = False
        self.removes = False

    def await_start(self) -> None:
        """Wait until the program runs; raises StartFailed with docker's exit code when it cannot be started."""
        message, _ = control.receive(self.channel)
        if message is None:
            raise StartFailed("the monitor ended before the container started", 125)
        if "failed" in message:
            failure = message["failed"]
            raise StartFailed(failure["message"], failure["code"], failure.get("hint", ""))
        self.pid = int(message.get("started") or 0)

    def connect(self, network: Callable[[], tuple[NetworkResources, Sequence[int]]]) -> None:
        """Create the network with `network()` while the monitor prepares the root, and send it to the monitor with the
        sockets for the container's questions.

        Raises what `network` raises; the monitor has then exited and cleaned up.
        """
        try:
            made, sockets = network()
        except BaseException as error:
            control.send(self.channel, {"abandoned": str(error)})
            try:
                self.await_start()  # it says that all is taken down
            except StartFailed:
                pass
            raise
        parcel = control.parcel(made, "underlay-network")
        control.send(self.channel, {"network": True}, (parcel, *sockets))
        for fd in (parcel, *sockets):
            os.close(fd)

    def wait(self) -> int | None:
        """Wait for the container to exit and return its exit code; None when this client has detached from it.

        Raises UnderlayError when the monitor was killed, BrokenPipeError when the reader of the output has closed
        it, another OSError when it cannot be written (the container keeps running).
        """
        while not self.advance():
            pass
        return self.code

    def advance(self) -> bool:
        """Take the monitor's next message, for which this may have to wait; returns whether `wait` would return.

        For programs that watch many sessions: there is a message when `channel` is readable. Raises as `wait` does.
        """
        if self.code is not None or self.detached:
            return True
        message, fds = control.receive(self.channel)
        for fd in fds:
            os.close(fd)
        if message is None:
            raise UnderlayError("the container's monitor was killed", "`underlay ps -a` shows its state")
        if "exited" in message:
            self.code = int(message["exited"])
            self.oom = bool(message.get("oom"))
            self.removes = bool(message.get("remove"))
        elif message.get("lost"):
            raise output_lost(int(message["lost"]))
        elif message.get("detached"):
            self.detached = True
        return self.code is not None or self.detached

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process."""
        control.send(self.channel, {"signal": number})

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the container's terminal."""
        control.send(self.channel, {"resize": [rows, columns]})

    def close(self) -> None:
        """Close the connection; the container keeps running. Harmless when repeated."""
        self.channel.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def output_lost(number: int) -> OSError:
    """Return the exception for output that a client's standard output did not take, by its errno."""
    return OSError(number, os.strerror(number), "standard output")


def start(
    store: Store,
    launcher: Launcher,
    container_id: str,
    name: str,
    intent: Intent,
    attachment: Attachment | None = None,
    size: tuple[int, int] = (0, 0),
) -> Session:
    """Start a container; returns the session once its program runs.

    Raises StartFailed (125, 126, 127), Conflict when it is running, NotFound when its layers are gone.
    """
    paths = store.paths
    image = intent["image"]
    chain = image["chain"]
    hold = rootfs.hold(paths, chain)
    lock = None
    networked = False
    try:
        form = launch.form_of(store, intent)
        try:
            lower = rootfs.lower_names(paths, form, chain)
        except NotFound:
            rootfs.prepare(paths, form, image["diff_ids"])
            lower = rootfs.lower_names(paths, form, chain)
        lock = _lock_for_start(store, container_id, name)
        intent = launch.joined(store, container_id, intent)
        record = launch.launch_record(store, container_id, name, intent, lower)
        if attachment is not None and max(attachment.stdin, attachment.stdout, attachment.stderr) >= 0:
            store.emit(events.Event("container.attach", container_id))
        if "secrets" in intent:
            from .specification import secrets

            record["secrets"] = secrets.sources(intent["secrets"])
        if record["terminal"] and size[0]:
            record["spec"]["process"]["consoleSize"] = {"height": size[0], "width": size[1]}
        try:
            channel = launcher.spawn(record, attachment, lock.fd, hold.fd)
        finally:
            # The monitor has the locks now, or may have them: they end with it.
            lock.release()
            hold.release()
        session = Session(container_id, channel)
        try:
            if "network" in intent:
                from ..networks import attach

                session.connect(lambda: attach.up(store, container_id, intent))
                networked = True
            session.await_start()
        except BaseException:
            session.close()
            raise
        store.emit(events.Event("container.start", container_id, pid=session.pid))
        return session
    except BaseException:
        # The last user of the mount may have released it while we held it; then unmounting it is ours.
        hold.end()
        if networked:
            _disconnect(store, container_id)
        rootfs.release_unused(paths, chain)
        raise
    finally:
        if lock is not None:
            lock.release()


def connect(store: Store, row: ContainerRow) -> Session:
    """Return a connection to the monitor of a running container. Raises Conflict when there is none."""
    channel = control.connect(store.paths.container_state(row.id))
    if channel is None:
        raise Conflict(f"container {row.id} is not running")
    return Session(row.id, channel)


def attach(store: Store, row: ContainerRow, attachment: Attachment) -> Session:
    """Attach descriptors to a running container's streams. Raises Conflict when it does not run."""
    if not presence.status(store, row.id).pid:
        raise Conflict("You cannot attach to a stopped container, start it first")
    channel = control.connect(store.paths.container_state(row.id))
    if channel is None:
        raise Conflict(f"container {row.name} cannot be attached to: its monitor process was killed")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    given = [attachment.stdin, attachment.stdout, attachment.stderr]
    options: Attach = {
        "stdin": given[0] >= 0,
        "stdout": given[1] >= 0,
        "stderr": given[2] >= 0,
        "keys": [*attachment.keys],
        "removes": attachment.removes,
    }
    store.emit(events.Event("container.attach", row.id))
    fds = tuple(fd if fd >= 0 else null for fd in given)
    control.send(channel, {"attach": options}, fds)
    os.close(null)
    return Session(row.id, channel)


def _disconnect(store: Store, container_id: str) -> None:
    """Remove the network of a failed start, unless another process starts or removes the container: then it does that."""
    from ..networks import attach

    try:
        # Our monitor has let go of it, or is about to.
        lock = presence.hold(store, container_id, patience=1.0)
    except (Conflict, NotFound):
        return
    try:
        attach.down(store, container_id)
    finally:
        lock.release()


def _lock_for_start(store: Store, container_id: str, name: str) -> Lock:
    """Return the container's lock, held; raises Conflict when it is running, NotFound when it was just removed."""
    deadline = time.monotonic() + _START_PATIENCE
    while True:
        try:
            return presence.hold(store, container_id, patience=0.03)
        except Conflict:
            # An observer of its state holds the lock for an instant, another command may be starting it: only a process
            # that runs, or patience without end, says that it is running.
            if presence.is_running(store, container_id) or time.monotonic() > deadline:
                raise Conflict(f"container {name} is already running") from None


def forget(store: Store, container_id: str, with_volumes: bool) -> None:
    """Remove all that a stopped container has; needs its lock."""
    forget_files(store, container_id, with_volumes)
    forget_state(store, container_id)


def forget_files(store: Store, container_id: str, with_volumes: bool, durable: bool = True) -> None:
    """Remove a container's row, then its files, then its anonymous volumes.

    The row goes first and durably, so that a power cut leaves no row without files; files without a row are taken by the
    next sweep (`sweep`). A container that removes itself need not be `durable`: it goes with a power cut anyway.
    """
    from ...store import volumes
    from ...store.rows import containers, id_ranges

    try:
        row = containers.find(store.meta, container_id)
    except NotFound:
        row = None  # another process has just removed it, or a killed one has removed the row alone
    projects = id_ranges.projects(store.meta, container_id)
    gone = containers.delete(store.meta, container_id, with_volumes, durable)
    if row is not None:
        known_as = journaling.attributes_of(row.name, row.intent)
        store.emit(events.Event("container.destroy", container_id, **known_as))
    userns.remove_tree_alone(store.paths.container(container_id))
    for project in projects:
        from .specification import disk_limit

        disk_limit.lift(store, project)
    if gone:
        volumes.remove_directories(store.paths, store.meta, gone)


def forget_state(store: Store, container_id: str) -> None:
    """Remove a container's state directory, its lock with it: the very last step."""
    directory = store.paths.container_state(container_id)
    deadline = time.monotonic() + _REMOVAL_PATIENCE
    while True:
        try:
            userns.remove_tree_alone(directory)
            break
        except OSError as error:
            # Another command that wants the lock may have made the file again; it leaves when it sees that the files of
            # the container are gone.
            if error.errno != errno.ENOTEMPTY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)


def await_monitor(store: Store, container_id: str) -> None:
    """Wait until the monitor of an exited container has released its lock."""
    try:
        fd = os.open(store.paths.container_state(container_id) + "/lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    finally:
        os.close(fd)


def clean_remains(container_id: str, intent: Intent, state_directory: str, group_base: str = "") -> None:
    """Take down what a killed monitor could not: processes, cgroup, the shared mount. Needs the container's lock."""
    from ...linux import cgroup

    if "runtime" in intent:
        from ...runtime.drivers import otherruntime

        otherruntime.delete(intent["runtime"], state_directory, container_id)

    try:
        group = cgroup.open_group(group_path(container_id, intent), os.geteuid() != 0, group_base)
    except (InvalidInput, Unsupported):
        return  # no group can have such a path, so none was made; the container must be removable nevertheless
    group.kill()
    group.remove()
