"""Which image the name of a base refers to now: in its registry, or in the store for images that were built here."""

from __future__ import annotations

from ...errors import InvalidInput, NotFound, UnderlayError
from ...oci import reference as references
from ...store.rows import images
from ..identify import image_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...oci.platform import Platform
    from ...store.store import Store
    from ..identify.image_source import Subject

REGISTRY, STORE = "registry", "store"
_OFFICIAL = "docker.io/library/"


def look(store: Store, name: str, platform: Platform, offline: bool = False) -> tuple[Subject | None, str, str]:
    """Return the image that a name stands for now, where that was found (REGISTRY, STORE or ""), and why its registry could
    not be asked, if it could not.

    A name whose image here came from no registry is that image: what a registry has under the same name is a stranger's.
    """
    here = in_store(store, name, platform)
    if offline or (here is not None and _made_here(store, here, name)):
        return here, STORE if here is not None else "", ""
    try:
        return image_source.find(store, f"docker://{name}", str(platform)), REGISTRY, ""
    except UnderlayError as error:
        return here, STORE if here is not None else "", error.message


def in_store(store: Store, name: str, platform: Platform) -> Subject | None:
    """Return the image of a name that is here for a platform, None when there is none."""
    try:
        return image_source.of_image(store, images.resolve(store.meta, name, platform), name)
    except (NotFound, InvalidInput):
        return None


def _made_here(store: Store, image: Subject, name: str) -> bool:
    repository = references.parse(name).repository
    # Only the library of official images is nobody's to take a name in.
    if repository.startswith(_OFFICIAL):
        return False
    return all(known != repository for known, _, _ in images.repository_digests(store.meta, image.id, remote=True))
