"""Building what `rootfs` mounts: a chain's EROFS index, or a tree for each of its layers; taking them away."""

from __future__ import annotations

import os

from ..files import Lock, sync_directory, write_atomic
from ..oci.chain import chain_ids
from . import erofs, layers, rootfs, tree
from .merge import Tree, difference, merge
from .scratch import Scratch, ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..paths import Paths


def index(paths: Paths, diff_ids: Sequence[str], place: str, lock: str) -> None:
    """Write the merged index of the layers to `place`, under the lock file `lock`, unless it is there."""
    with Lock(lock):
        if os.path.exists(place):
            return
        merged = merge(layers.read_toc(paths, diff_id) for diff_id in diff_ids)
        devices = []
        for number, part, path in rootfs.devices(paths, diff_ids):
            digits = os.path.basename(os.path.dirname(path))
            tag = digits if part == 0 else digits[:57] + ".sparse"
            devices.append(erofs.Device(number, part, os.stat(path).st_size, tag.encode()))
        with Scratch(paths, "index") as scratch:
            made = f"{scratch.path}/index"
            erofs.write_index(made, merged, devices)
            layers.sync_file(made)
            ensure(paths.indexes)
            os.rename(made, place)
        sync_directory(paths.indexes)


def trees(paths: Paths, diff_ids: Sequence[str], owner: tree.Owner | None) -> None:
    """Write the trees of all prefixes of the chain that are missing, each under its own lock."""
    chains = [chain.partition(":")[2] for chain in chain_ids(diff_ids)] or [
        rootfs.EMPTY_CHAIN.partition(":")[2]
    ]
    missing = [n for n, digits in enumerate(chains) if not os.path.exists(f"{paths.trees}/{digits}")]
    merged = (
        merge(layers.read_toc(paths, diff_id) for diff_id in diff_ids[: missing[0]]) if missing else Tree()
    )
    for number in range(missing[0], len(chains)) if missing else ():
        below = merged.clone()
        merged.apply(layers.read_toc(paths, diff_ids[number]) if diff_ids else [])
        if number in missing:
            with Lock(f"{paths.locks}/chain-{chains[number]}"):
                if not os.path.exists(f"{paths.trees}/{chains[number]}"):
                    _tree(paths, diff_ids, chains[: number + 1], below, merged, owner)


def _tree(
    paths: Paths,
    diff_ids: Sequence[str],
    chains: list[str],
    below: Tree,
    merged: Tree,
    owner: tree.Owner | None,
) -> None:
    privileged = os.geteuid() == 0
    with Scratch(paths, "tree") as scratch:
        made = f"{scratch.path}/made"
        os.mkdir(made, 0o700)
        tree.write_tree(
            f"{made}/root",
            difference(below, merged),
            lambda layer, part: layers.open_part(paths, diff_ids[layer], part),
            userxattr=not _initial_user_namespace() or not privileged,
            owner=owner or (tree.unchanged if privileged else None),
        )
        write_atomic(f"{made}/chain", "\n".join(reversed(chains)).encode())
        # Syncing some ten thousand files one by one takes minutes on a disk; this takes what there is to
        # write.
        os.sync()
        ensure(paths.trees)
        os.rename(made, f"{paths.trees}/{chains[-1]}")
        sync_directory(paths.trees)


def _initial_user_namespace() -> bool:
    """Tell whether trusted.* attributes can be used: only in the first user namespace, which maps all ids."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def discard(paths: Paths, digits: str) -> None:
    """Remove a chain's index and its topmost tree, each in one step for others."""
    with Scratch(paths, "gone") as scratch:
        for directory, name in ((paths.indexes, f"{digits}.erofs"), (paths.trees, digits)):
            try:
                os.rename(f"{directory}/{name}", f"{scratch.path}/{name}")
            except FileNotFoundError:
                continue
            sync_directory(directory)
