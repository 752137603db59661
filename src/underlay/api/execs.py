"""Programs to be run in containers (exec): made by one request, started by another, and remembered for a while."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ..errors import NotFound

if TYPE_CHECKING:
    from ..engine.containers.exec import Execution
    from ..engine.options import ExecOptions

_KEPT = 1000  # of those that have ended
_UNSTARTED = 600.0  # seconds that one is kept which nobody starts
_BYTES = 64 << 20  # of commands and environments of all
_OVERHEAD = 4096  # bytes of one, beside its command and environment


class Exec:
    """One program: `container` is the id; `code` None until it has ended."""

    def __init__(self, container: str, options: ExecOptions, stdin: bool, stdout: bool, stderr: bool) -> None:
        self.id = os.urandom(32).hex()
        self.container = container
        self.options = options
        self.streams = (stdin, stdout, stderr)
        self.keys = b""
        self.execution: Execution | None = None
        self.size: tuple[int, int] | None = None  # of its terminal, as told before the program had begun
        self.started = False
        self.pid = 0
        self.code: int | None = None
        self.created = time.monotonic()
        words = (*options.command, *options.environment)
        self.bytes = _OVERHEAD + sum(len(word.encode("utf-8", "replace")) for word in words)

    def inspected(self) -> dict[str, Any]:
        """Return what `GET /exec/{id}/json` tells (Engine API, ExecInspect)."""
        program, *arguments = self.options.command
        return {
            "ID": self.id,
            "Running": self.started and self.code is None,
            "ExitCode": self.code,
            "ProcessConfig": {
                "tty": self.options.terminal,
                "entrypoint": program,
                "arguments": arguments,
                "privileged": self.options.privileged,
                **({"user": self.options.user} if self.options.user else {}),
            },
            "OpenStdin": self.streams[0],
            "OpenStdout": self.streams[1],
            "OpenStderr": self.streams[2],
            "CanRemove": False,
            "ContainerID": self.container,
            "DetachKeys": "",
            "Pid": self.pid,
        }


class Execs:
    """The programs that this server knows."""

    def __init__(self) -> None:
        self._known: dict[str, Exec] = {}  # the oldest first
        self._bytes = 0

    def add(self, made: Exec) -> None:
        """Record a program; drop those that nobody has started for long and, when there are too many, the oldest that have
        ended. Only when all need too much memory others are dropped that have not been started."""
        self._expire()
        self._known[made.id] = made
        self._bytes += made.bytes
        if len(self._known) > _KEPT or self._bytes > _BYTES:
            ended = [each for each in self._known.values() if each.code is not None]
            excess = len(ended) - _KEPT
            for at, each in enumerate(ended):
                if at < excess or self._bytes > _BYTES:
                    self._drop(each)
            for each in list(self._known.values()) if self._bytes > _BYTES else ():
                if self._bytes > _BYTES and not each.started and each is not made:
                    self._drop(each)

    def _expire(self) -> None:
        before = time.monotonic() - _UNSTARTED
        old = []
        for each in self._known.values():
            if each.created > before:
                break
            if not each.started:
                old.append(each)
        for each in old:
            self._drop(each)

    def _drop(self, each: Exec) -> None:
        del self._known[each.id]
        self._bytes -= each.bytes

    def get(self, name: str) -> Exec:
        """Return a program by its id. Raises NotFound."""
        self._expire()
        found = self._known.get(name)
        if found is None:
            raise NotFound(f"No such exec instance: {name}")
        return found

    @property
    def running(self) -> bool:
        """Whether a program runs: how it ends, nobody else will know."""
        return any(each.started and each.code is None for each in self._known.values())
