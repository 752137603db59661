"""Programs to be run in containers (exec): made by one request, started by another, and remembered for a while."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..errors import NotFound

if TYPE_CHECKING:
    from ..engine.containers.exec import Execution
    from ..engine.options import ExecOptions

_KEPT = 1000  # of those that have ended


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
        self._known: dict[str, Exec] = {}

    def add(self, made: Exec) -> None:
        """Record a program; when there are too many, drop the oldest one that has ended."""
        self._known[made.id] = made
        if len(self._known) > _KEPT:
            ended = (each.id for each in self._known.values() if each.code is not None or not each.started)
            oldest = next(ended, "")
            if oldest != made.id:
                self._known.pop(oldest, None)

    def get(self, name: str) -> Exec:
        """Return a program by its id. Raises NotFound."""
        found = self._known.get(name)
        if found is None:
            raise NotFound(f"No such exec instance: {name}")
        return found

    @property
    def running(self) -> bool:
        """Whether a program runs: how it ends, nobody else will know."""
        return any(each.started and each.code is None for each in self._known.values())
