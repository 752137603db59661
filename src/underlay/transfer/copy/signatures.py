"""Signatures, attestations and bills of materials stored beside an image, which are copied with it.

They lie under tags made of the image's digest (cosign's `sha256-….sig`, `.att`, `.sbom`), or are manifests whose subject
the image is (OCI distribution specification, "Listing Referrers").
"""

from __future__ import annotations

from functools import partial

from ...oci import document, mediatype
from ...oci import manifest as manifests
from ..arrivals import in_threads
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

    def __init__(
        self,
        origin: Origin,
        target: Destination,
        copy_one: Callable[[Descriptor, str], None],
        cancel: Callable[[], None],
    ) -> None:
        self._origin = origin
        self._target = target
        self._copy_one = copy_one
        self._cancel = cancel

    def _attached(self, digest: str) -> tuple[list[tuple[str, Descriptor]], list[Descriptor]]:
        """Return what lies under tags, with these, and what refers to a manifest; all questions are asked at once."""
        stem = digest.replace(":", "-", 1)

        def under_tag(suffix: str) -> list[Descriptor]:
            descriptor = self._origin.tagged(stem + suffix)
            return [descriptor] if descriptor is not None else []

        questions = [*(partial(under_tag, suffix) for suffix in _SUFFIXES), partial(self._origin.referrers, digest)]
        *tagged, referrers = in_threads(lambda ask: ask(), questions, len(questions), self._cancel)
        return [
            (stem + suffix, descriptor)
            for suffix, descriptors in zip(_SUFFIXES, tagged, strict=True)
            for descriptor in descriptors
        ], referrers

    def there(self, digest: str) -> bool:
        """Return whether anything is attached to a manifest."""
        return any(self._attached(digest))

    def copy(self, digest: str) -> None:
        """Copy what is attached to a manifest."""
        tagged, referrers = self._attached(digest)
        for tag, descriptor in tagged:
            self._copy_one(descriptor, tag)
        for descriptor in referrers:
            self._copy_one(descriptor, "")
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
            entry["digest"]: entry for entry in manifests.read_index(data, f"referrers of {digest}").value["manifests"]
        }
    for referrer in referrers:
        entry: dict[str, Any] = {"mediaType": referrer.media_type, "digest": referrer.digest, "size": referrer.size}
        if referrer.artifact_type:
            entry["artifactType"] = referrer.artifact_type
        if referrer.annotations:
            entry["annotations"] = referrer.annotations
        there.setdefault(referrer.digest, entry)
    value = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": list(there.values())}
    target.put(document.encode(value), mediatype.OCI_INDEX, "", tag)
