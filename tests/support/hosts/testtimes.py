"""How long the files of tests took, and which tests still ran when a run was interrupted: printed at the end of a run.

On a machine that nobody can look at this is all there is to tell a slow test from one that hangs.
"""

from __future__ import annotations

import time
from collections import defaultdict

import pytest

SHOWN = 25


class Times:
    """A plug-in of pytest; with pytest-xdist, of the process that hands out the tests."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._running: dict[str, float] = {}
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a test began."""
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Count the time of a test for its file."""
        begun = self._running.pop(nodeid, None)
        if begun is not None:
            self._seconds[nodeid.partition("::")[0]] += time.monotonic() - begun

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what took longest, in a run of more than ten minutes, and what had not ended."""
        now = time.monotonic()
        if now - self._begun > 600:
            slowest = sorted(self._seconds.items(), key=lambda file: -file[1])[:SHOWN]
            told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in slowest)
            terminalreporter.write_line(f"files that took longest: {told}")
        for nodeid, begun in self._running.items():
            terminalreporter.write_line(f"interrupted: {nodeid}, after {now - begun:.0f} s")
