"""Directories of volumes: each is there exactly as long as its row, but for a crash between."""

from __future__ import annotations

import os

from ..files import sync_directory
from ..linux import userns
from .rows import volumes as rows
from .scratch import Scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..paths import Paths
    from .rows.meta import Meta

DISK = "disk"  # in a volume's directory: the file system of one with a size limit


def make_directory(path: str, size: int = 0) -> None:
    """Make the directory of a new volume, durably; to be called in the transaction that records it.

    With `size` (bytes) it gets a file with a file system of that size, which `volumeoptions.mount_of` mounts.

    One that is there belongs to a volume whose row is gone: its files are on their way out, and go first.
    """
    if os.path.lexists(path):
        userns.remove_tree(path)
    os.makedirs(path + "/_data", mode=0o755)
    os.chmod(path + "/_data", 0o755)
    if size:
        from .rootfs import ext4

        ext4.write(f"{path}/{DISK}", size)
    sync_directory(path)
    sync_directory(os.path.dirname(path))


def remove_directories(paths: Paths, meta: Meta, names: Iterable[str]) -> None:
    """Remove the directories of volumes that have no row, if they are still there. Raises OSError.

    They are moved away in one transaction first: a volume that is made with the same name meanwhile keeps its own, and of
    several processes only one removes a directory.
    """
    with Scratch(paths, "gone") as scratch, meta.write(durable=False):
        for name in names:
            if rows.exists(meta, name):
                continue
            try:
                os.rename(f"{paths.root}/volumes/{name}", f"{scratch.path}/{name}")
            except FileNotFoundError:
                pass  # another process was faster
