"""Directories of volumes."""

from __future__ import annotations

import os

from ..files import sync_directory
from ..linux import userns


def make_directory(path: str) -> None:
    """Make the directory of a new volume, durably; to be called in the transaction that records it.

    One that is there belongs to a volume whose row is gone: its files are on their way out, and go first.
    """
    if os.path.lexists(path):
        userns.remove_tree(path)
    os.makedirs(path + "/_data", mode=0o755)
    os.chmod(path + "/_data", 0o755)
    sync_directory(path)
    sync_directory(os.path.dirname(path))
