"""Tells what the images of a scan stand on, in workers of this machine: they read the file and ask its indexes of bases."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import NamedTuple

import msgspec

from ...errors import NotFound, UnderlayError
from ...oci import config as configs
from ...oci import manifest as manifests
from ...version import __version__
from .. import DATA
from . import facts
from .database import ScanFile, key_of
from .work import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...packages.installed import Inventory
    from ...store.store import Store
    from ..index.known import Known


def judge(store: Store) -> str:
    """Return what stands for the indexes of bases that an installation has: another value for other indexes."""
    from ..identify import identify

    found = hashlib.sha256(__version__.encode())
    for path in (f"{identify.directory(store)}/known.bases", f"{DATA}/known.bases"):
        if os.path.exists(path):
            with open(path, "rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        found.update(b"/")
    return found.hexdigest()[:32]


class Settling(NamedTuple):
    """Images of a `scan` (path) of which is to be told what they stand on and what is installed: the number of each, a
    name, the digests of its manifest and configuration, and its layers' diff ids, each with whether it tells anything."""

    place: Place
    scan: str
    images: tuple[tuple[int, str, str, str, tuple[tuple[str, bool], ...]], ...]


class Settled(NamedTuple):
    """What an image stands on (its `base`, the `chain` of that down; `standing`: JSON of a `policy.Standing`), the key of
    what is installed in it, and of that in its base ("" if that is not known); or a `problem`."""

    image: int
    base: str = ""
    standing: str = ""
    inventory: str = ""
    below: str = ""
    problem: str = ""
    chain: tuple[str, ...] = ()


def settle(task: Settling) -> tuple[list[Settled], dict[str, Inventory]]:
    """Tell what images stand on; returns inventories that are not in the scan, too, by their keys."""
    from ..identify import identify

    store = task.place.store()
    made: dict[str, Inventory] = {}
    done = []
    with ScanFile(task.scan) as scan:
        unpacked = functools.cache(lambda diff_id: facts.unpack(scan.facts(diff_id) or b""))

        def installed(layers: Sequence[tuple[str, bool]]) -> tuple[str, Inventory]:
            telling = [diff_id for diff_id, tells in layers if tells]
            key = key_of(telling)
            if key in made:
                return key, made[key]
            number = scan.inventory_id(key)
            if number:
                return key, scan.inventory(number)
            made[key] = facts.inventory(store.paths, [unpacked(diff_id) for diff_id in telling])
            return key, made[key]

        indexes = identify.indexes(store)
        for number, name, manifest, config, layers in task.images:
            try:
                done.append(_settled(store, scan, number, name, manifest, config, layers, installed, indexes))
            except UnderlayError as error:
                done.append(Settled(number, problem=error.message))
    store.close()
    return done, made


def _settled(
    store: Store,
    scan: ScanFile,
    number: int,
    name: str,
    manifest: str,
    config: str,
    layers: Sequence[tuple[str, bool]],
    installed: Callable[[Sequence[tuple[str, bool]]], tuple[str, Inventory]],
    indexes: list[Known],
) -> Settled:
    from ..fleet import fleet, outdated
    from ..identify import identify, image_source

    data, text = scan.document(manifest), scan.document(config)
    if data is None or text is None:
        raise NotFound(f"the file of the scan lacks the manifest or the configuration of {name}")
    read_manifest = manifests.read_manifest(data, f"manifest {manifest}")
    read_config = configs.read(text, f"configuration {config}")
    subject = image_source.Subject(store, name, image_source.REGISTRY, read_config, read_manifest)
    identified = identify.identify(store, subject, among=indexes)
    key, inventory = installed(layers)
    age = outdated.of_identified(store, subject, identified, offline=True, release=inventory.release)
    standing = fleet.of_identified(subject, identified, age, inventory.release)
    below = ""
    if identified.base is not None and identified.base.layers:
        below, _ = installed(layers[: identified.base.layers])
    told = msgspec.json.encode(standing).decode()
    return Settled(number, standing.base, told, key, below, chain=standing.chain)
