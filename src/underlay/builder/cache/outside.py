"""External build caches: results of steps, imported from and exported to a directory, a registry, or images themselves.

An external cache is an image manifest: its configuration is BuildKit's (`buildkit.records`), one of its layers is our own
list of records, which has every step, and the others are the compressed layers of both. A user who may write to it decides
about the results of builds that read from there, as with docker's --cache-from.
"""

from __future__ import annotations

import threading
from binascii import Error as Base64Error
from binascii import a2b_base64

import msgspec

from ...errors import Corrupt, InvalidInput, NotFound, UnderlayError
from ...human import rfc3339
from ...oci import digest as digests
from ...oci import document, mediatype
from ...oci import manifest as manifests
from ...oci.descriptor import Descriptor
from ...store import layers
from ...store.layers import intake
from ...store.layers.layer_writer import LayerWriter
from ...store.rows import images
from ...store.rows import layers as layer_rows
from ...transfer.registry.outgoing import Compressed, Document
from .buildkit import records as buildkit
from .places import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...events import Emit
    from ...paths import Paths
    from ...registry.registries import Registries
    from ...store.rows.buildcache import Record
    from ...store.rows.layers import Layer
    from ...store.rows.meta import Meta
    from ..filesystem import Filesystem, Made
    from ..request import CacheStore
    from ..vertices import Vertices
    from .buildkit.keys import Key
    from .places import Place

    Warn = Callable[[str], None]

CONFIG = "application/vnd.underlay.buildcache.config.v1+json"
KINDS = ("local", "registry", "inline")
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


class _Inline(msgspec.Struct, rename={"cache": buildkit.INLINE}):
    """What is of interest of an image's configuration: its layers, and the cache in it."""

    rootfs: dict[str, object] | None = None
    cache: str | None = None


