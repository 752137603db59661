"""Learns from a scan: the images of it that others stand on become builds that the index of bases knows."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from ...errors import Corrupt
from ...oci import config as configs
from ...oci import manifest as manifests
from ...oci import reference as references
from ..index import known
from ..index.learn import Index, record_of
from . import lineage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...store.store import Store
    from ..index.learn import Learned
    from .database import ScanFile


class OwnBase(NamedTuple):
    """A build of a scan that others of it stand on: its `names`, and how many `images` (names) stand directly on it."""

    names: tuple[str, ...]
    images: int


def learn(store: Store, scan: ScanFile) -> tuple[Learned, list[OwnBase]]:
    """Add the images that others stand on to the index of an installation, under their tags; returns them, too, those with
    the most on them first. What the shipped index knows is left to that. Raises Corrupt."""
    shipped = known.shipped()
    official = {shipped.config_digest(build) for build in range(len(shipped))}
    names = scan.names()
    counts: Counter[int] = Counter()
    for number, below in lineage.nearest(scan.layers_of_images()).items():
        for each in below:
            counts[each] += len(names[number])
    day = time.strftime("%Y-%m-%d", time.gmtime())
    found = []
    tags = 0
    with Index(store) as index:
        for number, count in sorted(counts.items(), key=lambda item: (-item[1], names[item[0]])):
            manifest, config = scan.digests(number)
            # What is named by its digest alone has no tag that an index could record.
            tagged = [each for each in names[number] if "@" not in each[0]]
            if config in official or not tagged:
                continue
            record = index.of_manifest(manifest) or _record(scan, manifest, config, tagged[0][1])
            for name, _ in tagged:
                reference = references.parse(name)
                index.point(reference.familiar_repository, reference.tag, record, day)
            tags += len(tagged)
            found.append(OwnBase(tuple(name for name, _ in tagged), count))
        return index.learned(tags), found


def _record(scan: ScanFile, manifest: str, config: str, root: str) -> dict[str, Any]:
    """Return what an index keeps of a build; `root` is what its name stands for, an index or the manifest itself."""
    data, text = scan.document(manifest), scan.document(config)
    if data is None or text is None:
        raise Corrupt(f"{scan.path} lacks the manifest {manifest} or the configuration {config}")
    view: manifests.Manifest = manifests.read_manifest(data, f"manifest {manifest}").view
    read: configs.Config = configs.read(text, f"configuration {config}").view
    return record_of(read, view, manifest, "" if root == manifest else root)
