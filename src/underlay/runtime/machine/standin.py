"""The stand-in: the process that stands for a container in a machine, on the host. It runs QEMU, and talks to the agent.

It is the first process of a sandbox of its own, without rights, with QEMU as its child: to the monitor it is the
container's program. What it writes and reads are the container's streams, a signal to it is a signal to the container's
program, and it exits as that has exited. When it is killed, QEMU is.
"""

from __future__ import annotations

import _signal
import _socket
import os
import select
import time

from ...errors import Corrupt
from ...lean.jsontext import dumps
from ...linux import tty
from ..monitor import control
from . import qemu
from .link import MACHINE, PROTOCOL, STDERR, STDIN, STDOUT, Link
from .networks.names import Answering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ..monitor.records import Failed
    from .records import StandInRecord

CONTAINER = 1  # the conversation about the container's first program
_LARGEST = 1 << 20  # bytes of a message of the agent, which is not trusted
_MOST = 200  # programs at once
_CONSOLE = 4096  # of the console's last bytes that are kept
_PATIENCE = 300.0  # seconds until the agent's first answer: emulated on an emulated host it takes 130
FAREWELL = 10.0  # seconds that the machine has to write back and power off, and QEMU to end
_OURS = frozenset((_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, 32, 33))
OOM = b"oom"


class Lost(Exception):
    """The machine has ended, or does not keep to the protocol."""


class _Call:
    """A program that somebody else has started through the stand-in's socket: his connection, which is told the end."""

    __slots__ = ("channel", "code")

    def __init__(self, channel: _socket.socket) -> None:
        self.channel = channel
        self.code: int | None = None


