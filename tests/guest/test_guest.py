"""What this host's kernel lacks or has otherwise, in a QEMU guest with stock Debian kernels.

The system tests themselves run there: cgroup version 2 with the device filter, kernels that cannot mount EROFS from a
file, an unprivileged user with subordinate ids and a delegated group.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines import REPOSITORY, SHARED

GUEST_RUN = SHARED / "tools" / "guest-run"
GUEST_PYTHON = "3.13"  # of the guest's Debian release
SLOW = 40  # seconds; a guest that does nothing takes some 5
BASIC = "exit_codes or namespaces or capabilities_seccomp or devices or users_by_name or bind_mounts or masked"

pytestmark = [
    pytest.mark.guest,
    pytest.mark.timeout(1200),  # the first one fetches the kernels
    pytest.mark.skipif(not GUEST_RUN.exists(), reason="no guest-run beside the checkout"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to build the guest"),
]


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to be copied into guests: the sources, the tests, and the dependencies for the guest's Python."""
    place = tmp_path_factory.mktemp("share")
    for name in ("src", "tests"):
        shutil.copytree(REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", place)
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--target", place / "site"]
    command += ["--python-version", GUEST_PYTHON, "--only-binary=:all:"]
    packages = ["msgspec", "backports-zstd", "isal", "rich", "pytest", "hypothesis"]
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
    return place


def in_guest(share: Path, kernel: str, words: list[str], user: str = "root", seconds: int = 400) -> str:
    """Run pytest in a guest; returns its output. Fails when a test fails there, skips when no guest can be had."""
    command = [str(GUEST_RUN), "--kernel", kernel, "--share", str(share), "--user", user, "--timeout", str(seconds)]
    inside = ["env", "PYTHONPATH=src:site", "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp", "python3", "-m", "pytest"]
    inside += ["-q", "-rs", "-p", "no:cacheprovider", "--tb=short", "--basetemp=/tmp/tests", *words]
    done = subprocess.run([*command, "--", *inside], capture_output=True, text=True, timeout=seconds + 300)
    if done.returncode == 125:
        pytest.skip(f"no guest can be had here: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def test_cgroup_version_2(share: Path) -> None:
    words = ["tests/system/test_run.py", "tests/system/test_lifecycle.py"]
    chosen = f"{BASIC} or limit or memory or pause or exec or killed_monitor or privileged or sysctl"
    out = in_guest(share, "trixie", [*words, "-k", chosen])
    assert " passed" in out and "failed" not in out


def test_the_runtime_with_cgroup_version_2(share: Path) -> None:
    """The specification and the commands of the runtime's program."""
    words = ["tests/system/test_runtime_specification.py", "tests/system/test_runtime_commands.py"]
    out = in_guest(share, "trixie", words)
    assert " passed" in out and "failed" not in out


def test_limits_with_cgroup_version_2(share: Path) -> None:
    """Every limit is exceeded for real, and changed while the container runs."""
    words = ["tests/unit/linux/test_cgroup.py", "tests/system/test_limits.py"]
    words += ["tests/system/test_update.py", "tests/system/test_stats.py", "tests/system/test_top.py"]
    out = in_guest(share, "trixie", words, seconds=800)
    assert " passed" in out and "failed" not in out


@pytest.mark.parametrize("kernel", ["bullseye", "bookworm", "trixie-backports"])
def test_older_and_newer_kernels(share: Path, kernel: str) -> None:
    out = in_guest(share, kernel, ["tests/system/test_run.py", "-k", BASIC])
    assert " passed" in out and "failed" not in out


def test_unprivileged_user_with_subordinate_ids(share: Path) -> None:
    out = in_guest(share, "trixie", ["tests/guest/inside_rootless.py"], user="tester")
    assert " passed" in out and "failed" not in out and "skipped" not in out


def test_unprivileged_user_with_one_id(share: Path) -> None:
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [str(GUEST_RUN), "--kernel", "trixie", "--share", str(share), "--timeout", "200", "--", *words]
    command += ["env", "PYTHONPATH=src:site", "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp", "python3", "-m", "pytest", "-q"]
    command += ["-p", "no:cacheprovider", "--tb=short", "--basetemp=/tmp/tests", "tests/guest/inside_rootless.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode == 125:
        pytest.skip(f"no guest can be had here: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert "1 skipped" in done.stdout


def test_user_namespaces_with_cgroup_version_2(share: Path) -> None:
    """On a kernel whose overlays take no layers that are not attached."""
    out = in_guest(share, "trixie", ["tests/system/test_userns.py"], seconds=600)
    assert " passed" in out and "failed" not in out


def test_disk_limits_by_quota(share: Path) -> None:
    """Project quotas of ext4, which this host's kernel may lack."""
    out = in_guest(share, "trixie", ["tests/system/test_disk_limit.py"], seconds=600)
    assert " passed" in out and "failed" not in out and "[quota" not in out.partition("short test summary")[2]


def test_apparmor(share: Path) -> None:
    out = in_guest(share, "trixie", ["tests/guest/inside_apparmor.py"])
    assert " passed" in out and "failed" not in out and "skipped" not in out


def test_confinement_on_the_oldest_kernel(share: Path) -> None:
    """Without Landlock; memory that needs no leave to be executed; a filter's agent."""
    out = in_guest(share, "bullseye", ["tests/system/test_confinement.py"])
    assert " passed" in out and "failed" not in out
