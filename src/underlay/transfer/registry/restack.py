"""Makes an image in a registry of layers that exist already."""

from __future__ import annotations

from ...events import Event
from ...oci import digest as digests
from ...oci import mediatype
from ...oci.reference import Reference
from ...registry.upload import Target
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
    from ...registry.registries import Registries
    from ...registry.repository import Repository


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
