"""Opens the origin and the destination of a copy from the places that a user wrote."""

from __future__ import annotations

from ...errors import InvalidInput
from ..archives.save import Layout, choose
from . import places
from .archives import open_archive, open_directory, open_layout
from .origin import RegistryOrigin, StoreOrigin
from .target import ArchiveTarget, DirectoryTarget, LayoutTarget, RegistryTarget
from .walk import Request, copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...events import Emit
    from ...oci.platform import Platform
    from ...oci.reference import Reference
    from ...paths import Paths
    from ...registry.registries import Registries
    from ...store.rows.meta import Meta
    from ..registry.outgoing import Pushed
    from .origin import Origin
    from .places import Place
    from .target import Destination


def origin(place: Place, registries: Registries) -> Origin:
    """Open a place to copy from that is not the store. Raises NotFound, InvalidInput, Unsupported, Conflict (blocked)."""
    if place.reference is not None:
        return RegistryOrigin(registries.repository(place.reference), place.reference)
    if place.transport == places.LAYOUT:
        return open_layout(place.path, place.name)
    if place.transport == places.DIRECTORY:
        return open_directory(place.path)
    return open_archive(place.path, place.name, docker=place.transport == places.DOCKER_ARCHIVE)


def store_origin(paths: Paths, meta: Meta, reference: Reference, platform: Platform | None) -> StoreOrigin:
    """Return an image of the store to copy from; to be used inside `leases.working`. Raises NotFound."""
    layout = Layout(paths, meta)
    [chosen] = choose(meta, str(reference), [platform] if platform else [])
    layout.add(chosen, docker=False)
    return StoreOrigin(layout, reference.familiar)


def destination(place: Place, registries: Registries, emit: Emit) -> Destination:
    """Return a place to copy to that is not the store; nothing is written yet. Raises Conflict (blocked)."""
    if place.reference is not None:
        return RegistryTarget(registries, place.reference, emit)
    if place.transport == places.LAYOUT:
        return LayoutTarget(place.path, place.name)
    if place.transport == places.DIRECTORY:
        return DirectoryTarget(place.path)
    return ArchiveTarget(place.path, place.name, docker=place.transport == places.DOCKER_ARCHIVE)


def between_registries(
    registries: Registries, source: Reference, target: Reference, request: Request, emit: Emit
) -> Pushed:
    """Copy from one name of a registry to another. Raises InvalidInput for a digest that is not the source's."""
    if target.digest and target.digest != source.digest:
        raise InvalidInput(
            "the destination of a copy cannot have a digest", "write the destination with a tag or without"
        )
    with RegistryTarget(registries, target, emit) as end:
        return copy(RegistryOrigin(registries.repository(source), source), end, request, emit, registries.cancel)
