"""Directories as `skopeo copy … dir:` writes them: manifest.json, and blobs beside it named by the digits of their digests.

The names are those of containers/image (directory/directory_transport.go).
"""

from __future__ import annotations

from ...oci import digest as digests
from ...oci import document, manifest
from ...oci.descriptor import Descriptor, check_length

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bag import Bag


def plain_name(digest: str) -> str:
    """Return the name of a blob; raises InvalidInput for what is no digest."""
    return digests.check(digest).partition(":")[2]


class InPlain:
    """The documents of such a directory, as `choose` asks for them; `top` is what `data`, its manifest.json, is."""

    def __init__(self, bag: Bag, data: bytes) -> None:
        self.location = bag.path
        self.remote = False
        self._bag = bag
        self._data = data
        value = document.decode(data, f"{bag.path}: manifest.json")
        self.top = Descriptor(digests.of(data), len(data), manifest.media_type(value))

    def manifest(self, descriptor: Descriptor) -> bytes | None:
        """Return a manifest or an index, None when it is not there."""
        if descriptor.digest == self.top.digest:
            return self._data
        return self._verified(descriptor, plain_name(descriptor.digest) + ".manifest.json", "manifest")

    def config(self, descriptor: Descriptor) -> bytes | None:
        """Return a configuration, None when it is not there."""
        return self._verified(descriptor, plain_name(descriptor.digest), "configuration")

    def _verified(self, descriptor: Descriptor, name: str, what: str) -> bytes | None:
        data = self._bag.document(name)
        if data is None:
            return None
        check_length(descriptor, len(data), what)
        digests.verify(data, descriptor.digest, what)
        return data
