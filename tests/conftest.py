"""For all tests: hypothesis draws the same examples each time, no test leaves a network on this host, and the run as a
whole leaves nothing on it.

A run tells of the change and not of luck; HYPOTHESIS_PROFILE=default draws anew, for those who hunt. What several tests
share is in tests/support.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import hoststate
import testtimes

# Only tests that make a host of their own have networks: none is left on this one.
os.environ.setdefault("UNDERLAY_NETWORK", "none")
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

_leftovers = pytest.StashKey[hoststate.Leftovers]()
_lines = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Look at the host before the run; UNDERLAY_SHARED_HOST=1 says that others work on it meanwhile."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(testtimes.Times())
    if not hasattr(config, "workerinput") and not os.environ.get("UNDERLAY_SHARED_HOST"):
        trace = Path(tempfile.mkdtemp(prefix="pytest-of-hoststate-")) / "trace"
        config.stash[_leftovers] = hoststate.Leftovers(trace)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note what comes to the host during a test."""
    before = hoststate.cheap()
    result = yield
    hoststate.note(item.nodeid, before)
    return result


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when the host is not as it was before."""
    leftovers = session.config.stash.get(_leftovers, None)
    if leftovers is None:
        return
    lines = leftovers.settled()
    shutil.rmtree(leftovers.trace.parent, ignore_errors=True)
    session.config.stash[_lines] = lines
    if lines:
        session.exitstatus = max(int(session.exitstatus), 1)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print what was left last of all: it is the reason why a run failed whose tests have passed."""
    for line in config.stash.get(_lines, []):
        print(line)
