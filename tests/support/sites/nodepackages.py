"""Packages of npm for tests, installed at the first run into the cache directory of this user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def node_packages(kind: str, *packages: str) -> Path:
    """Return the directory of packages, each with its version, installed without running their scripts; skips the test
    where they cannot be had. `kind` is a part of the directory's name."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no node or no npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "underlay-tests"
    place = cache / "-".join([kind, *(name.rpartition("@")[2] for name in packages)])
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            words = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
            words += ["--cache", f"{made}/cache", "--prefix", made, *packages]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
            except subprocess.TimeoutExpired:
                pytest.skip("npm takes too long to install the packages")
            if done.returncode:
                pytest.skip(f"npm cannot install the packages: {done.stderr[-300:]}")
            try:
                (Path(made) / "node_modules").rename(place)
            except OSError:
                assert place.exists()  # another run was faster
    return place
