"""Sources of copies: the interface, and those that read a registry or the store (archives and layouts: `archives`)."""

from __future__ import annotations

import os

from ...errors import NotFound
from ...oci import descriptor as descriptors
from ...oci import document
from ...oci import manifest as manifests
from ...oci.descriptor import Descriptor
from ..archives.bag import Content
from ..trust.trust import Trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ...oci.reference import Reference
    from ...registry.download import Download
    from ...registry.repository import Repository
    from ..archives.save import Layout

    class Origin(Protocol):
        """The source of a copy. `location` names it in errors; `remote` says that it has everything it refers to; `plain`
        that its layers are plain tars only because this transport supports no other form."""

        location: str
        remote: bool
        plain: bool

        def root(self) -> Descriptor:
            """Return the descriptor of the manifest or index that is meant; raises NotFound, InvalidInput."""

        def manifest(self, descriptor: Descriptor, /) -> bytes | None:
            """Return the verified bytes of a manifest or an index, None when it is not there."""

        def config(self, descriptor: Descriptor, /) -> bytes | None:
            """Return the verified bytes of a configuration, None when it is not there."""

        def content(self, descriptor: Descriptor, /) -> Content:
            """Return a blob to read; its bytes are not verified. Raises NotFound."""

        def referrers(self, digest: str, /) -> list[Descriptor]:
            """Return the descriptors of manifests that refer to `digest` as their subject."""

        def tagged(self, tag: str, /) -> Descriptor | None:
            """Return what stands beside the image under a tag of its own, None when there is nothing."""

        def close(self) -> None:
            """Close what is open."""


class RegistryOrigin:
    """An image in a registry. It must be signed as the trust policy demands."""

    remote = True
    plain = False

    def __init__(self, repository: Repository, reference: Reference) -> None:
        self.location = reference.familiar
        self.repository = repository
        self._reference = reference
        self._root: tuple[str, bytes] = ("", b"")

    def root(self) -> Descriptor:
        """See Origin. Raises Untrusted."""
        manifest = self.repository.manifest(self._reference.digest or self._reference.tag)
        Trust.read().check(self.repository, self._reference, manifest.digest, _images(manifest.data))
        self._root = (manifest.digest, manifest.data)
        return Descriptor(digest=manifest.digest, size=len(manifest.data), media_type=manifest.media_type or None)

    def manifest(self, descriptor: Descriptor) -> bytes | None:
        """See Origin."""
        if descriptor.digest == self._root[0]:
            return self._root[1]
        try:
            data = self.repository.manifest(descriptor.digest).data
        except NotFound:
            return None
        descriptors.check_length(descriptor, len(data), "manifest")
        return data

    def config(self, descriptor: Descriptor) -> bytes | None:
        """See Origin."""
        return self.repository.document(descriptor, document.CONFIG_LIMIT, "configuration")

    def content(self, descriptor: Descriptor) -> Content:
        """See Origin."""
        return _Downloaded(self.repository.blob(descriptor))

    def referrers(self, digest: str) -> list[Descriptor]:
        """See Origin. A registry without the API keeps a list under a tag (specification, "Referrers Tag Schema")."""
        listed_by_registry = self.repository.referrers(digest)
        if listed_by_registry is not None:
            return listed_by_registry
        tagged = self.tagged(digest.replace(":", "-", 1))
        data = self.manifest(tagged) if tagged is not None else None
        if data is None or manifests.kind(document.decode(data, f"referrers of {digest}")) != "index":
            return []
        listed: list[Descriptor] = manifests.read_index(data, f"referrers of {digest}").view.manifests
        return listed

    def tagged(self, tag: str) -> Descriptor | None:
        """See Origin."""
        head = self.repository.head(tag)
        if head is None:
            return None
        manifest = self.repository.manifest(tag)
        self._root = (manifest.digest, manifest.data)
        return Descriptor(digest=manifest.digest, size=len(manifest.data), media_type=manifest.media_type or None)

    def close(self) -> None:
        """See Origin."""


class _Downloaded(Content):
    """A blob that comes from a registry."""

    __slots__ = ("_download",)

    def __init__(self, download: Download) -> None:
        super().__init__(download.digest, download.size)
        self._download = download

    def read(self, count: int, /) -> bytes:
        """Return what comes next, b"" at the end; raises as `Download.read` does."""
        return self._download.read(count)

    def skip(self, position: int) -> None:
        """Go on at `position`."""
        self._download.close()
        self._download.skip(position)

    def again(self) -> None:
        """Start over."""
        self.skip(0)

    def close(self, keep: bool) -> None:
        """Close the connection."""
        self._download.close()


def _images(data: bytes) -> list[str]:
    """Return the digests of the images that an index names, none for a manifest."""
    if manifests.kind(document.decode(data, "manifest")) != "index":
        return []
    listed: list[Descriptor] = manifests.read_index(data, "index").view.manifests or []
    return [one.digest for one in listed if not one.is_attestation]


class StoreOrigin:
    """An image of the store, in the form in which it would be saved."""

    remote = False
    plain = True

    def __init__(self, layout: Layout, location: str) -> None:
        self.location = location
        self._layout = layout

    def root(self) -> Descriptor:
        """See Origin."""
        import msgspec

        return msgspec.convert(self._layout.entries[0], Descriptor)

    def manifest(self, descriptor: Descriptor) -> bytes | None:
        """See Origin."""
        part = self._layout.parts.get(descriptor.digest)
        return part.data if part is not None and not part.path else None

    def config(self, descriptor: Descriptor) -> bytes | None:
        """See Origin."""
        return self.manifest(descriptor)

    def content(self, descriptor: Descriptor) -> Content:
        """See Origin."""
        part = self._layout.parts.get(descriptor.digest)
        if part is None:
            raise NotFound(f"{descriptor.digest} is missing from the store", "run `underlay system check`")
        return _InFile(descriptor.digest, part.size, part.path) if part.path else InMemory(descriptor.digest, part.data)

    def referrers(self, digest: str) -> list[Descriptor]:
        """See Origin: the store keeps none."""
        return []

    def tagged(self, tag: str) -> Descriptor | None:
        """See Origin: signatures are not kept in the store."""
        return None

    def close(self) -> None:
        """See Origin."""


class InMemory(Content):
    """Bytes that are here already."""

    __slots__ = ("_data",)

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name, len(data))
        self._data = data

    def _at(self, position: int, count: int) -> bytes:
        return self._data[position : position + count]


class _InFile(Content):
    """A file of the store, open while it is read."""

    __slots__ = ("_fd", "_path")

    def __init__(self, name: str, size: int, path: str) -> None:
        super().__init__(name, size)
        self._path = path
        self._fd = -1

    def _at(self, position: int, count: int) -> bytes:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._fd, count, position)

    def close(self, keep: bool) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
