"""A stand-in of a container in a machine, in a process, with an agent of the test's own and no QEMU."""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from underlay.runtime.machine import calls, driver
from underlay.runtime.machine.link import MACHINE, PROTOCOL, Link
from underlay.runtime.monitor import control
from underlay.runtime.process import child_channel

CONTAINER = 1
# What is the stand-in's in its sandbox, but for QEMU: a child that sleeps, and the other end is the test's.
STANDIN = """
import os, subprocess, sys
from underlay.runtime.machine import qemu, standin
agent = int(sys.argv[1])
def start(record, theirs, console):
    os.dup2(theirs, agent)
    child = subprocess.Popen(["sleep", "100"], stdout=console, stderr=console)
    os.write(console, b"[    0.1] Linux\\n[    0.2] its last words\\n")
    with open(sys.argv[2], "w") as file:
        file.write(str(child.pid))
    conversation(agent)
    return child.pid
def conversation(fd):
    import _socket
    from underlay.runtime.monitor import control
    channel = _socket.socket(fileno=agent_channel)
    control.send(channel, {}, (fd,))
    channel.close()
    os.close(fd)
agent_channel = int(sys.argv[3])
standin._PATIENCE = float(sys.argv[4])
standin.FAREWELL = 0.5
standin._MOST = 3
qemu.start = start
standin.main()
"""


class Agent:
    """An agent: the other end of the stand-in's link, and the stand-in's other ends."""

    def __init__(self, place: Path, terminal: bool = False, patience: float = 30.0, more: dict[str, Any] | None = None):
        self.place = place
        self.channel, theirs = control.pair()
        self.listener = control.listen(str(place), driver.SOCKET)
        self.notes = place / driver.NOTES
        self.input, self.output, self.errors = os.pipe(), os.pipe(), os.pipe()
        if terminal:
            self.input, self.output, self.errors = _terminal()
        notes = os.open(self.notes, os.O_RDWR | os.O_CREAT)
        ours, agent = control.pair()
        spare = os.open("/dev/null", os.O_RDONLY)
        inside = {"open_stdin": True, "spec": {"hostname": "h"}, **(more or {})}
        record = {"inside": inside, "terminal": terminal, "disks": [], "taps": [], "shares": -1, "machine": {}}
        record |= {"channel": theirs.fileno(), "listener": self.listener.fileno(), "notes": notes}
        parcel = control.parcel(record, "test")
        numbers = (theirs.fileno(), self.listener.fileno(), notes, parcel, agent.fileno(), spare)
        words = [str(spare), str(place / "qemu"), str(agent.fileno()), str(patience), str(parcel)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", STANDIN, *words],
            stdin=self.input[0],
            stdout=self.output[1],
            stderr=self.errors[1],
            pass_fds=numbers,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for fd in (self.input[0], self.output[1], self.errors[1], notes, parcel, spare):
            os.close(fd)
        for sock in (theirs, self.listener, agent):
            sock.close()
        _, [self.fd] = control.receive(ours)
        ours.close()
        self.poll = select.poll()
        self.link = Link(self.poll, self.fd, 16 << 20)
        self.told: list[tuple[int, Any]] = []

    def turn(self, seconds: float = 0.05) -> None:
        """Do what is ready."""
        for fd, mask in self.poll.poll(seconds * 1000):
            self.told += self.link.handle(fd, mask) or ()

    def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Work until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.told
            self.turn()

    def heard(self, key: str, count: int = 1) -> list[tuple[int, Any]]:
        """Return the messages that have `key`, when there are `count`."""

        def found() -> list[tuple[int, Any]]:
            return [(number, message[key]) for number, message in self.told if key in message]

        self.until(lambda: len(found()) >= count)
        return found()

    def greet(self) -> None:
        """Say hello."""
        self.link.tell(MACHINE, {"hello": PROTOCOL, "kernel": "6.0"})

    def start(self) -> None:
        """Have the container start, as its monitor sees it."""
        self.greet()
        assert self.heard("start")[0][0] == CONTAINER
        self.link.tell(CONTAINER, {"started": 70})
        assert child_channel.await_start(self.channel) == -1

    def end(self, code: int = 0, **more: object) -> None:
        """Have the container end."""
        self.link.tell(CONTAINER, {"exited": code, **more})
        self.link.tell(MACHINE, {"off": True})

    def result(self) -> tuple[int, bytes, bytes]:
        """Return the exit code, and what is left of output and errors."""
        streams = {self.output[0]: b"", self.errors[0]: b""}
        running = True
        while running:
            running = self.process.poll() is None
            self.turn(0.02)
            for fd in streams:
                while select.select([fd], [], [], 0)[0] and (part := os.read(fd, 1 << 20)):
                    streams[fd] += part
        return self.process.returncode, streams[self.output[0]], streams[self.errors[0]]

    def raw(self, kind: int, payload: bytes, conversation: int = CONTAINER, stream: int = 0) -> None:
        """Send a frame as it is."""
        os.write(self.fd, struct.pack("<IIBB", len(payload), conversation, kind, stream) + payload)

    def call(self, request: dict[str, object], given: dict[int, int]) -> _socket.socket:
        """Ask the stand-in for something, as `calls` does."""
        channel = control.connect(str(self.place), driver.SOCKET)
        assert channel is not None
        calls._ask(channel, request, given)
        return channel

    def close(self) -> None:
        """End everything."""
        self.process.kill()
        self.process.wait()
        for fd in (self.input[1], self.output[0], self.errors[0]):
            try:
                os.close(fd)
            except OSError:
                pass
        try:
            os.kill(int((self.place / "qemu").read_text()), 9)
        except ProcessLookupError:
            pass
        for conversation in {key[0] for key in (*self.link._sources, *self.link._sinks)}:
            self.link.end(conversation)
        os.close(self.fd)
        self.channel.close()


def _terminal() -> tuple[tuple[int, int], ...]:
    """Return a terminal's ends in the places of three pipes."""
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 81, 0, 0))
    return (theirs, ours), (os.dup(ours), os.dup(theirs)), (os.dup(ours), os.dup(theirs))
