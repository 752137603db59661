"""Places where external build caches are kept: a directory (an OCI layout) or a repository of a registry."""

from __future__ import annotations

import os

from ...errors import NotFound
from ...files import Replacement, write_atomic
from ...oci import digest as digests
from ...oci import document, mediatype, reference
from ...oci import manifest as manifests
from ...oci.annotations import REF_NAME
from ...transfer.registry.outgoing import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Protocol

    from ...oci.descriptor import Descriptor
    from ...registry.download import Download
    from ...registry.registries import Registries
    from ...registry.repository import Repository
    from ...registry.upload import Content, Target
    from ..request import CacheStore

    class Blob(Protocol):
        """Something to read from, which is to be closed."""

        def read(self, count: int, /) -> bytes: ...

        def close(self) -> None: ...

    class Place(Protocol):
        """A place where results of builds can be kept."""

        def manifest(self) -> bytes | None:
            """Return the manifest or index, None when there is none yet."""

        def child(self, descriptor: Descriptor) -> bytes:
            """Return the verified bytes of a manifest that an index names."""

        def document(self, descriptor: Descriptor, limit: int) -> bytes:
            """Return the verified bytes of a small blob."""

        def open(self, descriptor: Descriptor) -> Blob:
            """Return a blob."""

        def put(self, content: Content) -> None:
            """Keep a blob unless it is there."""

        def finish(self, data: bytes, media_type: str) -> None:
            """Give the manifest its name."""


def opened(store: CacheStore, registries: Registries | None, write: bool) -> Place:
    """Return the place that a --cache-from or --cache-to names. Raises InvalidInput for a malformed reference."""
    if store.kind == "local":
        return _Directory(store)
    assert registries is not None
    return _Registry(store.location, registries, write)


class _Directory:
    def __init__(self, store: CacheStore) -> None:
        self._path = store.location
        self._tag = store.tag
        self._digest = store.digest

    def _blob(self, digest: str) -> str:
        algorithm, _, digits = digests.check(digest, "digest").partition(":")
        return f"{self._path}/blobs/{algorithm}/{digits}"

    def manifest(self) -> bytes | None:
        try:
            with open(f"{self._path}/index.json", "rb") as file:
                data = file.read(document.MANIFEST_LIMIT)
        except FileNotFoundError:
            return None
        index: manifests.Index = manifests.read_index(data, f"{self._path}/index.json").view
        for entry in index.manifests or ():
            # What has no name is taken by any: so our caches were once, and others' still are.
            named = entry.annotation(REF_NAME) in (self._tag, "")
            if entry.digest == self._digest or (named and not self._digest):
                return self.document(entry, document.MANIFEST_LIMIT)
        return None

    def child(self, descriptor: Descriptor) -> bytes:
        return self.document(descriptor, document.MANIFEST_LIMIT)

    def document(self, descriptor: Descriptor, limit: int) -> bytes:
        with self.open(descriptor) as file:
            data = file.read(limit + 1)
        digests.verify(data, descriptor.digest, f"blob of {self._path}")
        return data

    def open(self, descriptor: Descriptor) -> BinaryIO:
        try:
            return open(self._blob(descriptor.digest), "rb")
        except FileNotFoundError:
            raise NotFound(f"build cache {self._path}: blob {descriptor.digest} is missing") from None

    def put(self, content: Content) -> None:
        path = self._blob(content.digest)
        if os.path.exists(path):
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with Replacement(path, 0o666, durable=False) as fd, open(fd, "wb", closefd=False) as file:
            for piece in content.pieces(0):
                file.write(piece)

    def finish(self, data: bytes, media_type: str) -> None:
        digest = digests.of(data)
        self.put(Document(data, digest))
        write_atomic(f"{self._path}/oci-layout", document.encode({"imageLayoutVersion": "1.0.0"}), 0o644)
        index = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_INDEX,
            "manifests": [
                {
                    "mediaType": media_type,
                    "digest": digest,
                    "size": len(data),
                    "annotations": {REF_NAME: self._tag},
                }
            ],
        }
        write_atomic(f"{self._path}/index.json", document.encode(index), 0o644)


class _Registry:
    def __init__(self, name: str, registries: Registries, write: bool) -> None:
        from ...registry.upload import Target

        self._reference = reference.parse(name)
        self._target: Target
        self._repository: Repository
        if write:
            self._repository = self._target = Target(registries, self._reference.domain, self._reference.path)
        else:
            self._repository = registries.repository(self._reference)

    def manifest(self) -> bytes | None:
        try:
            return self._repository.manifest(self._reference.digest or self._reference.tag).data
        except NotFound:
            return None

    def child(self, descriptor: Descriptor) -> bytes:
        return self._repository.manifest(descriptor.digest).data

    def document(self, descriptor: Descriptor, limit: int) -> bytes:
        return self._repository.document(descriptor, limit, "build cache")

    def open(self, descriptor: Descriptor) -> Download:
        return self._repository.blob(descriptor)

    def put(self, content: Content) -> None:
        if not self._target.present(content.digest):
            self._target.send(content)

    def finish(self, data: bytes, media_type: str) -> None:
        self._target.put_manifest(data, media_type, self._reference.tag)
