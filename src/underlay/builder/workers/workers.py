"""Processes that do a build's work: a foreman, started when there is something to do, forks a worker for each job.

Workers run beside each other and beside the planning threads, without the interpreter's lock between them, and each has
one thread, as cloning needs. The foreman has a mount namespace of its own (unprivileged: a user namespace, too, in which
it is root), so mounts of a build are seen by no other process and end with its last process. When the planner dies
the foreman sees its socket close: it ends the workers, and removes the build's scratch directory.
"""

from __future__ import annotations

import _signal
import _socket
import os
import select
import sys

from ...errors import KernelError, UnderlayError, WorkerKilled, from_message, to_message
from ...linux import process, userns
from ...linux.files import mounts
from ...runtime.process import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from ...linux.specification import IdMaps

    Job = Callable[[Any, list[int], _socket.socket], Mapping[str, object]]
    Jobs = Mapping[str, Job]

MOUNT = "mount-"  # with this begin the names of directories in a build's scratch directory that are mounted on
_MESSAGE = 256
_FDS = 16
_PATIENCE = 10_000  # milliseconds that workers have to end when a build is over


class Foreman:
    """The planner's side: `call` has a job done. Any thread may use it; the foreman itself is forked when it is needed."""

    def __init__(
        self,
        load: Callable[[], tuple[Jobs, Jobs]],
        scratch: str,
        keep: tuple[int, ...] = (),
        helper: tuple[str, list[str]] | None = None,
    ) -> None:
        """`load` returns the jobs that are done in a process each, and those that the foreman does itself, one after
        another. It removes the directory `scratch` in the end, and holds the locks `keep` until then.

        `helper` is the interpreter (and its import path) that the foreman is started as in a program that lives on, with a
        build's jobs (`jobs.py`); otherwise it is forked.
        """
        from threading import Lock

        self._load = load
        self._scratch = scratch
        self._keep = keep
        self._helper = helper
        self._lock = Lock()
        self._open: set[_socket.socket] = set()  # those that end when the build is abandoned
        self._abandoned = False
        self._closed = False
        self._pid = -1
        self._control: _socket.socket | None = None

    def _start(self) -> None:
        """Start the foreman. Raises KernelError, Unsupported (no user namespaces)."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        wait, go = os.pipe2(os.O_CLOEXEC)
        rootless = os.geteuid() != 0
        maps = userns.default_maps() if rootless else None
        if self._helper is not None:
            pid = _start_apart(self._helper, self._scratch, theirs, wait, maps, self._keep)
        else:
            jobs, inline = self._load()
            pid = process.clone(process.CLONE_NEWUSER | process.CLONE_NEWNS) if rootless else os.fork()
            if pid == 0:
                ours.close()
                os.close(go)
                _foreman(jobs, inline, self._scratch, theirs, wait, maps, self._keep)
        theirs.close()
        os.close(wait)
        self._pid = pid
        self._control = ours
        try:
            if maps is not None:
                userns.write(pid, *maps)
            os.write(go, b"1")
        finally:
            os.close(go)

    def call(self, job: str, arguments: Mapping[str, object], fds: Sequence[int] = (), lasting: bool = False) -> Any:
        """Have a job done and return what it returns; its UnderlayErrors come back as such.

        Raises Abandoned when the build is given up, unless the job is `lasting`: what finishes a step that has run.
        """
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        memory = _memory(arguments)
        try:
            with self._lock:
                if self._closed or (self._abandoned and not lasting):
                    raise Abandoned
                if self._control is None:
                    self._start()
                assert self._control is not None
                if not lasting:
                    self._open.add(ours)
                try:
                    _send(self._control, job.encode(), [theirs.fileno(), memory, *fds])
                except OSError:
                    raise Abandoned from None
            theirs.close()
            try:
                answer, given = _receive(ours)
            except OSError:
                answer, given = b"", []
            if not answer:
                if self._closed or (self._abandoned and not lasting):
                    raise Abandoned
                raise WorkerKilled(f"the process of a build's job ({job}) was killed", "is there enough memory?")
            result = _content(given[0])
            for fd in given:
                os.close(fd)
        finally:
            os.close(memory)
            with self._lock:
                self._open.discard(ours)
            ours.close()
            theirs.close()
        if answer == b"failed":
            raise from_message(result)
        return result

    def abandon(self) -> None:
        """Have no more jobs done and end those at work, but lasting ones; harmless when repeated."""
        with self._lock:
            self._abandoned = True
            for connection in self._open:
                try:
                    connection.shutdown(_socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self) -> None:
        """End the foreman and its workers; returns when all that they had put up is gone."""
        self.abandon()
        with self._lock:
            self._closed = True
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._pid > 0:
            os.waitpid(self._pid, 0)
            self._pid = -1


class Abandoned(UnderlayError):
    """The build is over: the job's result is not needed any more."""

    def __init__(self) -> None:
        super().__init__("the build was cancelled")


