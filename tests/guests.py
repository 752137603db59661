"""Running pytest in a QEMU guest with a stock Debian kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engines import SHARED

GUEST_RUN = SHARED / "tools" / "guest-run"
MARKS = [
    pytest.mark.guest,
    pytest.mark.timeout(1200),  # the first one fetches the kernels
    pytest.mark.skipif(not GUEST_RUN.exists(), reason="no guest-run beside the checkout"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to build the guest"),
]


def in_guest(share: Path, kernel: str, words: list[str], user: str = "root", seconds: int = 400) -> str:
    """Run pytest in a guest; returns its output. Fails when a test fails there, skips when no guest can be had."""
    command = [str(GUEST_RUN), "--kernel", kernel, "--share", str(share), "--user", user, "--timeout", str(seconds)]
    # Byte code is kept for the guest's own interpreter: compiling is what takes longest on an emulated processor.
    inside = ["env", "PYTHONPATH=src:site", "PYTHONPYCACHEPREFIX=/tmp/bytecode", "HOME=/tmp", "python3", "-m", "pytest"]
    inside += ["-q", "-rs", "-p", "no:cacheprovider", "--tb=short", "--basetemp=/tmp/tests", *words]
    done = subprocess.run([*command, "--", *inside], capture_output=True, text=True, timeout=seconds + 300)
    if done.returncode == 125:
        pytest.skip(f"no guest can be had here: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout
