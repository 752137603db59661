"""Garbage collection: removes layers, blobs and indexes that no row refers to, and leftovers of dead processes.

The sweep holds the store's lock alone, so nothing is being brought in while it looks (`store.leases`). Rows
go before bytes. When another process uses the store it leaves a note, and the last worker sweeps.
"""

from __future__ import annotations

import os

from .. import trees
from ..oci import chain as chains
from . import blobs, layers, leases, partials, rootfs
from .rows import images
from .rows import layers as layer_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..paths import Paths
    from .rows.meta import Meta


_NOTE = "/sweep-wanted"


class Swept:
    """What a sweep did: `layers` (diff ids removed), `bytes` freed on disk, `deferred` when another process
    used the store."""

    __slots__ = ("bytes", "deferred", "layers")

    def __init__(self, deferred: bool = False) -> None:
        self.layers: list[str] = []
        self.bytes = 0
        self.deferred = deferred


def sweep(paths: Paths, meta: Meta, thorough: bool = False) -> Swept:
    """Remove data that no image and no container uses; harmless when there is none. Raises OSError.

    What interrupted pulls have left is kept for a day, unless the sweep is `thorough`.
    """
    lock = leases.sweeping(paths)
    if not lock.acquire(wait=False):
        ask(paths)
        return Swept(deferred=True)
    try:
        try:
            os.unlink(paths.root + _NOTE)
        except FileNotFoundError:
            pass
        return _sweep(paths, meta, thorough)
    finally:
        lock.release()


def sweep_if_asked(paths: Paths, meta: Meta) -> None:
    """Sweep when a sweep had to be put off, or when the last container of an image that was forced away has gone.

    For workers to call after they have given the store's lock back.
    """
    if os.path.exists(paths.root + _NOTE) or images.any_abandoned(meta):
        sweep(paths, meta)


def ask(paths: Paths) -> None:
    """Record a request for a sweep, in a file that outlives this process."""
    os.close(os.open(paths.root + _NOTE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _sweep(paths: Paths, meta: Meta, thorough: bool) -> Swept:
    swept = Swept()
    layer_rows.forget_unwanted(meta, thorough)
    wanted_layers, wanted_chains, wanted_blobs = marked(meta)
    busy = False
    for chain in chains_here(paths):
        if chain not in wanted_chains:
            size = _chain_size(paths, chain)
            if rootfs.remove(paths, chain):
                swept.bytes += size
                _forget_locks(paths, ("chain-", "use-"), chain.partition(":")[2])
            else:
                # A process that will soon be gone still has it mounted; its layers wait for the next sweep as
                # well.
                busy = True
    if busy:
        ask(paths)
    else:
        for diff_id in layers.list_all(paths):
            if diff_id not in wanted_layers:
                size = layers.size_on_disk(paths, diff_id)
                if layers.remove(paths, diff_id):
                    swept.layers.append(diff_id)
                    swept.bytes += size
    for digest, size in list(blobs.every(paths)):
        if digest not in wanted_blobs:
            blobs.remove(paths, digest)
            swept.bytes += size
    meta.keep_reserve()
    swept.bytes += _leftovers(paths) + partials.expire(paths, everything=thorough)
    # No process adds content now, so none holds or awaits these.
    _forget_locks(paths, ("layer-", "content-", "build-"), "")
    return swept


def marked(meta: Meta) -> tuple[set[str], set[str], set[str]]:
    """Return the layers, chains (of every prefix, as trees build on each other) and blobs that rows refer to."""
    wanted_chains: set[str] = set()
    for chain, diff_ids in images.chains(meta):
        wanted_chains.add(chain)
        wanted_chains.update(chains.chain_ids(diff_ids))
    return layer_rows.wanted(meta), wanted_chains, images.wanted_blobs(meta) | layer_rows.kept_blobs(meta)


def chains_here(paths: Paths) -> list[str]:
    """Return the chain ids that have an index or a tree."""
    chain_ids = set()
    for directory in (paths.indexes, paths.trees):
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        for name in names:
            digits = name.removesuffix(".erofs")
            if len(digits) == 64 and not digits.strip("0123456789abcdef"):
                chain_ids.add("sha256:" + digits)
    return sorted(chain_ids)


def unused_bytes(paths: Paths, meta: Meta) -> int:
    """Return about how many bytes a sweep would free."""
    wanted_layers, wanted_chains, wanted_blobs = marked(meta)
    total = sum(layers.size_on_disk(paths, d) for d in layers.list_all(paths) if d not in wanted_layers)
    total += sum(size for digest, size in blobs.every(paths) if digest not in wanted_blobs)
    return total + sum(_chain_size(paths, chain) for chain in chains_here(paths) if chain not in wanted_chains)


def freed_by(paths: Paths, meta: Meta, removed: set[str], kept: set[str]) -> int:
    """Return about how many bytes of layers and chains a thorough sweep would free without the images `removed` (ids).

    `kept` are layers (diff ids) that stay all the same. Partial downloads do not count.
    """
    stays = [image for image in images.all_layers(meta) if image[0] not in removed]
    wanted_layers = kept.union(*(diff_ids for _, diff_ids in stays))
    wanted_chains = {chain for _, diff_ids in stays for chain in chains.chain_ids(diff_ids)}
    total = 0
    for diff_id in layers.list_all(paths):
        if diff_id not in wanted_layers:
            total += layers.size_on_disk(paths, diff_id)
    total += sum(_chain_size(paths, chain) for chain in chains_here(paths) if chain not in wanted_chains)
    named = images.wanted_blobs(meta) | layer_rows.kept_blobs(meta)
    return total + sum(size for digest, size in blobs.every(paths) if digest not in named)


def _chain_size(paths: Paths, chain: str) -> int:
    digits = chain.partition(":")[2]
    try:
        return os.stat(f"{paths.indexes}/{digits}.erofs").st_blocks * 512
    except FileNotFoundError:
        return trees.size(f"{paths.trees}/{digits}")


def _leftovers(paths: Paths) -> int:
    before = trees.size(paths.temporary)
    layers.remove_leftovers(paths)
    blobs.remove_leftovers(paths)
    return max(0, before - trees.size(paths.temporary))


def _forget_locks(paths: Paths, kinds: tuple[str, ...], digits: str) -> None:
    try:
        names = os.listdir(paths.locks)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(kinds) and name.endswith(digits):
            os.unlink(f"{paths.locks}/{name}")
