"""Copies between a container's streams and attached clients, and into the log. Imports almost nothing.

Nothing here may block: the monitor must see the container end whatever its readers do. When a reader is slow, the
container is not read further (it blocks on its full pipe, as with docker); other work goes on.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
from errno import EPIPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .logdrivers.sending import Sending
    from .logs import Log

POLLIN, POLLOUT = select.POLLIN, select.POLLOUT
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
CHUNK = 64 << 10
F_SETPIPE_SZ = 1031
PIPE_SIZE = 256 << 10
STDIN, STDOUT, STDERR = 0, 1, 2


def own_description(fd: int, flags: int) -> int:
    """Return a non-blocking descriptor for the same file that does not share its flags with other processes.

    O_NONBLOCK belongs to the open file, which the caller's shell shares: pipes and terminals are opened again through
    /proc/self/fd; what cannot be is duplicated (regular files never block; sockets are the caller's own).
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            return os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    if stat.S_ISSOCK(mode):
        os.set_blocking(copy, False)
    return copy


def output_pipe() -> tuple[int, int]:
    """Return (our non-blocking reading end, the container's writing end) of a large pipe."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(ours, F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        pass
    os.set_blocking(ours, False)
    return ours, theirs


def input_pipe() -> tuple[int, int]:
    """Return (the container's reading end, our non-blocking writing end)."""
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    return theirs, ours


def give(fds: tuple[int, ...], uid: int, gid: int) -> None:
    """Make the container's root own the pipes among its streams: then it can reopen or chown /dev/stdout."""
    for fd in fds:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, gid)


class Client:
    """An attached client: a descriptor for each output stream, one for its input, and its detach keys."""

    __slots__ = ("detach_keys", "detached", "lost", "pending", "seen", "source", "targets")

    def __init__(self, source: int, targets: dict[int, int], detach_keys: bytes) -> None:
        self.source = source
        self.targets = targets
        self.detach_keys = detach_keys
        self.seen = 0  # how many of the detach keys have just been typed
        self.detached = False
        self.lost = 0  # errno of the write to its standard output that failed, EPIPE when its reader is gone
        self.pending: dict[int, bytes] = {}  # by descriptor: bytes not taken yet


class Relay:
    """Copies the streams of one container. The owner polls, and calls `handle` with each ready descriptor."""

    __slots__ = (
        "_input_pending",
        "clients",
        "close_input_at_end",
        "input",
        "log",
        "outputs",
        "poll",
        "terminal",
    )

    def __init__(self, poll: select.poll, log: Log | Sending | None, terminal: bool) -> None:
        self.poll = poll
        self.log = log
        self.terminal = terminal
        self.outputs: dict[int, int] = {}  # descriptor → stream
        self.input = -1  # the container's standard input, -1 when there is none
        self.clients: list[Client] = []
        self.close_input_at_end = True
        self._input_pending = b""

    def add_output(self, fd: int, stream: int) -> None:
        """Copy what the container writes to `stream`, read from `fd` (non-blocking)."""
        self.outputs[fd] = stream
        self.poll.register(fd, POLLIN)

    def attach(self, stdin: int, stdout: int, stderr: int, detach_keys: bytes = b"") -> Client:
        """Attach descriptors (-1 for none); they are duplicated, the caller keeps its own."""
        targets = {}
        for stream, fd in ((STDOUT, stdout), (STDERR, stderr)):
            if fd >= 0:
                targets[stream] = own_description(fd, os.O_WRONLY)
        source = own_description(stdin, os.O_RDONLY) if stdin >= 0 and self.input >= 0 else -1
        client = Client(source, targets, detach_keys)
        self.clients.append(client)
        if source >= 0 and not self._input_pending:
            self._register(source, POLLIN)
        return client

    def _register(self, fd: int, mask: int) -> None:
        try:
            self.poll.register(fd, mask)
        except OSError:
            pass

    def _unregister(self, fd: int) -> None:
        try:
            self.poll.unregister(fd)
        except (KeyError, OSError):
            pass

    def detach(self, client: Client) -> None:
        """Remove a client; output that it has not read is dropped."""
        if client not in self.clients:
            return
        self.clients.remove(client)
        self._end_source(client, False)
        for fd in client.targets.values():
            self._unregister(fd)
            os.close(fd)
        client.targets.clear()
        if client.pending:
            client.pending.clear()
            self._resume()

    def handle(self, fd: int, mask: int) -> bool:
        """Do what a ready descriptor asks for; return whether it was one of ours."""
        if fd in self.outputs:
            self._read_output(fd)
            return True
        if fd == self.input:
            self._write_input(b"", mask)
            return True
        for client in self.clients:
            if fd == client.source:
                self._read_source(client)
                return True
            if fd in client.pending or fd in client.targets.values():
                self._write_client(client, fd, mask)
                return True
        return False

    @property
    def blocked(self) -> bool:
        """Whether a client has not read all output sent to it."""
        return any(client.pending for client in self.clients)

    def _read_output(self, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal answers EIO when its last user is gone
        if not data:
            self._unregister(fd)
            del self.outputs[fd]
            os.close(fd)
            return
        stream = self.outputs[fd]
        if self.log is not None:
            self.log.write(stream, data)
        for client in list(self.clients):
            target = client.targets.get(stream, -1)
            if target >= 0:
                self._give(client, target, data)
        if self.blocked:
            for output in self.outputs:
                self._unregister(output)

    def _give(self, client: Client, fd: int, data: bytes) -> None:
        waiting = client.pending.get(fd)
        if waiting is not None:
            client.pending[fd] = waiting + data
            return
        try:
            written = os.write(fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._drop_target(client, fd, error.errno or EPIPE)
            return
        if written < len(data):
            client.pending[fd] = data[written:]
            self._register(fd, POLLOUT)

    def _write_client(self, client: Client, fd: int, mask: int) -> None:
        data = client.pending.pop(fd, b"")
        if not data or (mask & _GONE and not mask & POLLOUT):
            self._drop_target(client, fd, EPIPE)
        else:
            self._unregister(fd)
            self._give(client, fd, data)
        if not self.blocked:
            self._resume()

    def _drop_target(self, client: Client, fd: int, error: int) -> None:
        for stream, target in list(client.targets.items()):
            if target == fd:
                del client.targets[stream]
                if stream == STDOUT:
                    client.lost = client.lost or error
        client.pending.pop(fd, None)
        self._unregister(fd)
        os.close(fd)

    def _resume(self) -> None:
        if not self.blocked:
            for output in self.outputs:
                self._register(output, POLLIN)

    def _read_source(self, client: Client) -> None:
        try:
            data = os.read(client.source, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end_source(client, True)
            return
        if client.detach_keys:
            data = self._watch_keys(client, data)
            if client.detached:
                self._unregister(client.source)
        if data:
            self._write_input(data, 0)

    def _watch_keys(self, client: Client, data: bytes) -> bytes:
        """Return what goes to the container; sets `detached` when the detach keys have been typed in a row."""
        keys = client.detach_keys
        out = bytearray()
        for byte in data:
            held = keys[: client.seen] + bytes((byte,))
            while not keys.startswith(held):
                out.append(held[0])
                held = held[1:]
            client.seen = len(held)
            if held == keys:
                client.detached = True
                break
        return bytes(out)

    def _end_source(self, client: Client, at_end: bool) -> None:
        if client.source < 0:
            return
        self._unregister(client.source)
        os.close(client.source)
        client.source = -1
        if self.input >= 0 and self.close_input_at_end and not self.terminal:
            if self._input_pending:
                return  # closed once it is written
            self._close_input()

    def _close_input(self) -> None:
        if self.input >= 0:
            self._unregister(self.input)
            os.close(self.input)
            self.input = -1
        self._input_pending = b""

    @property
    def unread(self) -> bytes:
        """Return the input that the container has not read yet."""
        return self._input_pending

    def resume_input(self, data: bytes) -> None:
        """Take over input that the process image before had read but not written."""
        if data and self.input >= 0:
            self._input_pending = data
            self._register(self.input, POLLOUT)

    def replace_input(self, fd: int) -> None:
        """Write to `fd` from now on: the container has begun another run."""
        self._close_input()
        self.input = fd

    def _write_input(self, data: bytes, mask: int) -> None:
        if self.input < 0:
            return
        data = self._input_pending + data
        try:
            written = os.write(self.input, data) if data else 0
        except BlockingIOError:
            written = 0
        except OSError:
            self._close_input()  # the program has closed its end
            for client in self.clients:
                self._end_source(client, False)
            return
        before, self._input_pending = self._input_pending, data[written:]
        if self._input_pending and not before:
            # Full: stop reading more input until there is room.
            for client in self.clients:
                if client.source >= 0:
                    self._unregister(client.source)
            if self.input not in self.outputs:
                self._register(self.input, POLLOUT)
        elif not self._input_pending and before:
            self._unregister(self.input)
            live = [client for client in self.clients if client.source >= 0]
            for client in live:
                self._register(client.source, POLLIN)
            if not live and self.close_input_at_end and not self.terminal:
                self._close_input()

    def close(self) -> None:
        """Close all that is open."""
        for fd in list(self.outputs):
            self._unregister(fd)
            os.close(fd)
        self.outputs.clear()
        self._close_input()
        for client in list(self.clients):
            self.detach(client)
