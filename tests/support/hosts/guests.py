"""Running pytest in a QEMU guest with a stock Debian kernel."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from engines import SHARED

GUEST_RUN = SHARED / "tools" / "guest-run"
# Files of tests/system of which some run in guests.
SYSTEM = (
    "test_base_fit test_fit_exam test_confinement test_disk_limit test_lifecycle test_limits test_network_parents "
    "test_networks test_other_runtimes test_run test_update test_runtime_commands test_runtime_mounts "
    "test_runtime_specification test_user_namespaces"
).split()
PYTEST = "env PYTHONPATH=src:site HOME=/tmp python3 -m pytest -q -rs -p no:cacheprovider --tb=short".split()
PYTEST.append("--basetemp=/tmp/pytest-of-guest")
MARKS = [
    pytest.mark.guest,
    pytest.mark.timeout(1200),  # the first one fetches the kernels
    pytest.mark.skipif(not GUEST_RUN.exists(), reason="no guest-run beside the checkout"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to build the guest"),
]


def system(file: str, names: str) -> list[str]:
    """Return the tests of these names in `tests/system/test_<file>.py`, all their parameters if none is named."""
    return [f"tests/system/test_{file}.py::test_{name}" for name in names.split()]


def in_guest(share: Path, kernel: str, words: list[str], user: str = "root", seconds: int = 400) -> str:
    """Run pytest in a guest; returns its output. Fails when a test fails there, skips when no guest can be had."""
    command = [str(GUEST_RUN), "--kernel", kernel, "--share", str(share), "--user", user, "--timeout", str(seconds)]
    done = subprocess.run([*command, "--", *PYTEST, *words], capture_output=True, text=True, timeout=seconds + 300)
    if done.returncode == 125:
        pytest.skip(f"no guest can be had here: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def compiled(share: Path) -> None:
    """Put byte code of the guest's interpreter beside the sources of a directory: compiling is what takes longest there.

    Pytest keeps its own of each test. Without this everything works as well, and takes longer.
    """
    tests = ["tests/guest/inside_*.py", *(f"tests/system/{name}.py" for name in SYSTEM)]
    script = f"{' '.join(PYTEST)} --collect-only {' '.join(tests)}; python3 -m compileall -q src site; "
    script += "tar -c -f /out/bytecode.tar $(find . -name __pycache__)"
    with tempfile.TemporaryDirectory() as out:
        command = [str(GUEST_RUN), "--share", str(share), "--out", out, "--timeout", "300", "--", "sh", "-c", script]
        subprocess.run(command, capture_output=True, timeout=400)
        if os.path.exists(f"{out}/bytecode.tar"):
            with tarfile.open(f"{out}/bytecode.tar") as archive:
                archive.extractall(share, filter="data")
