"""The layers of an image of an archive or a registry, to be read one after another without being stored."""

from __future__ import annotations

from functools import partial

from ..oci import reference as references
from ..registry.registries import Registries
from ..store.rootfs.unstoredfiles import LayerStream
from .archives import load
from .registry.pull import refuse_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ..oci.manifest import Manifest
    from ..oci.platform import Platform
    from ..store.store import Store

_PIECE = 1 << 20


def of_archive(path: str, platforms: Sequence[Platform]) -> Generator[LayerStream]:
    """Yield the layers of the image that `archives.load.look` finds, base first. Raises as that."""
    with load.layers(path, platforms) as contents:
        for diff_id, content in contents:
            try:
                yield LayerStream(diff_id, partial(content.read, _PIECE))
            finally:
                content.close(keep=False)


def of_registry(store: Store, name: str, manifest: Manifest, diff_ids: Sequence[str]) -> Generator[LayerStream]:
    """Yield the layers of a manifest in the repository of `name`, base first. Raises Unsupported (a foreign layer), and
    what registries raise."""
    with Registries(store.emit) as registries:
        repository = registries.repository(references.parse(name))
        for layer, diff_id in zip(manifest.layers or [], diff_ids, strict=True):
            refuse_foreign(layer)
            download = repository.blob(layer)
            try:
                yield LayerStream(diff_id, partial(download.read, _PIECE))
            finally:
                download.close()
