"""Locks between processes: what becomes of one of which another process has a copy of the descriptor."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from underlay.files import Lock


@pytest.mark.parametrize("shared", [True, False])
def test_a_lock_ends_for_those_who_have_copies_too(tmp_path: Path, shared: bool) -> None:
    path = str(tmp_path / "lock")
    for end, free in (("release", False), ("end", True)):
        lock = Lock(path, shared=shared)
        lock.acquire()
        with subprocess.Popen(["sleep", "600"], pass_fds=[lock.fd]) as copied:
            try:
                getattr(lock, end)()
                other = Lock(path)
                assert other.acquire(wait=False) is free
                other.release()
                getattr(lock, end)()  # harmless when repeated
            finally:
                copied.kill()
