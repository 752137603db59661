"""Other programs in a container in a machine: asked of its stand-in, over the socket in the container's state directory."""

from __future__ import annotations

import os
import select

from ...errors import Conflict, StartFailed
from ...linux import tty
from ..monitor import control, streams
from ..process import join
from . import driver, standin

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ...linux.specification import Resources
    from ..monitor.records import ExecRecord


_ENDING = "the container's machine does not answer: it is ending"
_PATIENCE = 2.0  # seconds that a stand-in has to read a message
TIME = standin.FAREWELL + 2.0  # seconds after which a machine that was asked to end has done so, or is broken


def kill(state_directory: str) -> bool:
    """Have a machine kill the container's program, write back and end; returns False when nobody can be asked."""
    channel = control.connect(state_directory, driver.SOCKET)
    if channel is None:
        return False
    try:
        if not control.send(channel, {"kill": True}):
            return False
        answers = select.poll()
        answers.register(channel.fileno(), select.POLLIN)
        # The stand-in hangs up when it has read it; one that is stopped never does.
        return bool(answers.poll(1000 * _PATIENCE))
    finally:
        channel.close()


def begin(record: ExecRecord) -> join.Joined:
    """Start a program in the machine: see `join.start`; its keeper is the stand-in. Raises StartFailed, Conflict."""
    size = record["operations"]["size"] if record["terminal"] else None
    return _called(record["machine"], {"exec": record}, size, not record["detach"], record["interactive"])


def files(state_directory: str, request: dict[str, object]) -> join.Joined:
    """Have the machine read or write files of the container (`files.serve`); what is returned is as of `begin`.

    Raises Conflict, StartFailed.
    """
    return _called(state_directory, {"files": request}, None, True, True)


def _called(
    state_directory: str, request: dict[str, object], size: tuple[int, int] | None, outputs: bool, open_stdin: bool
) -> join.Joined:
    """Send a request to a container's stand-in, with the ends of streams for what it starts: a terminal of `size` (rows,
    columns) if that is given, else pipes for `outputs` and, with `open_stdin`, for its input."""
    channel = control.connect(state_directory, driver.SOCKET)
    if channel is None:
        raise Conflict(_ENDING)
    theirs: dict[int, int] = {}
    joined = join.Joined(-1, -1)
    try:
        if size is not None:
            joined.console = master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            terminal = tty.open_pair(master)
            theirs[streams.STDIN], theirs[streams.STDOUT] = terminal, os.dup(terminal)
            tty.make_raw(terminal)
            if size[0]:
                tty.set_window_size(master, *size)
        elif outputs:
            for stream in (streams.STDOUT, streams.STDERR):
                out, theirs[stream] = streams.output_pipe()
                joined.outputs.append((out, stream))
            if open_stdin:
                theirs[streams.STDIN], joined.stdin = streams.input_pipe()
        _ask(channel, request, theirs)
        joined.pid = _answer(channel)
    except BaseException:
        for fd in (joined.console, joined.stdin, *(fd for fd, _ in joined.outputs)):
            if fd >= 0:
                os.close(fd)
        channel.close()
        raise
    finally:
        for fd in theirs.values():
            os.close(fd)
    joined.keeper = channel
    return joined


class ProcessFiles:
    """What the agent has read of the container's processes: their `files` (stat, status, cmdline) by pid, and the seconds
    since the machine's start."""

    __slots__ = ("files", "uptime")

    def __init__(self, message: object) -> None:
        self.files: dict[int, dict[str, str]] = {}
        self.uptime = 0.0
        told = message if isinstance(message, dict) else {}
        if isinstance(told.get("uptime"), float):
            self.uptime = told["uptime"]
        rows = told.get("files")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, list) and len(row) == 4 and isinstance(row[0], int):
                self.files[row[0]] = dict(zip(("stat", "status", "cmdline"), map(str, row[1:]), strict=True))


def processes(state_directory: str) -> ProcessFiles:
    """Return what the machine says of the container's processes. Raises Conflict."""
    channel = control.connect(state_directory, driver.SOCKET)
    if channel is None:
        raise Conflict(_ENDING)
    try:
        _ask(channel, {"processes": True}, {})
        message, fds = control.receive(channel)
        if message is None or not fds:
            raise Conflict("the container's machine has ended")
        return ProcessFiles(control.unpack(fds[0]))
    finally:
        channel.close()


def limit(state_directory: str, resources: Resources | None) -> None:
    """Have the machine change limits of the container, all or none; with None it takes the last change back.

    Raises Conflict when it does not, or cannot be asked.
    """
    channel = control.connect(state_directory, driver.SOCKET)
    if channel is None:
        raise Conflict(_ENDING)
    try:
        _ask(channel, {"limits": resources}, {})
        answers = select.poll()
        answers.register(channel.fileno(), select.POLLIN)
        if not answers.poll(1000 * control.PATIENCE):
            # Should it come to this later, it takes it back at once.
            _ask(channel, {"limits": None}, {})
            raise Conflict(f"the container's machine has not answered for {control.PATIENCE:.0f} seconds")
        try:
            _answer(channel)
        except StartFailed as error:
            raise Conflict(f"the container's machine has refused the change: {error.message}", error.hint) from None
    finally:
        channel.close()


def _ask(channel: _socket.socket, request: dict[str, object], given: dict[int, int]) -> None:
    parcel = control.parcel(request, "underlay-call")
    control.send(channel, {"call": [*given]}, (parcel, *given.values()))
    os.close(parcel)


def _answer(channel: _socket.socket) -> int:
    """Return the pid, in the machine, of the program that was asked for. Raises StartFailed, Conflict."""
    message, fds = control.receive(channel)
    for fd in fds:
        os.close(fd)
    if message is None:
        raise Conflict("the container's machine has ended")
    failed, started = message.get("failed"), message.get("started")
    if isinstance(failed, dict):
        code = next((known for known in (126, 127) if failed.get("code") == known), 125)
        raise StartFailed(str(failed.get("message")), code, str(failed.get("hint") or ""))
    return started if isinstance(started, int) else 0
