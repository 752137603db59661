"""Running another program in a running container (`exec`), and copying its streams."""

from __future__ import annotations

import os
import select

from ...errors import Conflict, InvalidInput, StartFailed, UnderlayError
from ...events import Event
from ...paths import interpreter
from ...runtime import drivers
from ...runtime.monitor import control, streams
from ...runtime.process import join
from .. import presence
from .records.execution import exec_record
from .session import output_lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...runtime.monitor.attachment import Attachment
    from ...runtime.monitor.records import Message
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ...store.store import Store
    from ..options import ExecOptions


class Execution:
    """A program running in a container. `wait` forwards its streams until it exits.

    As a context manager it is closed at the end of the block: later output of the program is then discarded.
    """

    __slots__ = ("_closed", "_console", "_detached", "_end", "_joined", "_on_exit", "_poll", "_relay", "pid")

    def __init__(
        self,
        joined: join.Joined,
        terminal: bool,
        attachment: Attachment | None,
        detached: bool,
        on_exit: Callable[[int], None],
    ) -> None:
        self._joined = joined
        self._on_exit = on_exit  # called with the exit code
        self._detached = detached
        self._closed = False
        self.pid = joined.pid
        self._console = joined.console
        self._poll = select.poll()
        self._relay = streams.Relay(self._poll, None, terminal)
        if joined.console >= 0:
            os.set_blocking(joined.console, False)
            self._relay.add_output(joined.console, streams.STDOUT)
            self._relay.input = os.dup(joined.console)
        else:
            for fd, stream in joined.outputs:
                self._relay.add_output(fd, stream)
            self._relay.input = joined.stdin
        if attachment is not None:
            self._relay.attach(attachment.stdin, attachment.stdout, attachment.stderr, attachment.keys)
        if detached:
            return
        self._end = joined.pidfd if joined.keeper is None else joined.keeper.fileno()
        self._poll.register(self._end, select.POLLIN)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the program's terminal."""
        from ...linux import tty

        if self._console >= 0:
            try:
                tty.set_window_size(self._console, rows, columns)
            except OSError:
                pass
        self._say({"resize": [rows, columns]})

    def _say(self, message: Message) -> None:
        """Tell the stand-in of a machine; other keepers need not be told, and do not listen."""
        if self._joined.keeper is not None:
            control.send(self._joined.keeper, message)

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        import _signal

        if self._joined.pidfd < 0:
            self._say({"signal": number})
            return
        try:
            _signal.pidfd_send_signal(self._joined.pidfd, number)
        except ProcessLookupError:
            pass

    def wait(self) -> int | None:
        """Return the program's exit code (128 + n for a signal) once all its output is forwarded; None if detached.

        Raises BrokenPipeError when the reader of the output has closed it, another OSError when it cannot be written.
        """
        relay, code = self._relay, -1
        if self._detached:
            return None  # it is not our child, so nobody tells us how it ends
        while True:
            if code >= 0 and not relay.blocked and (not relay.outputs or not self._poll.poll(0)):
                break
            for fd, mask in self._poll.poll(None if code < 0 or relay.blocked else 0):
                if fd == self._end:
                    self._poll.unregister(fd)
                    code = self._exit_code()
                    code = code if code >= 0 else 128 - code
                else:
                    relay.handle(fd, mask)
            lost = next((client.lost for client in relay.clients if client.lost), 0)
            if lost:
                self.close()
                raise output_lost(lost)
            if any(client.detached for client in relay.clients):
                self.close()
                return None
        self.close()
        self._on_exit(code)
        return code

    def _exit_code(self) -> int:
        """Return how the program has ended, -n for signal n."""
        keeper = self._joined.keeper
        if keeper is None:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        message, _ = control.receive(keeper)
        if message is None or "exited" not in message:
            raise UnderlayError("the process that waits for the program in the container was killed")
        return int(message["exited"])

    def close(self) -> None:
        """Close the streams; the program keeps running. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self._relay.close()
        if self._joined.pidfd >= 0:
            os.close(self._joined.pidfd)
            self._joined.pidfd = -1
        if self._joined.keeper is not None:
            self._joined.keeper.close()

    def __enter__(self) -> Execution:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def execute(
    store: Store,
    row: ContainerRow,
    status: Status,
    options: ExecOptions,
    attachment: Attachment | None,
    leaving: bool,
    known_as: str,
) -> Execution:
    """Start what `options` ask for in the container.

    Raises StartFailed, InvalidInput, Conflict when the container ends meanwhile.

    `leaving` says that this process has one thread and only waits for the program, so that it may be its
    parent; otherwise a keeper process is (see `runtime.process.keeper`). `known_as` is the id by which an event has
    announced the program already, "" if none has.
    """
    if not options.command or not options.command[0]:
        raise InvalidInput("no command specified")
    state = store.paths.container_state(row.id)
    record = exec_record(row.id, state, row.intent, options, status.pid, status.when, status.group_base)
    try:
        if leaving or "machine" in record:
            joined = drivers.begin(record)
        else:
            from ...runtime.process import keeper

            joined = keeper.start(*interpreter(), record)
    except (UnderlayError, OSError) as error:
        # A container that ends in this moment takes down with it whatever was to be joined or begun.
        if presence.is_ending(status):
            raise Conflict(f"container {row.id} is not running") from None
        if isinstance(error, StartFailed) and error.exit_code == 125:
            # An unknown user, a profile that is not loaded: `docker run` exits with 125, `docker exec` with 126.
            raise StartFailed(error.message, 126, error.hint) from None
        raise
    command = " ".join(options.command)
    program = known_as or os.urandom(32).hex()
    if not known_as:
        store.emit(Event("container.exec_create", row.id, execID=program, command=command))
    store.emit(Event("container.exec_start", row.id, execID=program, command=command))

    def note_exit(code: int) -> None:
        store.emit(Event("container.exec_die", row.id, execID=program, exitCode=code))

    return Execution(joined, options.terminal, attachment, options.detach, note_exit)