def main() -> NoReturn:
    """Run as the stand-in; the record is in the file that the last word of the command line numbers."""
    import sys

    fd = int(sys.argv[-1])
    record: StandInRecord = control.unpack(fd)
    standin = StandIn(record)
    code = 125
    try:
        code = standin.run()
    except (Lost, Corrupt) as error:
        code = standin.lose(str(error))
    except Exception as error:
        code = standin.lose(f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


class StandIn:
    """One container's stand-in."""

    def __init__(self, record: StandInRecord) -> None:
        self.record = record
        self.poll = select.poll()
        self.channel: _socket.socket | None = _socket.socket(fileno=record["channel"])
        self.listener = _socket.socket(fileno=record["listener"])
        self.notes = record["notes"]
        self.console = bytearray()
        self.calls: dict[int, _Call] = {}  # by conversation
        self.channels: dict[int, int] = {}  # descriptor → conversation
        self.next = CONTAINER + 1
        self.code: int | None = None
        self.off = False
        self.signals = b""
        self.ending = 0.0  # when the container has to have ended, since it was to be killed
        self.names: Answering
        for fd in (record["channel"], record["listener"], record["notes"]):
            os.set_inheritable(fd, False)

    def run(self) -> int:
        """Run the machine to its end; returns the exit code. Raises Lost, Corrupt."""
        woken = self._take_signals()
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        console, console_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.screen = console
        self.pid = qemu.start(self.record, theirs.fileno(), console_end)
        theirs.close()
        os.close(console_end)
        self.link = Link(self.poll, ours.detach(), _LARGEST)
        self.names = Answering(self.poll, self.link)
        self.listener.setblocking(False)
        self.poll.register(woken, select.POLLIN)
        self.poll.register(console, select.POLLIN)
        self.link.tell(CONTAINER, {"start": {**self.record["inside"], "time": time.time()}})
        for stream in (STDOUT,) if self.record["terminal"] else (STDOUT, STDERR):
            self.link.sink(CONTAINER, stream, os.dup(stream))
        greeted = False
        deadline = time.monotonic() + _PATIENCE
        while True:
            if self.off and not self.link.held(CONTAINER):
                return self._leave()
            starts = not greeted or self.channel is not None
            until = deadline if starts else 0.0 if self.off else self.ending
            ready = self.poll.poll(max(0.0, until - time.monotonic()) * 1000 if until else None)
            if self.ending and not self.off and time.monotonic() > self.ending:
                raise Lost(f"the machine has not ended its container within {FAREWELL:.0f} seconds")
            if starts and time.monotonic() > deadline:
                raise Lost(f"the machine has not answered within {_PATIENCE:.0f} seconds")
            for fd, mask in ready:
                if fd == woken:
                    self._signalled(os.read(woken, 4096))
                elif fd == console:
                    self._listen(console)
                elif fd == self.listener.fileno():
                    self._accept()
                elif fd in self.channels:
                    self._called(fd)
                elif self.names.handle(fd):
                    pass
                else:
                    for conversation, message in self.link.handle(fd, mask) or ():
                        if conversation == MACHINE and message.get("hello") is not None:
                            greeted = self._greet(message)
                        elif conversation == MACHINE and "question" in message:
                            self.names.ask(message)
                        elif conversation == MACHINE:
                            self.off = self.off or bool(message.get("off"))
                        else:
                            self._told(conversation, message)
            self._finish_calls()
            if self.link.closed and not self.off:
                raise Lost("the machine has ended before its container")

    # Signals.

    def _take_signals(self) -> int:
        """Have all signals reported on a descriptor: they are the container's program's."""
        woken, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        for number in range(1, _signal.NSIG):
            if number not in _OURS:
                _signal.signal(number, lambda *_: None)
        return woken

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == _signal.SIGWINCH:
                if self.record["terminal"]:
                    self.link.tell(CONTAINER, {"resize": tty.window_size(0)})
            elif self.channel is None:
                self.link.tell(CONTAINER, {"signal": number})
            else:
                self.signals += bytes((number,))  # for the program, when it is there

    # The container's program.

    def _greet(self, message: dict[str, Any]) -> bool:
        if message["hello"] != PROTOCOL:
            raise Lost("the agent in the machine is of another version of underlay: the initrd is not ours")
        return True

    def _told(self, conversation: int, message: dict[str, Any]) -> None:
        """Take what the agent says of a program."""
        unread = message.get("unread")
        if unread is not None:
            self.link.end_source(conversation, unread if isinstance(unread, int) else STDIN)
        if conversation == CONTAINER:
            self._container_told(message)
        elif conversation in self.calls:
            call = self.calls[conversation]
            if isinstance(message.get("failed"), dict):
                control.send(call.channel, {"failed": _failure(message["failed"])})
                self._hang_up(conversation)
            elif isinstance(message.get("started"), int):
                control.send(call.channel, {"started": message["started"]})
            elif isinstance(message.get("exited"), int):
                call.code = message["exited"] & 0xFF
            elif message.get("limited") is True:
                control.send(call.channel, {"limited": True})
                self._hang_up(conversation)
            elif isinstance(message.get("processes"), dict):
                parcel = control.parcel(message["processes"], "underlay-processes")
                control.send(call.channel, {}, (parcel,))
                os.close(parcel)
                self._hang_up(conversation)

    def _container_told(self, message: dict[str, Any]) -> None:
        failed = message.get("failed")
        if isinstance(failed, dict) and self.channel is not None:
            self._fail(_failure(failed))
        elif isinstance(message.get("started"), int) and self.channel is not None:
            self._attach()
        elif isinstance(message.get("exited"), int) and self.code is None:
            self.code = message["exited"] & 0xFF
            if message.get("oom"):
                os.pwrite(self.notes, OOM, 0)

    def _fail(self, failure: Failed) -> NoReturn:
        """Tell the monitor that the container could not start, and end."""
        assert self.channel is not None
        try:
            self.channel.send(b"!" + dumps({"step": "machine", **failure}).encode("utf-8", "replace"))
        except OSError:
            pass
        os._exit(125)

    def _attach(self) -> None:
        """The program runs: join its streams to ours, and let the monitor go on."""
        assert self.channel is not None
        if self.record["terminal"]:
            tty.make_raw(0)
            self.link.tell(CONTAINER, {"resize": tty.window_size(0)})
        if self.record["terminal"] or self.record["inside"]["open_stdin"]:
            self.link.source(CONTAINER, STDIN, os.dup(0))
        self.channel.close()
        self.channel = None
        self.poll.register(self.listener.fileno(), select.POLLIN)
        self._signalled(self.signals)

    def _leave(self) -> int:
        """End QEMU, which has had its time to."""
        deadline = time.monotonic() + FAREWELL
        while time.monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
            time.sleep(0.005)
        else:
            os.kill(self.pid, 9)
        return 125 if self.code is None else self.code

    def lose(self, why: str) -> int:
        """Say why the machine is lost, and what its console said last; returns the exit code."""
        try:
            os.kill(self.pid, 9)
            self.console += os.read(self.screen, 1 << 16)
        except (OSError, AttributeError):
            pass  # there is none, or it says nothing
        said = bytes(self.console).decode("utf-8", "replace").strip().splitlines()
        # A kernel that panics says why in one line, and much besides.
        last = [line for line in said if "Kernel panic" in line][:1] or said[-6:]
        if self.channel is not None:
            hint = "the machine's console ends with: " + " / ".join(last) if last else ""
            self._fail({"message": why, "hint": hint, "code": 125})
        text = "".join(f"underlay: machine: {line}\n" for line in (why, *last))
        try:
            os.write(2, text.encode("utf-8", "replace"))
        except OSError:
            pass
        return 128 + 9

    def _listen(self, console: int) -> None:
        """Keep the end of what the machine's console says."""
        data = os.read(console, 1 << 16)
        if not data:
            self.poll.unregister(console)
        self.console += data
        del self.console[:-_CONSOLE]

    # Other programs.

    def _accept(self) -> None:
        try:
            channel = control.accept(self.listener)
        except OSError:
            return
        if len(self.calls) >= _MOST:
            control.send(channel, {"failed": {"message": f"{_MOST} programs run in the machine already", "code": 125}})
            channel.close()
            return
        conversation, self.next = self.next, self.next + 1
        channel.setblocking(False)
        self.calls[conversation] = _Call(channel)
        self.channels[channel.fileno()] = conversation
        self.poll.register(channel.fileno(), select.POLLIN)

    def _called(self, fd: int) -> None:
        """Take a message of somebody who has connected: what to run, with its streams, then signals and sizes."""
        conversation = self.channels[fd]
        call = self.calls[conversation]
        message, fds = control.receive(call.channel)
        if message is None:
            # As it would be with a program of this kernel: its input ends, and nobody takes its output.
            self.link.tell(conversation, {"gone": True})
            self._hang_up(conversation)
            return
        if message.get("kill"):
            self.link.tell(CONTAINER, {"signal": 9})
            self.ending = self.ending or time.monotonic() + FAREWELL
            self._hang_up(conversation)
            return
        if "call" in message and fds:
            request = control.unpack(fds.pop(0))
            given = dict(zip(message["call"], fds, strict=False))
            for stream in (STDOUT, STDERR):
                if stream in given:
                    self.link.sink(conversation, stream, given[stream])
            if STDIN in given:
                self.link.source(conversation, STDIN, given[STDIN])
            self.link.tell(conversation, request)
            return
        for extra in fds:
            os.close(extra)
        if isinstance(message.get("signal"), int):
            self.link.tell(conversation, {"signal": message["signal"]})
        if isinstance(message.get("resize"), list):
            self.link.tell(conversation, {"resize": message["resize"]})

    def _finish_calls(self) -> None:
        """Tell those whose programs have ended, when all output is written."""
        for conversation, call in list(self.calls.items()):
            if call.code is not None and not self.link.held(conversation):
                control.send(call.channel, {"exited": call.code})
                self._hang_up(conversation)

    def _hang_up(self, conversation: int) -> None:
        call = self.calls.pop(conversation)
        del self.channels[call.channel.fileno()]
        self.poll.unregister(call.channel.fileno())
        call.channel.close()
        self.link.end(conversation)


def _failure(told: dict[str, Any]) -> Failed:
    """Return what an agent has told of a failure, with what each member has to be."""
    code = next((known for known in (126, 127) if told.get("code") == known), 125)
    message, hint = str(told.get("message") or ""), str(told.get("hint") or "")
    return {"message": message[:2000], "hint": hint[:2000], "code": code}
