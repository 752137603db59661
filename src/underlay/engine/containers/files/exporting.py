"""`export`: a container's root as one tar, without what is mounted in it."""

from __future__ import annotations

import os

from ....events import Event
from . import rootview
from .members import Tree, write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ....store.rows.containers import ContainerRow
    from ....store.store import Store


def export(store: Store, row: ContainerRow, target: int) -> int:
    """Write the root file system of a container as a tar to a descriptor; returns its bytes.

    Volumes and directories of the host are left out, as docker does; their mount points stay. Raises KernelError, OSError.
    """
    if "machine" in row.intent:
        from . import inmachine

        size = inmachine.export(store, row, target)
        store.emit(Event("container.export", row.id))
        return size
    maps = rootview.maps(row)

    def work(root: int) -> Mapping[str, Any]:
        tree = Tree(root, "/", b"", attributes=True, maps=maps, one_device=True)
        tree.rename("")
        try:
            with os.fdopen(os.dup(target), "wb") as stream:
                return {"size": write_tar(tree.members(), stream)}
        finally:
            tree.close()

    written = int(rootview.within(store, row, work, (target,))["size"])
    store.emit(Event("container.export", row.id))
    return written
