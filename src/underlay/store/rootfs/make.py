"""Makes what `rootfs` mounts, the EROFS index of a chain or a directory tree for each layer, and removes it."""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack

from ...files import Lock, sync_directory
from ...linux import userns
from ...oci.chain import chain_ids
from .. import layers, rootfs
from ..layers import intake
from ..layers.merge import difference, merge
from ..scratch import Scratch, ensure
from . import erofs, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...paths import Paths
    from ..layers.merge import Change, Tree


def index(paths: Paths, diff_ids: Sequence[str], index_path: str, lock: str) -> None:
    """Write the merged index of the layers to `index_path`, under the lock file `lock`, unless it is there."""
    with Lock(lock):
        if os.path.exists(index_path):
            return
        merged, devices = _merged(paths, diff_ids)
        with Scratch(paths, "index") as scratch:
            made = f"{scratch.path}/index"
            erofs.write_index(made, merged, devices)
            intake.sync_file(made)
            ensure(paths.indexes)
            os.rename(made, index_path)
        sync_directory(paths.indexes)


def is_index(paths: Paths, diff_ids: Sequence[str], index_path: str) -> bool:
    """Tell whether the file `index_path` is the merged index of the layers; nothing is written, so a full disk may be."""
    return erofs.is_index(index_path, *_merged(paths, diff_ids))


def _merged(paths: Paths, diff_ids: Sequence[str]) -> tuple[Tree, list[erofs.Device]]:
    merged = merge(layers.read_toc(paths, diff_id) for diff_id in diff_ids)
    devices = []
    for number, part, path in rootfs.devices(paths, diff_ids):
        digits = os.path.basename(os.path.dirname(path))
        tag = digits if part == 0 else digits[:57] + ".sparse"
        devices.append(erofs.Device(number, part, os.stat(path).st_size, tag.encode()))
    return merged, devices


def trees(paths: Paths, diff_ids: Sequence[str], owner: tree.Owner | None) -> None:
    """Write the trees of all prefixes of the chain that are missing.

    Their locks are taken lowest first, and all are kept until one sync makes the trees durable together:
    syncing some ten thousand files one by one would take minutes on a disk.
    """
    ids = [*chain_ids(diff_ids)] or [rootfs.EMPTY_CHAIN]
    chains = [chain.partition(":")[2] for chain in ids]
    first = next((n for n, digits in enumerate(chains) if not _there(paths, digits)), len(chains))
    merged = merge(layers.read_toc(paths, diff_id) for diff_id in diff_ids[:first])
    # In another user namespace root cannot own files as the image says, unless `owner` maps the ids.
    privileged = os.geteuid() == 0 and _initial_user_namespace()
    with ExitStack() as stack:
        made = []
        for number in range(first, len(chains)):
            below = merged.clone()
            merged.apply(layers.read_toc(paths, diff_ids[number]) if diff_ids else [])
            digits = chains[number]
            stack.enter_context(Lock(f"{paths.locks}/chain-{digits}"))
            if _there(paths, digits):
                continue
            tree_directory = f"{stack.enter_context(Scratch(paths, 'tree')).path}/made"
            os.mkdir(tree_directory, 0o700)
            change = difference(below, merged)

            def write(
                directory: str = tree_directory, change: Change = change, owner: tree.Owner | None = owner
            ) -> None:
                tree.write_tree(
                    f"{directory}/root",
                    change,
                    lambda layer, part: layers.open_part(paths, diff_ids[layer], part),
                    userxattr=not privileged,
                    owner=owner or (tree.unchanged if privileged else None),
                )

            if owner is None and os.geteuid() != 0 and userns.has_subordinate_ids():
                # As root of a user namespace that maps them, the files get the owners that the image says.
                userns.as_root(functools.partial(write, owner=_mapped))
            else:
                write()
            with open(f"{tree_directory}/chain", "x", encoding="ascii") as file:
                file.write("\n".join(reversed(chains[: number + 1])))
            made.append((tree_directory, digits))
        os.sync()
        ensure(paths.trees)
        for tree_directory, digits in made:
            os.rename(tree_directory, f"{paths.trees}/{digits}")
        sync_directory(paths.trees)


def _mapped(uid: int, gid: int) -> tuple[int, int]:
    """Return ids that exist in this user namespace: unmapped ids become those of nobody."""
    return (uid if _is_mapped("uid", uid) else 65534), (gid if _is_mapped("gid", gid) else 65534)


@functools.cache
def _ranges(kind: str) -> list[tuple[int, int]]:
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return [(int(first), int(first) + int(count)) for first, _, count in rows]


def _is_mapped(kind: str, number: int) -> bool:
    return any(first <= number < last for first, last in _ranges(kind))


def _there(paths: Paths, digits: str) -> bool:
    return os.path.exists(f"{paths.trees}/{digits}")


def _initial_user_namespace() -> bool:
    """Return whether trusted.* attributes can be used: only in the first user namespace, which maps all ids."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def standing_on(paths: Paths, digits: str) -> list[str]:
    """Return the digits of the other chains whose trees have this chain's tree below them."""
    upper_chains: list[str] = []
    try:
        names = os.listdir(paths.trees)
    except FileNotFoundError:
        return upper_chains
    for name in sorted(names):
        try:
            with open(f"{paths.trees}/{name}/chain", encoding="ascii") as file:
                if name != digits and digits in file.read().split():
                    upper_chains.append(name)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return upper_chains


def discard(paths: Paths, digits: str) -> None:
    """Remove a chain's index and its topmost tree, each in one step for others."""
    with Scratch(paths, "gone") as scratch:
        for directory, name in ((paths.indexes, f"{digits}.erofs"), (paths.trees, digits)):
            try:
                os.rename(f"{directory}/{name}", f"{scratch.path}/{name}")
            except FileNotFoundError:
                continue
            sync_directory(directory)
