"""What all guests share: a directory that is copied into each; and when they are started."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines import REPOSITORY
from guests import GUEST_RUN, compiled

GUEST_PYTHON = "3.13"  # of the guest's Debian release
SLOW = 40  # seconds; a guest that does nothing takes some 5


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the first file of guests begin at once, the second when only unit tests are left: one guest at a time."""
    places = {"test_guest_kernels.py": 0, "test_guest_others.py": 2, "test_guest_machines.py": 2}
    items.sort(key=lambda item: places.get(item.path.name, 3 if "/tests/unit/" in str(item.path) else 1))


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to be copied into guests: the sources, the tests, and the dependencies for the guest's Python.

    Made once for all workers of pytest.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    place, draft = base / "share", base / "share-draft"
    with open(base / "share.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if draft.exists():
            pytest.skip("no guest can be had here: the first that was wanted could not be prepared")
        if not place.exists():
            prepare(draft)
            draft.rename(place)
    return place


def prepare(place: Path) -> None:
    """Fill the directory and start a guest that does nothing; skips the test when no guest can be had."""
    place.mkdir(mode=0o755)
    for name in ("src", "tests"):
        shutil.copytree(REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", place)
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--target", place / "site"]
    command += ["--python-version", GUEST_PYTHON, "--only-binary=:all:"]
    packages = ["msgspec", "backports-zstd", "isal", "rich", "dnspython", "aiohttp"]
    packages += ["pytest", "pytest-timeout", "hypothesis"]
    try:
        done = subprocess.run([*command, *packages], capture_output=True, text=True, timeout=240)
        if done.returncode != 0:
            pytest.skip(f"no dependencies for the guest's Python: {done.stderr.strip()[-200:]}")
        # Once for all: packages are fetched, a guest is built and started.
        ready = subprocess.run([GUEST_RUN, "--setup"], capture_output=True, text=True, timeout=600)
        began = time.monotonic()
        if ready.returncode == 0:
            ready = subprocess.run([GUEST_RUN, "--", "true"], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired as error:
        pytest.skip(f"no guest can be had here in time: {error}")
    if ready.returncode != 0:
        pytest.skip(f"no guest can be had here: {ready.stderr.strip()[-300:]}")
    if time.monotonic() - began > SLOW:
        pytest.skip(f"a guest takes {time.monotonic() - began:.0f} s to start here: too slow for the tests in it")
    os.chmod(place, 0o755)
    compiled(place)
