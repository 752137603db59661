"""External build caches: results of steps, imported from and exported to a directory (an OCI layout) or a registry.

An external cache is an image manifest: its configuration lists the records, its layers are their compressed layers. A
user who may write to it decides about the results of builds that read from there, as with docker's --cache-from.
"""

from __future__ import annotations

import os
import threading

import msgspec

from ...errors import Corrupt, InvalidInput, NotFound
from ...files import Replacement, write_atomic
from ...oci import digest as digests
from ...oci import document, mediatype, reference
from ...oci import manifest as manifests
from ...store import layers
from ...store.layers import intake
from ...store.rows import layers as layer_rows
from ...transfer.registry.outgoing import Compressed, Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO, Protocol

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...paths import Paths
    from ...registry.download import Download
    from ...registry.registries import Registries
    from ...registry.repository import Repository
    from ...registry.upload import Content, Target
    from ...store.rows.buildcache import Record
    from ...store.rows.layers import Layer
    from ..request import CacheStore

    class Blob(Protocol):
        """Something to read from, which is to be closed."""

        def read(self, count: int, /) -> bytes: ...

        def close(self) -> None: ...

    class ExternalCache(Protocol):
        """An external cache: where results of builds can be kept."""

        def manifest(self) -> bytes | None:
            """Return the manifest, None when there is none yet."""

        def document(self, descriptor: Descriptor, limit: int) -> bytes:
            """Return the verified bytes of a small blob."""

        def open(self, descriptor: Descriptor) -> Blob:
            """Return a blob."""

        def put(self, content: Content) -> None:
            """Keep a blob unless it is there."""

        def finish(self, data: bytes) -> None:
            """Give the manifest its name."""


CONFIG = "application/vnd.underlay.buildcache.config.v1+json"
_CONFIG_LIMIT = 32 << 20
_MOST = 100_000


class _Entry(msgspec.Struct):
    key: str
    diff_id: str
    blob: str
    size: int
    created: int
    parent: str = ""
    kind: str = "regular"
    description: str = ""


class _Config(msgspec.Struct):
    records: list[_Entry]


class Imports:
    """The results in the external caches of --cache-from; what one cache lacks is looked for in the next."""

    def __init__(self, paths: Paths, stores: Sequence[CacheStore], registries: Registries | None) -> None:
        self._paths = paths
        self._registries = registries
        self._lock = threading.Lock()
        self._known: dict[str, tuple[ExternalCache, _Entry]] = {}
        self.missing: list[str] = []
        for store in stores:
            external_cache = opened(store, registries, False)
            data = external_cache.manifest()
            if data is None:
                self.missing.append(store.location)
                continue
            for entry in _entries(external_cache, data, store.location):
                self._known.setdefault(entry.key, (external_cache, entry))

    def find(self, key: str) -> tuple[Layer, int] | None:
        """Return the layer under a key, brought into the store, and when it was made; None when no cache has it.

        Raises DigestMismatch, Corrupt for a layer that is not what its record says, RegistryError.
        """
        known = self._known.get(key)
        if known is None:
            return None
        external_cache, entry = known
        descriptor = _descriptor(mediatype.OCI_LAYER_GZIP, entry.blob, entry.size)
        source = external_cache.open(descriptor)
        try:
            intake.ingest(self._paths, source, expected_diff_id=entry.diff_id, expected_blob=(entry.blob, entry.size))
        finally:
            source.close()
        count = len(layers.read_toc(self._paths, entry.diff_id))
        layer = layer_rows.Layer(entry.diff_id, layers.size(self._paths, entry.diff_id), count)
        layer.blob, layer.blob_size, layer.compression = entry.blob, entry.size, "gzip"
        return layer, entry.created


def _descriptor(media_type: str, digest: str, size: int) -> Descriptor:
    from ...oci.descriptor import Descriptor

    return Descriptor(media_type=media_type, digest=digest, size=size)


def _entries(external_cache: ExternalCache, data: bytes, where: str) -> list[_Entry]:
    view: manifests.Manifest = manifests.read_manifest(data, f"build cache {where}").view
    if view.config is None or view.config.media_type != CONFIG:
        raise InvalidInput(f"{where} is not a build cache of underlay", "write one with --cache-to")
    try:
        config = msgspec.json.decode(external_cache.document(view.config, _CONFIG_LIMIT), type=_Config)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"build cache {where}: {error}") from None
    if len(config.records) > _MOST:
        raise InvalidInput(f"build cache {where}: more than {_MOST} records")
    for entry in config.records:
        digests.check(entry.diff_id, f"build cache {where}")
        digests.check(entry.blob, f"build cache {where}")
    return config.records


def export(
    paths: Paths, store: CacheStore, records: Sequence[Record], registries: Registries | None, emit: Emit
) -> None:
    """Write results to an external cache, in place of those under its name. Raises OSError, RegistryError, …."""
    external_cache = opened(store, registries, True)
    entries: list[dict[str, object]] = []
    blobs: dict[str, dict[str, object]] = {}
    for record in records:
        diff_id = record.layer.diff_id
        if diff_id not in blobs:
            source = Compressed(paths, diff_id, emit)
            for _ in source.pieces(0):
                pass
            external_cache.put(source)
            blobs[diff_id] = {
                "mediaType": mediatype.OCI_LAYER_GZIP,
                "digest": source.digest,
                "size": source.size,
            }
        entries.append(
            {
                "key": record.key,
                "parent": record.parent,
                "diff_id": diff_id,
                "blob": blobs[diff_id]["digest"],
                "size": blobs[diff_id]["size"],
                "created": record.created,
                "kind": record.kind,
                "description": record.description,
            }
        )
    config = document.encode({"records": entries})
    config_digest = digests.of(config)
    external_cache.put(Document(config, config_digest))
    external_cache.finish(
        document.encode(
            {
                "schemaVersion": 2,
                "mediaType": mediatype.OCI_MANIFEST,
                "config": {"mediaType": CONFIG, "digest": config_digest, "size": len(config)},
                "layers": list(blobs.values()),
            }
        )
    )


def opened(store: CacheStore, registries: Registries | None, write: bool) -> ExternalCache:
    """Return the external cache that a --cache-from or --cache-to names."""
    if store.kind == "local":
        return _Directory(store.location)
    assert registries is not None
    return _Registry(store.location, registries, write)


class _Directory:
    def __init__(self, path: str) -> None:
        self._path = path

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
        if not index.manifests:
            return None
        return self.document(index.manifests[0], document.MANIFEST_LIMIT)

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

    def finish(self, data: bytes) -> None:
        digest = digests.of(data)
        self.put(Document(data, digest))
        write_atomic(f"{self._path}/oci-layout", document.encode({"imageLayoutVersion": "1.0.0"}), 0o644)
        index = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_INDEX,
            "manifests": [{"mediaType": mediatype.OCI_MANIFEST, "digest": digest, "size": len(data)}],
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

    def document(self, descriptor: Descriptor, limit: int) -> bytes:
        return self._repository.document(descriptor, limit, "build cache")

    def open(self, descriptor: Descriptor) -> Download:
        return self._repository.blob(descriptor)

    def put(self, content: Content) -> None:
        if not self._target.present(content.digest):
            self._target.send(content)

    def finish(self, data: bytes) -> None:
        self._target.put_manifest(data, mediatype.OCI_MANIFEST, self._reference.tag)
