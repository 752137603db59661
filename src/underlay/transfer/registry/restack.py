"""Makes an image of layers that exist already, in the store or in a registry."""

from __future__ import annotations

from ...events import Event
from ...oci import digest as digests
from ...oci import mediatype
from ...oci.reference import Reference
from ...registry.upload import Target
from ...store import blobs, layers, rootfs
from ...store.rows import images
from ...store.rows import layers as layer_rows
from ..arrivals import in_threads
from ..copy.forms import Passing
from ..copy.origin import RegistryOrigin
from .outgoing import Document, Pushed
from .pull import refuse_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...oci.platform import Platform
    from ...paths import Paths
    from ...registry.registries import Registries
    from ...registry.repository import Repository
    from ...store.rows.meta import Meta


def record(
    paths: Paths,
    meta: Meta,
    form: str,
    config: bytes,
    manifest: bytes,
    diff_ids: Sequence[str],
    platform: Platform,
    created: str,
    names: Sequence[Reference],
) -> str:
    """Record an image whose layers are in the store under `names`; returns its id. Raises NotFound when a layer is not."""
    stored_layers = []
    for diff_id in diff_ids:
        known = layer_rows.facts(meta, diff_id)
        size, entries = known or (layers.size(paths, diff_id), len(layers.read_toc(paths, diff_id)))
        stored_layers.append(layer_rows.Layer(diff_id, size, entries))
    chain = rootfs.prepare(paths, form, list(diff_ids))
    image_id, digest = blobs.put(paths, config), blobs.put(paths, manifest)
    made = images.NewImage(image_id, digest, platform, created, stored_layers, [image_id, digest], chain)
    images.record(meta, [made], [(name, digest, image_id) for name in names])
    return image_id


def push(
    registries: Registries,
    destination: Reference,
    config: bytes,
    manifest: bytes,
    media_type: str,
    sources: Sequence[tuple[Repository, Sequence[Descriptor]]],
    emit: Emit,
) -> Pushed:
    """Put an image into a registry whose layers lie in repositories already; none is fetched where they can be mounted.

    Raises AccessDenied, NotFound, RegistryError.
    """
    target = Target(registries, destination.domain, destination.path)
    emit(Event("push.start", destination.familiar, repository=destination.repository, tag=destination.tag))
    seen: set[str] = set()
    todo: list[tuple[Repository, Descriptor]] = []
    for origin, descriptors in sources:
        for blob in descriptors:
            refuse_foreign(blob)
            if blob.digest not in seen:
                seen.add(blob.digest)
                todo.append((origin, blob))
                emit(Event("blob.wait", blob.digest, total=blob.size))

    def bring(item: tuple[Repository, Descriptor]) -> None:
        origin, blob = item
        if target.present(blob.digest):
            emit(Event("blob.exists", blob.digest))
        elif origin.domain == target.domain and target.mount(blob.digest, origin.path):
            emit(Event("blob.mounted", blob.digest, source=origin.path))
        else:
            target.send(Passing(RegistryOrigin(origin, Reference(origin.domain, origin.path)), blob, emit))
            emit(Event("blob.done", blob.digest, digest=blob.digest, size=blob.size))

    in_threads(bring, todo, registries.settings.network.parallel_layers, registries.cancel)
    document = Document(config, digests.of(config))
    if not target.present(document.digest):
        target.send(document)
    digest = digests.of(manifest)
    target.put_manifest(manifest, media_type or mediatype.OCI_MANIFEST, destination.tag or digest)
    emit(Event("image.push", destination.familiar, digest=digest, size=len(manifest)))
    return Pushed(digest, len(manifest))
