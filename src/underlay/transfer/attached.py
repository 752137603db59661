"""Attestations attached to an image in its index, and the provenance statements in them."""

from __future__ import annotations

from ..errors import UnderlayError
from ..oci import document
from ..oci import manifest as manifests
from ..store import blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..oci.document import Document
    from ..paths import Paths
    from .choose import Documents

_PREDICATE = "in-toto.io/predicate-type"
_PROVENANCE = "https://slsa.dev/provenance/"


def attached(paths: Paths, digest: str) -> list[str] | None:
    """Return the digests of the blobs below the manifest `digest`, None if it is another kind or some are missing."""
    if not blobs.exists(paths, digest):
        return None
    try:
        data = blobs.read(paths, digest)
        if manifests.kind(document.decode(data, "manifest")) != "manifest":
            return None
        view: manifests.Manifest = manifests.read_manifest(data, "manifest").view
    except UnderlayError:
        return None
    blob_digests = [view.config.digest] if view.config is not None else []
    blob_digests += [layer.digest for layer in view.layers or []]
    return blob_digests if all(blobs.exists(paths, blob_digest) for blob_digest in blob_digests) else None


def provenance(source: Documents, indexes: Iterable[Document], digest: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the statements of provenance that BuildKit and others hang on the image manifest `digest` in `indexes`, each
    with the digest of its index.

    What is missing, damaged or too large counts as not being there.
    """
    statements: list[tuple[str, dict[str, Any]]] = []
    for index in indexes:
        for descriptor in index.view.manifests or []:
            if not descriptor.is_attestation or descriptor.annotation("vnd.docker.reference.digest") != digest:
                continue
            try:
                data = source.manifest(descriptor)
                view: manifests.Manifest = manifests.read_manifest(data or b"", f"manifest {descriptor.digest}").view
                for layer in view.layers or []:
                    if not layer.annotation(_PREDICATE).startswith(_PROVENANCE):
                        continue
                    statement = document.decode(source.config(layer) or b"", "attestation", document.CONFIG_LIMIT)
                    statements += [(index.digest, statement)] if isinstance(statement, dict) else []
            except UnderlayError:
                continue
    return statements
