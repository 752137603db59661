"""The confirmation prompt before something is removed."""

from __future__ import annotations

import sys


def confirmed(warning: str) -> bool:
    """Show `warning`, ask, and return whether the answer was yes; no answer is no."""
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