class Imports:
    """The results in the external caches of --cache-from; what one cache lacks is looked for in the next.

    A cache makes builds faster and is never needed: what is wrong with one is told by `vertices.warn`, and passed over.
    """

    def __init__(
        self, paths: Paths, meta: Meta, stores: Sequence[CacheStore], registries: Registries | None, vertices: Vertices
    ) -> None:
        self._paths = paths
        self._meta = meta
        self._registries = registries
        self._warn = vertices.warn
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Place, _Entry]] = {}
        self._useless: set[str] = set()  # keys of results that could not be had
        self._theirs: list[tuple[Place | None, buildkit.Records]] = []  # without a place: of an image in the store
        for store in stores:
            if store.kind not in ("local", "registry"):
                if store.kind not in KINDS:
                    self._warn(f"--cache-from type={store.kind} is not supported and was ignored")
                continue
            try:
                with vertices(f"importing cache manifest from {store.location}") as vertex:
                    if not self._read(store):
                        vertex.status(f"no cache in {store.location}")
            except (UnderlayError, OSError) as error:
                self._warn(f"--cache-from {store.location}: {error}; the build goes on without it")

    @property
    def buildkit(self) -> bool:
        """Whether one of the caches is in BuildKit's form."""
        return bool(self._theirs)

    def _read(self, store: CacheStore) -> bool:
        """Note what a cache holds; returns whether it holds anything."""
        if store.kind == "registry" and self._read_image(store.location):
            return True
        place = opened(store, self._registries, False)
        data = place.manifest()
        return data is not None and self._read_manifest(place, data, store.location, True)

    def _read_image(self, name: str) -> bool:
        """Look for a cache in the image of the store that has this name."""
        try:
            image = images.resolve(self._meta, name)
        except (NotFound, InvalidInput):
            return False
        text = images.config(self._paths, image.id).get(buildkit.INLINE)
        if not isinstance(text, str):
            return False
        own = [
            Descriptor(digest=diff_id, size=0, annotations={buildkit.UNCOMPRESSED: diff_id})
            for diff_id in image.diff_ids
        ]
        self._theirs.append((None, buildkit.Records.inline(_plain(text, name), own, name)))
        return True

    def _read_manifest(self, place: Place, data: bytes, where: str, top: bool) -> bool:
        what = f"build cache {where}"
        if manifests.kind(document.read(data, object, what).view) == "index":
            index: manifests.Index = manifests.read_index(data, what).view
            entries = index.manifests or []
            blobs = [entry for entry in entries if entry.media_type == buildkit.CONFIG]
            if blobs:
                self._add(place, blobs[0], entries, where)
                return self._read_own(place, entries, where) or True
            found = [
                self._read_manifest(place, place.child(entry), where, False)
                for entry in entries
                if top and not entry.is_attestation
            ]
            return any(found)
        view: manifests.Manifest = manifests.read_manifest(data, what).view
        own = view.layers or []
        if view.config.media_type == buildkit.CONFIG:
            self._add(place, view.config, own, where)
            return self._read_own(place, own, where) or True
        if view.config.media_type == CONFIG:
            return self._read_own(place, [view.config], where)
        return self._read_inline(place, view.config, own, where)

    def _add(self, place: Place, config: Descriptor, blobs: Sequence[Descriptor], where: str) -> None:
        _check_blobs(blobs, where)
        data = place.document(config, _CONFIG_LIMIT)
        self._theirs.append((place, buildkit.Records(data, {blob.digest: blob for blob in blobs}, where)))

    def _read_inline(self, place: Place, config: Descriptor, blobs: Sequence[Descriptor], where: str) -> bool:
        try:
            view = msgspec.json.decode(place.document(config, _CONFIG_LIMIT), type=_Inline)
        except msgspec.MsgspecError as error:
            raise Corrupt(f"build cache {where}: {error}") from None
        diff_ids = (view.rootfs or {}).get("diff_ids")
        if not view.cache or not isinstance(diff_ids, list) or len(diff_ids) != len(blobs):
            return False
        for blob, diff_id in zip(blobs, diff_ids, strict=True):
            blob.annotations = {**(blob.annotations or {}), buildkit.UNCOMPRESSED: str(diff_id)}
        _check_blobs(blobs, where)
        self._theirs.append((place, buildkit.Records.inline(_plain(view.cache, where), blobs, where)))
        return True

    def _read_own(self, place: Place, blobs: Sequence[Descriptor], where: str) -> bool:
        for blob in blobs:
            if blob.media_type == CONFIG:
                for entry in _entries(place, blob, where):
                    self._known.setdefault(entry.key, (place, entry))
                return True
        return False

    def find(self, key: str, theirs: Key | None, below: Sequence[Made]) -> tuple[Layer, int] | None:
        """Return the layer of a step, brought into the store, and when it was made (ns); None when no cache has it.

        `theirs` is BuildKit's key of the step, `below` are the layers that it stands on.
        """
        if key in self._useless:
            return None
        known = self._known.get(key)
        try:
            if known is not None:
                place, entry = known
                layer = self._brought(
                    place, _descriptor(mediatype.OCI_LAYER_GZIP, entry.blob, entry.size), entry.diff_id
                )
                return layer, entry.created
            return self._find_theirs(theirs, below) if theirs is not None else None
        except (UnderlayError, OSError) as error:
            self._useless.add(key)
            self._warn(f"a result in a cache of --cache-from was not used: {error}")
            return None

    def _find_theirs(self, key: Key, below: Sequence[Made]) -> tuple[Layer, int] | None:
        for place, records in self._theirs:
            with self._lock:
                found = records.find(key)
            if found is None:
                continue
            standing = sum(bool(layers.size(self._paths, made.layer().diff_id) > _EMPTY_SIZE) for made in below)
            if found.empty and len(found.layers) == standing:
                return self._empty(), found.created
            if not found.empty and len(found.layers) == standing + 1:
                blob = found.layers[-1]
                return self._brought(place, blob, blob.annotation(buildkit.UNCOMPRESSED)), found.created
        return None

    def _empty(self) -> Layer:
        with LayerWriter(self._paths) as writer:
            made = writer.finish()
        return layer_rows.Layer(made.diff_id, made.size, made.entries, made.content)

    def _brought(self, place: Place | None, blob: Descriptor, diff_id: str) -> Layer:
        """Return a layer, brought into the store. Raises DigestMismatch, Corrupt for one that is not what is said of it."""
        if place is not None:
            source = place.open(blob)
            try:
                made = intake.ingest(
                    self._paths, source, expected_diff_id=diff_id or None, expected_blob=(blob.digest, blob.size)
                )
            finally:
                source.close()
            diff_id = made.diff_id if made is not None else diff_id
        layer = layer_rows.Layer(diff_id, *layers.measure(self._paths, diff_id))
        if place is not None and (blob.media_type or "").endswith("gzip"):
            layer.blob, layer.blob_size, layer.compression = blob.digest, blob.size, "gzip"
        return layer


_EMPTY_SIZE = 1024  # bytes of a tar with nothing in it: two blocks of zeros


def _plain(text: str, where: str) -> bytes:
    try:
        return a2b_base64(text)
    except (Base64Error, ValueError):
        raise Corrupt(f"build cache {where}: {buildkit.INLINE} is not base64") from None