def _memory(value: object) -> int:
    """Return a descriptor of a value's bytes: arguments may be longer than what one message of a socket holds."""
    from msgspec import msgpack

    fd = os.memfd_create("underlay-build")
    view = memoryview(msgpack.encode(value, enc_hook=str))  # what errors tell of may be anything
    while view:
        view = view[os.write(fd, view) :]
    return fd


def _content(fd: int) -> Any:
    from msgspec import msgpack

    size = os.fstat(fd).st_size
    data = bytearray()
    while len(data) < size:
        piece = os.pread(fd, size - len(data), len(data))
        if not piece:
            break
        data += piece
    return msgpack.decode(data)


def _send(channel: _socket.socket, word: bytes, fds: list[int]) -> None:
    data = b"".join(fd.to_bytes(4, "little") for fd in fds)
    channel.sendmsg([word], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)])


def _receive(channel: _socket.socket) -> tuple[bytes, list[int]]:
    word, extra, _, _ = channel.recvmsg(_MESSAGE, _socket.CMSG_SPACE(4 * _FDS), _socket.MSG_CMSG_CLOEXEC)
    fds = []
    for _, _, content in extra:
        fds += [int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content) - 3, 4)]
    return word, fds


def _start_apart(
    helper: tuple[str, list[str]],
    scratch: str,
    control: _socket.socket,
    wait: int,
    maps: Any,
    keep: tuple[int, ...],
) -> int:
    """Start the foreman as an interpreter of its own and return its pid once it has its namespaces."""
    code = "from underlay.builder.workers.workers import main; main()"
    pid, channel = interpreter.start(*helper, code)
    interpreter.send(channel, {"scratch": scratch, "maps": maps}, [control.fileno(), wait, *keep])
    try:
        ready = channel.recv(1)
    finally:
        channel.close()
    if ready != b"1":
        interpreter.reap(pid)
        raise KernelError(
            "start the process of a build's jobs", "", 1, "user namespaces may be disabled" if maps else ""
        )
    return pid


# The foreman's side.


def main() -> NoReturn:
    """Be the foreman that the planner asks for, in an interpreter of its own."""
    channel, setup, (control, wait, *keep) = interpreter.receive()
    from . import jobs

    jobs.preload()
    if setup["maps"] is not None:
        process.unshare(process.CLONE_NEWUSER | process.CLONE_NEWNS)
    channel.send(b"1")
    channel.close()
    here = _socket.socket(fileno=control)
    _foreman(jobs.JOBS, jobs.INLINE, setup["scratch"], here, wait, setup["maps"], tuple(keep))


