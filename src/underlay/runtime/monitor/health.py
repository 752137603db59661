"""The health checks of a container, carried out by its monitor: a process that it forks for each runs the program.

The monitor never waits for one: what the process reports comes through a pipe. Rules and numbers are docker's
(dockerd reference, HEALTHCHECK).
"""

from __future__ import annotations

import os
import select
import time

from ...files import write_atomic
from ...lean.jsontext import dumps, known
from . import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ..process.join import Joined
    from .records import Health, HealthSettings, Probe

_FILE = "health.json"
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_KEPT = 5  # checks
_OUTPUT = 4096  # bytes of output that are kept
_PATIENCE = 10.0  # seconds beyond the timeout in which the process must have reported
_GRACE = 0.2  # seconds to read what is left when others still hold the program's pipes


class HealthChecks:
    """The checks of one run; `note` is called with the new word when the health has changed."""

    __slots__ = (
        "_began",
        "_deadline",
        "_directory",
        "_health",
        "_next",
        "_note",
        "_paused",
        "_poll",
        "_prepared",
        "_process",
        "_report",
        "_settings",
        "_started",
        "_text",
    )

    def __init__(
        self, poll: select.poll, settings: HealthSettings, directory: str, started: int, note: Callable[[str], None]
    ) -> None:
        self._poll = poll
        self._settings = settings
        self._directory = directory
        self._started = started  # ns since the epoch
        self._note = note
        self._health: Health = {"status": STARTING, "streak": 0, "log": []}
        self._process = 0  # that runs the check which is on its way
        self._report = -1  # the pipe from it
        self._text = b""
        self._began = 0
        self._deadline = 0.0
        self._prepared = False
        self._paused = False
        self._next = 0.0
        self._schedule()
        self._write()

    def wait(self) -> float:
        """Return the seconds until something is to be done, -1 for nothing."""
        if self._process:
            return max(0.0, self._deadline - time.monotonic())
        return -1.0 if self._paused else max(0.0, self._next - time.monotonic())

    def pause(self, paused: bool) -> None:
        """Begin no checks while the container is paused."""
        self._paused = paused
        self._schedule()

    def turn(self) -> None:
        """Begin a check when it is time; end one whose process does not even keep its own time."""
        now = time.monotonic()
        if self._process:
            if now >= self._deadline:
                self.close()
                self._conclude(-1, "the health check could not be ended in time")
            return
        if self._paused or now < self._next:
            return
        from .. import drivers

        if not self._prepared:
            drivers.prepare(self._settings["exec"])
            self._prepared = True
        self._began = time.time_ns()
        self._deadline = now + self._settings["timeout"] + _PATIENCE
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            self._conclude(-1, f"the health check could not be started: {error.strerror}")
            return
        if pid == 0:
            _check(drivers.begin, self._settings, writing)
        os.close(writing)
        os.set_blocking(reading, False)
        self._process, self._report, self._text = pid, reading, b""
        self._poll.register(reading, select.POLLIN)

    def handle(self, fd: int) -> bool:
        """Read what the process reports; returns False when the descriptor is not its pipe."""
        if fd != self._report or fd < 0:
            return False
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        if data:
            self._text += data
            return True
        text = self._text
        self.close()
        try:
            found = known(text)
            code, output = int(found["code"]), str(found["output"])
        except (ValueError, KeyError, TypeError):
            code, output = -1, "the process that runs the health check was killed"
        self._conclude(code, output)
        return True

    def _conclude(self, code: int, output: str) -> None:
        probe: Probe = {"start": self._began, "end": time.time_ns(), "code": code, "output": output}
        before, streak = self._health["status"], self._health["streak"]
        after = before
        if probe["code"] == 0:
            after, streak = HEALTHY, 0
        elif before != STARTING or probe["start"] - self._started >= self._settings["start_period"] * 1e9:
            streak += 1
            if streak >= self._settings["retries"]:
                after = UNHEALTHY
        self._health = {"status": after, "streak": streak, "log": [*self._health["log"], probe][-_KEPT:]}
        self._write()
        self._schedule()
        if after != before:
            self._note(after)

    def _schedule(self) -> None:
        within = time.time_ns() - self._started < self._settings["start_period"] * 1e9
        often = within and self._health["status"] == STARTING
        self._next = time.monotonic() + self._settings["start_interval" if often else "interval"]

    def _write(self) -> None:
        try:
            write_atomic(f"{self._directory}/{_FILE}", dumps(self._health).encode(), durable=False)
        except OSError:
            pass  # no room: the next check tries again

    def close(self) -> None:
        """End the check that is on its way: its program ends with the container, or has ended."""
        if not self._process:
            return
        self._poll.unregister(self._report)
        os.close(self._report)
        try:
            os.kill(self._process, 9)
            os.waitpid(self._process, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        self._process, self._report = 0, -1


def _check(begin: Callable[..., Joined], settings: HealthSettings, report: int) -> NoReturn:
    """In a process of its own: run the program, and write its exit code and output to the pipe `report`."""
    code, output = -1, ""
    try:
        os.setsid()
        # The monitor's locks and connections must not outlive it here.
        from ...linux import process

        process.close_from(3, (report,))
        code, output = _outcome(begin(settings["exec"]), settings["timeout"])
    except BaseException as error:
        output = str(error) or type(error).__name__
    finally:
        try:
            data = dumps({"code": code, "output": output}).encode()
            while data:
                data = data[os.write(report, data) :]
        finally:
            os._exit(0)


def _outcome(joined: Joined, timeout: float) -> tuple[int, str]:
    """Return the exit code and output of a program; it is killed when it takes too long."""
    import _signal

    deadline = time.monotonic() + timeout
    poll = select.poll()
    outputs = [fd for fd, _ in joined.outputs]
    # The program of a machine is nobody's child here: who keeps it tells its end.
    keeper = joined.keeper
    end = joined.pidfd if keeper is None else keeper.fileno()
    for fd in (*outputs, end):
        poll.register(fd, select.POLLIN)
    output = b""
    ended = False
    while not ended or outputs:
        left = deadline - time.monotonic()
        ready = poll.poll(max(0.0, left) * 1000)
        if not ready:
            break
        for fd, _ in ready:
            if fd == end:
                poll.unregister(fd)
                ended = True
                deadline = min(deadline, time.monotonic() + _GRACE)
                continue
            data = os.read(fd, 1 << 16)
            if len(output) <= _OUTPUT:
                output += data
            if not data:
                poll.unregister(fd)
                outputs.remove(fd)
    text = output[:_OUTPUT].decode("utf-8", "replace") + ("..." if len(output) > _OUTPUT else "")
    if ended and keeper is not None:
        told = control.receive(keeper)[0] or {}
        return told.get("exited", -1), text
    if ended:
        code = os.waitstatus_to_exitcode(os.waitpid(joined.pid, 0)[1])
        return (code if code >= 0 else 128 - code), text
    if keeper is not None:
        control.send(keeper, {"signal": 9})
    else:
        _signal.pidfd_send_signal(joined.pidfd, 9)
    message = f"Health check exceeded timeout ({timeout:g}s)"
    return -1, f"{message}: {text}" if text else message
