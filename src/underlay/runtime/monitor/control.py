"""The socket between a monitor and its callers: JSON messages with file descriptors. Imports almost nothing.

One packet a message (unix(7), SOCK_SEQPACKET). To the monitor: {"attach": …} with three descriptors, {"resize":
[rows, columns]}, {"signal": n}, {"stopping": true}, {"paused": bool}, and before the start of a container with networks
{"network": true} with a parcel, or {"abandoned": why}. From it: {"started": pid}, {"failed": …},
{"exited": code}, {"detached": true}, {"lost": errno}, {"noted": true} as the answer to what is to be noted ("stopping",
"relaunch", "paused", "renamed", "joined", "relays").
"""

from __future__ import annotations

import _socket
import os

from ...errors import Conflict
from ...lean.jsontext import dumps, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from .records import Message

_LIMIT = 64 << 10
COMING: Final = "coming"  # in a launch record: the network follows in a message
_DESCRIPTORS = 4
PATIENCE = 10.0  # seconds that a monitor has to answer in: it may be starting the container again


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Return two connected control sockets."""
    left, right = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return left, right


def listen(directory: str, name: str = "control") -> _socket.socket:
    """Return a listening socket `name` in `directory`, open to its owner only (mode 0600 from the start)."""
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    # Through a descriptor: socket addresses hold 107 bytes, directories may be longer.
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        before = os.umask(0o177)
        try:
            server.bind(f"/proc/self/fd/{fd}/{name}")
        finally:
            os.umask(before)
        server.listen(16)
    finally:
        os.close(fd)
    return server


def accept(server: _socket.socket) -> _socket.socket:
    """Return the next connection; raises OSError when there is none."""
    number: int = server._accept()[0]  # type: ignore[attr-defined]  # the plain class has only this spelling
    return _socket.socket(fileno=number)


def connect(directory: str, name: str = "control") -> _socket.socket | None:
    """Connect to the socket `name` in `directory`; None when no process listens there."""
    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            client.connect(f"/proc/self/fd/{fd}/{name}")
        finally:
            os.close(fd)
    except OSError:
        client.close()
        return None
    return client


def send(channel: _socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> bool:
    """Send a message; return False when the other side has closed the connection."""
    data = dumps(message).encode()
    extra = []
    if descriptors:
        packed = b"".join(fd.to_bytes(4, "little", signed=True) for fd in descriptors)
        extra = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]
    try:
        channel.sendmsg([data], extra, _socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def ask(channel: _socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    """Send a monitor a message and wait for its acknowledgement; or until the monitor or the container exits instead.

    Raises Conflict when it does not answer within PATIENCE seconds: nothing that waits for an answer has come of it then.
    """
    import select
    import time

    if not send(channel, message, descriptors):
        return
    answers = select.poll()
    answers.register(channel.fileno(), select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    late = False
    while True:
        if not late and not answers.poll(max(0.0, deadline - time.monotonic()) * 1000):
            late = True
            channel.shutdown(_socket.SHUT_RD)  # from now on the monitor's answer fails; one may have come just before
        answer, fds = receive(channel)
        for fd in fds:
            os.close(fd)
        if answer is None:
            break
        if "noted" in answer or "exited" in answer:
            return
    if late:
        raise Conflict(
            f"the container's monitor has not answered for {PATIENCE:.0f} seconds",
            "`ps -eo pid,stat,comm` shows whether underlay-monito is stopped (T); `kill -CONT PID` resumes it",
        )


def inform(state_directory: str, message: Message) -> None:
    """Send a message to a container's monitor, if there is one, and wait for its answer. A monitor that does not answer is
    no error: for messages that change no more than what it writes into the journal."""
    channel = connect(state_directory)
    if channel is None:
        return
    try:
        ask(channel, message)
    except Conflict:
        pass
    finally:
        channel.close()


def receive(channel: _socket.socket) -> tuple[Message | None, list[int]]:
    """Return (message, descriptors); (None, []) at the end. Descriptors are close-on-exec. Never raises on content."""
    while True:
        try:
            data, extra, _, _ = channel.recvmsg(_LIMIT, _socket.CMSG_SPACE(4 * _DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC)
            break
        except BlockingIOError:
            return {}, []
        except ConnectionResetError:
            continue  # it has closed without reading all; what it has sent can be read all the same (unix(7))
        except OSError:
            return None, []
    fds: list[int] = []
    for level, kind, content in extra:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds += [int.from_bytes(content[i : i + 4], "little") for i in range(0, len(content) - 3, 4)]
    if not data:
        for fd in fds:
            os.close(fd)
        return None, []
    try:
        message: Message = known(data)
    except (ValueError, RecursionError):
        message = {}
    return (message if isinstance(message, dict) else {}), fds


def parcel(value: Mapping[str, object], name: str) -> int:
    """Return the descriptor of a file in memory that holds a value too large for a message."""
    made = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(made, "wb", buffering=0, closefd=False) as file:
        file.write(dumps(value).encode("utf-8", "surrogateescape"))
    return made


def unpack(fd: int) -> Any:
    """Return the value of a parcel, which is closed."""
    value = known(os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "surrogateescape"))
    os.close(fd)
    return value