def _foreman(
    jobs: Jobs,
    inline: Jobs,
    scratch: str,
    control: _socket.socket,
    wait: int,
    maps: IdMaps | None,
    keep: tuple[int, ...],
) -> NoReturn:
    code = 1
    try:
        _forget_half_imported()
        if os.read(wait, 1) == b"1":
            os.setsid()
            for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGPIPE):
                _signal.signal(number, _signal.SIG_IGN)
            _workers_end_by_signal()
            process.set_name("underlay-build")
            process.close_from(3, (control.fileno(), *keep))
            if maps is not None:
                if len(maps[1]) > 1:
                    os.setgroups([])
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
            else:
                process.unshare(process.CLONE_NEWNS)
            # What the host mounts and unmounts later is to be seen here, nothing of ours there.
            mounts.propagate("/", mounts.MS_SLAVE | mounts.MS_REC)
            _serve(jobs, inline, control)
            code = 0
    except BaseException:
        if os.environ.get("UNDERLAY_DEBUG"):
            import traceback

            traceback.print_exc()
    finally:
        try:
            from ...files import remove_tree

            # A directory that something is mounted on cannot be removed.
            for name in os.listdir(scratch):
                if name.startswith(MOUNT):
                    mounts.umount(f"{scratch}/{name}", mounts.MNT_DETACH)
            remove_tree(scratch)
        finally:
            os._exit(code)


def _forget_half_imported() -> None:
    """Let modules that another thread was importing when this process was forked be imported anew.

    That thread is not here: who asked for such a module would wait for it for ever (importlib's locks are by module).
    """
    for name, module in list(sys.modules.items()):
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            del sys.modules[name]
    locks = getattr(sys.modules["_frozen_importlib"], "_module_locks", None)
    if locks is not None:
        locks.clear()


def _workers_end_by_signal() -> None:
    """Have SIGTERM end what a worker does, so that it removes its traces; it means nothing to the foreman."""
    foreman = os.getpid()

    def give_up(number: int, frame: object) -> None:
        if os.getpid() != foreman:
            raise Abandoned

    _signal.signal(_signal.SIGTERM, give_up)


def _serve(jobs: Jobs, inline: Jobs, control: _socket.socket) -> None:
    """Take jobs until the planner closes its end, then see the workers end."""
    workers: dict[int, int] = {}  # by pidfd
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    open_ended = True
    while open_ended or workers:
        ready = poll.poll(None if open_ended else _PATIENCE)
        if not ready:
            for pid in workers.values():
                os.kill(pid, _signal.SIGKILL)
        for fd, _ in ready:
            if fd in workers:
                os.waitpid(workers.pop(fd), 0)
                poll.unregister(fd)
                os.close(fd)
                continue
            word, fds = _receive(control)
            if not word:
                # Results are not needed any more. A worker with a container takes that down as its own socket closes, too.
                open_ended = False
                poll.unregister(control.fileno())
                for pid in workers.values():
                    os.kill(pid, _signal.SIGTERM)
                continue
            name = word.decode()
            if name in inline:
                _done(inline[name], fds)
                for job_fd in fds:
                    os.close(job_fd)
                continue
            pid = os.fork()
            if pid == 0:
                try:
                    process.close_from(3, tuple(fds))
                    _done(jobs[name], fds)
                finally:
                    os._exit(0)
            for job_fd in fds:
                os.close(job_fd)
            pidfd = process.pidfd_open(pid)
            workers[pidfd] = pid
            poll.register(pidfd, select.POLLIN)


def _done(job: Job, fds: list[int]) -> None:
    """Do a job and send its result."""
    channel = _socket.socket(fileno=os.dup(fds[0]))
    word = b"done"
    try:
        result: Mapping[str, object] = job(_content(fds[1]), fds[2:], channel)
    except UnderlayError as error:
        word = b"failed"
        result = to_message(error)
    except OSError as error:
        word = b"failed"
        path = error.filename if isinstance(error.filename, str) else ""
        result = to_message(KernelError("build", path, error.errno or 5))
    except BaseException as error:
        if os.environ.get("UNDERLAY_DEBUG"):
            import traceback

            traceback.print_exc()
        word = b"failed"
        result = to_message(UnderlayError(f"{type(error).__name__}: {error}"))
    memory = _memory(result)
    try:
        _send(channel, word, [memory])
    except OSError:
        pass  # the planner has closed its end: the result is not needed any more
    os.close(memory)
    channel.close()