def _check_blobs(blobs: Sequence[Descriptor], where: str) -> None:
    for blob in blobs:
        diff_id = blob.annotation(buildkit.UNCOMPRESSED)
        if diff_id:
            digests.check(diff_id, f"build cache {where}")


def _descriptor(media_type: str, digest: str, size: int) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest, size=size)


def _entries(place: Place, blob: Descriptor, where: str) -> list[_Entry]:
    try:
        config = msgspec.json.decode(place.document(blob, _CONFIG_LIMIT), type=_Config)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"build cache {where}: {error}") from None
    if len(config.records) > _MOST:
        raise InvalidInput(f"build cache {where}: more than {_MOST} records")
    for entry in config.records:
        digests.check(entry.diff_id, f"build cache {where}")
        digests.check(entry.blob, f"build cache {where}")
    return config.records


class Results:
    """What of a build goes into an external cache: our `records`, and the file systems that have BuildKit's keys, each with
    the time when it was made (ns)."""

    __slots__ = ("noted", "records")

    def __init__(self, records: Sequence[Record], noted: Sequence[tuple[Filesystem, int]]) -> None:
        self.records = records
        self.noted = noted


def export(paths: Paths, store: CacheStore, results: Results, registries: Registries | None, emit: Emit) -> None:
    """Write results to an external cache, in place of those under its name. Raises OSError, RegistryError, …."""
    place = opened(store, registries, True)
    blobs = _Blobs(paths, place, emit)
    entries: list[dict[str, object]] = []
    for record in results.records:
        blob = blobs.of(record.layer.diff_id, record.created)
        entries.append(
            {
                "key": record.key,
                "parent": record.parent,
                "diff_id": record.layer.diff_id,
                "blob": blob["digest"],
                "size": blob["size"],
                "created": record.created,
                "kind": record.kind,
                "description": record.description,
            }
        )
    writer = buildkit.Writer()
    for filesystem, created in results.noted:
        assert filesystem.buildkit is not None
        chain = [str(blobs.of(made.layer().diff_id, created)["digest"]) for made in filesystem.layers]
        writer.add(filesystem.buildkit, chain, created)
    own = _document(place, {"records": entries}, CONFIG)
    theirs = _document(place, writer.config, buildkit.CONFIG)
    if store.image_manifest:
        whole = {"mediaType": mediatype.OCI_MANIFEST, "config": theirs, "layers": [*blobs.descriptors, own]}
    else:
        whole = {"mediaType": mediatype.OCI_INDEX, "manifests": [*blobs.descriptors, own, theirs]}
    place.finish(document.encode({"schemaVersion": 2, **whole}), str(whole["mediaType"]))


def _document(place: Place, value: dict[str, object], media_type: str) -> dict[str, object]:
    data = document.encode(value)
    digest = digests.of(data)
    place.put(Document(data, digest))
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


class _Blobs:
    """The compressed layers of a cache, each put in its place when it is first wanted."""

    def __init__(self, paths: Paths, place: Place, emit: Emit) -> None:
        self._paths = paths
        self._place = place
        self._emit = emit
        self._known: dict[str, dict[str, object]] = {}

    def of(self, diff_id: str, created: int) -> dict[str, object]:
        """Return the descriptor of a layer; `created` is when it was made (ns)."""
        if diff_id not in self._known:
            source = Compressed(self._paths, diff_id, self._emit)
            for _ in source.pieces(0):
                pass
            self._place.put(source)
            self._known[diff_id] = {
                "mediaType": mediatype.OCI_LAYER_GZIP,
                "digest": source.digest,
                "size": source.size,
                "annotations": {buildkit.UNCOMPRESSED: diff_id, buildkit.CREATED: rfc3339(created)},
            }
        return self._known[diff_id]

    @property
    def descriptors(self) -> Iterator[dict[str, object]]:
        """All of them."""
        yield from self._known.values()


def inline(noted: Sequence[tuple[Filesystem, int]], diff_ids: Sequence[str]) -> list[dict[str, object]]:
    """Return the records to put into the configuration of an image with these layers: of steps whose layers it has."""
    writer = buildkit.Writer()
    writer.start(diff_ids)
    for filesystem, created in noted:
        assert filesystem.buildkit is not None
        chain = [made.layer().diff_id for made in filesystem.layers]
        if chain == list(diff_ids[: len(chain)]):
            writer.add(filesystem.buildkit, chain, created)
    return writer.records
