"""Opens the origin and the destination of a copy from the locations that a user wrote."""

from __future__ import annotations

from ...errors import InvalidInput
from ..archives.save import Layout, choose
from ..trust.trust import Trust
from . import locations
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
    from .locations import Location
    from .origin import Origin
    from .target import Destination


def origin(location: Location, registries: Registries) -> Origin:
    """Open a location (not the store) to copy from. Raises NotFound, InvalidInput, Unsupported, Conflict (blocked), and
    Untrusted where the trust policy rejects it."""
    if location.reference is not None:
        return RegistryOrigin(registries.repository(location.reference), location.reference)
    Trust.read().check_path(location.transport, location.path)
    if location.transport == locations.LAYOUT:
        return open_layout(location.path, location.name)
    if location.transport == locations.DIRECTORY:
        return open_directory(location.path)
    return open_archive(location.path, location.name, docker=location.transport == locations.DOCKER_ARCHIVE)


def store_origin(paths: Paths, meta: Meta, reference: Reference, platform: Platform | None) -> StoreOrigin:
    """Return an image of the store to copy from; to be used inside `leases.working`. Raises NotFound."""
    layout = Layout(paths, meta)
    [chosen] = choose(meta, str(reference), [platform] if platform else [])
    layout.add(chosen, docker=False)
    return StoreOrigin(layout, reference.familiar)


def destination(location: Location, registries: Registries, emit: Emit) -> Destination:
    """Return a location (not the store) to copy to; nothing is written yet. Raises Conflict (blocked)."""
    if location.reference is not None:
        return RegistryTarget(registries, location.reference, emit)
    if location.transport == locations.LAYOUT:
        return LayoutTarget(location.path, location.name)
    if location.transport == locations.DIRECTORY:
        return DirectoryTarget(location.path)
    return ArchiveTarget(location.path, location.name, docker=location.transport == locations.DOCKER_ARCHIVE)


def between_registries(
    registries: Registries, source: Reference, target: Reference, request: Request, emit: Emit
) -> Pushed:
    """Copy from one name of a registry to another. Raises InvalidInput for a digest that is not the source's."""
    if target.digest and target.digest != source.digest:
        raise InvalidInput(
            "the destination of a copy cannot have a digest",
            "name it with a tag, or without: the digest follows from the content",
        )
    with RegistryTarget(registries, target, emit) as end:
        return copy(RegistryOrigin(registries.repository(source), source), end, request, emit, registries.cancel)
