"""What a registry has under a name, without pulling it: the document's descriptor and the platforms."""

from __future__ import annotations

from ...oci import document
from ...oci import manifest as manifests
from ...oci import reference as references
from ...transfer.registry import remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...oci.platform import Platform
    from ...store.store import Store


def distribution(store: Store, name: str) -> dict[str, Any]:
    """Return what docker tells of an image in its registry (Engine API, DistributionInspect).

    Raises NotFound, AccessDenied, RegistryError, InvalidInput.
    """
    reference = references.parse(name)
    from ...registry.registries import Registries

    with Registries(store.emit, credentials=store.credentials) as session:
        fetched = session.repository(reference).manifest(reference.digest or reference.tag)
        value = document.decode(fetched.data, "manifest")
        listed = value.get("manifests")
        if isinstance(listed, list):
            platforms = [entry["platform"] for entry in listed if isinstance(entry, dict) and entry.get("platform")]
        else:
            _, _, candidates = remote.look(session, reference, [])
            platforms = [_platform(candidates[0].platform)]
    return {
        "Descriptor": {
            "mediaType": fetched.media_type or manifests.media_type(value),
            "digest": fetched.digest,
            "size": len(fetched.data),
        },
        "Platforms": platforms,
    }


def _platform(platform: Platform) -> dict[str, str]:
    words = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant or ""}
    return {key: word for key, word in words.items() if word}
