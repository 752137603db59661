"""Documents that hang on an image in an index: attestations, all of whose parts are blobs here."""

from __future__ import annotations

from ..errors import UnderlayError
from ..oci import document
from ..oci import manifest as manifests
from ..store import blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..paths import Paths


def attached(paths: Paths, digest: str) -> list[str] | None:
    """Return the digests of the blobs below the manifest `digest`, None when it is no such manifest or not all are here."""
    if not blobs.exists(paths, digest):
        return None
    try:
        data = blobs.read(paths, digest)
        if manifests.kind(document.decode(data, "manifest")) != "manifest":
            return None
        view: manifests.Manifest = manifests.read_manifest(data, "manifest").view
    except UnderlayError:
        return None
    found = [view.config.digest] if view.config is not None else []
    found += [layer.digest for layer in view.layers or []]
    return found if all(blobs.exists(paths, each) for each in found) else None
