"""Signatures, attestations and bills of materials stored beside an image, which are copied with it.

They lie under tags made of the image's digest (cosign's `sha256-….sig`, `.att`, `.sbom`), or are manifests whose subject
the image is (OCI distribution specification, "Listing Referrers").
"""

from __future__ import annotations

from ...oci import document, mediatype
from ...oci import manifest as manifests
from .target import RegistryTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...oci.descriptor import Descriptor
    from .origin import Origin
    from .target import Destination

_SUFFIXES = (".sig", ".att", ".sbom")


class Signatures:
    """Finds what is attached to a manifest, and has `copy_one(descriptor, tag)` bring it."""

    def __init__(self, origin: Origin, target: Destination, copy_one: Callable[[Descriptor, str], None]) -> None:
        self._origin = origin
        self._target = target
        self._copy_one = copy_one

    def _tagged(self, digest: str) -> list[tuple[str, Descriptor]]:
        stem = digest.replace(":", "-", 1)
        found = [(stem + suffix, self._origin.tagged(stem + suffix)) for suffix in _SUFFIXES]
        return [(tag, each) for tag, each in found if each is not None]

    def there(self, digest: str) -> bool:
        """Tell whether anything is attached to a manifest."""
        return bool(self._tagged(digest) or self._origin.referrers(digest))

    def copy(self, digest: str) -> None:
        """Copy what is attached to a manifest."""
        for tag, found in self._tagged(digest):
            self._copy_one(found, tag)
        referrers = self._origin.referrers(digest)
        for found in referrers:
            self._copy_one(found, "")
        if referrers and isinstance(self._target, RegistryTarget):
            _list(self._target, digest, referrers)


def _list(target: RegistryTarget, digest: str, referrers: list[Descriptor]) -> None:
    """Name the referrers of a manifest under a tag where the registry itself does not list them.

    (Specification, "Referrers Tag Schema".) What others have put there stays.
    """
    if target.target.referrers(digest) is not None:
        return
    tag = digest.replace(":", "-", 1)
    there: dict[str, dict[str, Any]] = {}
    if target.target.head(tag) is not None:
        data = target.target.manifest(tag).data
        there = {
            each["digest"]: each for each in manifests.read_index(data, f"referrers of {digest}").value["manifests"]
        }
    for found in referrers:
        entry: dict[str, Any] = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
        if found.artifact_type:
            entry["artifactType"] = found.artifact_type
        if found.annotations:
            entry["annotations"] = found.annotations
        there.setdefault(found.digest, entry)
    value = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": list(there.values())}
    target.put(document.encode(value), mediatype.OCI_INDEX, "", tag)
