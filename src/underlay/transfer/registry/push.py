"""Pushing: an image of the store goes to a registry, which gets only what it lacks.

An image leaves with the manifest it came with when the registry has its layers, can take them from another of its
repositories, or when they can be given in the very form that manifest names; else with a new manifest over the same
configuration, its layers compressed here. That form can be made again byte for byte, so a second push sends nothing.
"""

from __future__ import annotations

from ...errors import Conflict, InvalidInput, NotFound, UnderlayError
from ...events import Event
from ...oci import digest as digests
from ...oci import document, mediatype
from ...oci import manifest as manifests
from ...oci.reference import Reference, parse_exact
from ...registry.upload import Target
from ...store import blobs, leases
from ...store.rows import images
from ...store.rows import layers as layer_rows
from ..arrivals import in_threads
from ..attached import attached
from . import outgoing
from .outgoing import Pushed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...oci.platform import Platform
    from ...paths import Paths
    from ...registry.registries import Registries
    from ...store.rows.images import ImageRow
    from ...store.rows.meta import Meta
    from .outgoing import Compressed, Stored

# Repositories that are asked whether a layer can be taken from them, and forms of it that are asked for.
_SOURCES = 3
# Manifests of one image that are tried before it gets a new one.
_FORMS = 4


class _Form:
    """A layer as it is stored in the registry: its `digest`, `size`, `compression`, and `recipe` if it was made here."""

    __slots__ = ("compression", "diff_id", "digest", "recipe", "size")

    def __init__(self, diff_id: str, digest: str, size: int, compression: str, recipe: str = "") -> None:
        self.diff_id = diff_id
        self.digest = digest
        self.size = size
        self.compression = compression
        self.recipe = recipe


def push(
    paths: Paths,
    meta: Meta,
    registries: Registries,
    reference: Reference,
    emit: Emit,
    platform: Platform | None = None,
    to: Reference | None = None,
) -> Pushed:
    """Push the image named `reference` to where that name points, or `to` another; whole indexes where they can be had.

    Emits `push.start`, `push.single` (one image of an index goes out), `blob.wait`, `blob.progress`, and for each blob
    `blob.exists`, `blob.mounted` or `blob.done`.
    Raises NotFound, InvalidInput (a digest), AccessDenied, Conflict (blocked), RegistryError, Corrupt.
    """
    goal = to or reference
    if goal.digest:
        raise InvalidInput("cannot push a digest reference", "push a tag; the digest follows from it")
    with leases.working(paths):
        try:
            image = images.resolve(meta, str(reference), platform)
        except NotFound as error:
            if "specified platform" in error.message:
                raise
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_repository}") from None
        emit(Event("push.start", goal.familiar, repository=goal.repository, tag=goal.tag))
        work = _Push(paths, meta, registries, goal, emit)
        target = image.manifest if platform else images.target_of(meta, image, str(reference))
        if target != image.manifest and work.is_index(target):
            if work.index(target):
                return work.named(blobs.read(paths, target), target)
            emit(Event("push.single", goal.familiar, platform=str(image.platform)))
        return work.image(image, moves=platform is None and to is None)


class _Push:
    """One push: its destination, and the form of each layer there."""

    def __init__(self, paths: Paths, meta: Meta, registries: Registries, reference: Reference, emit: Emit) -> None:
        self._paths = paths
        self._meta = meta
        self._emit = emit
        self._registries = registries
        self._reference = reference
        self._target = Target(registries, reference.domain, reference.path)
        self._parallel = registries.settings.network.parallel_layers

    def named(self, data: bytes, digest: str) -> Pushed:
        """Give the document its tag."""
        media_type = manifests.media_type(document.decode(data, "manifest"))
        self._target.put_manifest(data, media_type, self._reference.tag)
        self._emit(Event("image.push", self._reference.familiar, digest=digest, size=len(data)))
        return Pushed(digest, len(data))

    def image(self, image: ImageRow, moves: bool) -> Pushed:
        """Push one image under its tag; the local name `moves` to the pushed image."""
        data, forms = self._manifest_and_layers(image)
        self._config(image)
        digest = digests.of(data)
        if digest != image.manifest:
            blobs.put(self._paths, data)
        pushed = self.named(data, digest)
        made = []
        for form in forms:
            if form.recipe:
                layer = layer_rows.Layer(form.diff_id, 0, 0, 0)
                layer.blob, layer.blob_size, layer.compression = form.digest, form.size, form.compression
                made.append((layer, form.recipe))
        images.record_pushed(self._meta, image.id, self._reference, digest, [digest], made, moves)
        return pushed

    def is_index(self, target: str) -> bool:
        """Return whether a document is in the store, and an index."""
        if not blobs.exists(self._paths, target):
            return False
        return manifests.kind(document.decode(blobs.read(self._paths, target), "index")) == "index"

    def index(self, target: str) -> bool:
        """Push all that an index names, but the index itself; False when not all of it can be had.

        What is not here may be there already, or in another repository of the registry that has the index.
        """
        index_view: manifests.Index = manifests.read_index(blobs.read(self._paths, target), "index").view
        local: list[ImageRow] = []
        beside: list[tuple[str, list[str]]] = []
        absent: list[str] = []
        for entry in index_view.manifests or []:
            image = images.with_manifest(self._meta, entry.digest)
            if image is not None:
                local.append(image)
            elif (hanging := attached(self._paths, entry.digest)) is not None:
                beside.append((entry.digest, hanging))
            elif self._target.head(entry.digest) is None:
                absent.append(entry.digest)
        if not all(self._mounted(digest, target) for digest in absent):
            return False
        for image in local:
            original = blobs.read(self._paths, image.manifest)
            view: manifests.Manifest = manifests.read_manifest(original, "manifest").view
            if not self._as_they_came(view.layers or [], image.diff_ids):
                if self._target.head(image.manifest) is None and not self._mounted(image.manifest, target):
                    return False
                continue
            self._config(image)
            media_type = view.media_type or mediatype.OCI_MANIFEST
            self._target.put_manifest(original, media_type, image.manifest)
        for digest, hanging in beside:
            for blob_digest in hanging:
                if not self._target.present(blob_digest):
                    self._target.send(outgoing.Document(blobs.read(self._paths, blob_digest), blob_digest))
            data = blobs.read(self._paths, digest)
            self._target.put_manifest(data, manifests.media_type(document.decode(data, "manifest")), digest)
        return True

    def _mounted(self, digest: str, index: str) -> bool:
        """Take a manifest with all its blobs from another repository of the registry where `index` is known to be."""
        for text in images.repositories_of(self._meta, index):
            other = parse_exact(text)
            if other.domain != self._reference.domain or other.path == self._reference.path:
                continue
            try:
                manifest = self._registries.repository(other).manifest(digest)
                view: manifests.Manifest = manifests.read_manifest(manifest.data, f"manifest {digest}").view
            except UnderlayError:
                continue  # whatever keeps it from being read there: then one image goes out
            blobs_of = dict.fromkeys(layer.digest for layer in (view.config, *(view.layers or [])))
            if all(
                self._target.present(blob_digest) or self._target.mount(blob_digest, other.path)
                for blob_digest in blobs_of
            ):
                media_type = manifests.media_type(document.decode(manifest.data, "manifest"), manifest.media_type)
                self._target.put_manifest(manifest.data, media_type, digest)
                return True
        return False

    def _config(self, image: ImageRow) -> None:
        if not self._target.present(image.id):
            self._target.send(outgoing.Document(blobs.read(self._paths, image.id), image.id))

    # Layers

    def _manifest_and_layers(self, image: ImageRow) -> tuple[bytes, list[_Form]]:
        """Return the manifest that the image gets, all its layers in place, and those that were given another form."""
        original = blobs.read(self._paths, image.manifest)
        read = manifests.read_manifest(original, "manifest")
        view: manifests.Manifest = read.view
        for diff_id in dict.fromkeys(image.diff_ids):
            self._emit(Event("blob.wait", diff_id))
        for data in self._candidates(image, original):
            layers = manifests.read_manifest(data, "manifest").view.layers or []
            if self._as_they_came(layers, image.diff_ids, tars=data is not original):
                return data, []
        forms = in_threads(self._somehow, list(dict.fromkeys(image.diff_ids)), self._parallel, self._registries.cancel)
        by_diff_id = {form.diff_id: form for form in forms}
        forms = [by_diff_id[diff_id] for diff_id in image.diff_ids]
        docker = view.media_type == mediatype.DOCKER_MANIFEST
        entries = [
            {
                "mediaType": mediatype.docker_layer_for(f.compression)
                if docker
                else mediatype.layer_for(f.compression),
                "digest": f.digest,
                "size": f.size,
            }
            for f in forms
        ]
        return document.edited(read, {"layers": entries}), forms

    def _candidates(self, image: ImageRow, original: bytes) -> list[bytes]:
        """Return the manifests that the image has or has had somewhere, the likeliest for this name first."""
        view: manifests.Manifest = manifests.read_manifest(original, "manifest").view
        # Plain tars stand in the manifests that are made at load and import: any that went out comes before those.
        plain = any(one.digest == d for one, d in zip(view.layers or [], image.diff_ids, strict=True))
        target, stands_for = images.named(self._meta, self._reference)
        first = [target] if stands_for == image.id else []
        rest = images.targets(self._meta, image.id)
        order = [*first, *rest, image.manifest] if plain else [*first, image.manifest, *rest]
        candidates = []
        for digest in dict.fromkeys(order):
            if digest == image.manifest:
                candidates.append(original)
            elif blobs.exists(self._paths, digest):
                data = blobs.read(self._paths, digest)
                if manifests.kind(document.decode(data, "manifest")) == "manifest":
                    candidates.append(data)
        return candidates[:_FORMS]

    def _as_they_came(self, named: Sequence[Descriptor], diff_ids: Sequence[str], tars: bool = True) -> bool:
        """Get the layers there in the very forms named; False when one cannot be had so. `tars` may be sent plain."""
        pairs = list(
            dict.fromkeys((one.digest, one.size, diff_id) for one, diff_id in zip(named, diff_ids, strict=True))
        )
        sources: dict[str, Stored | Compressed | None] = {}
        for digest, size, diff_id in pairs:
            source = outgoing.as_named(self._paths, self._meta, diff_id, digest, size, self._emit)
            sources[digest] = None if digest == diff_id and not tars else source

        def there(pair: tuple[str, int, str]) -> bool:
            return self._taken(pair[0], pair[2])

        present = in_threads(there, pairs, self._parallel, self._registries.cancel)
        missing = [pair for pair, have in zip(pairs, present, strict=True) if not have]
        if any(sources[digest] is None for digest, _, _ in missing):
            return False

        def send(pair: tuple[str, int, str]) -> None:
            source = sources[pair[0]]
            assert source is not None
            self._send(source)
            if source.digest != pair[0]:
                raise Conflict(f"compressing layer {pair[2]} again gave different bytes", "push again")

        in_threads(send, missing, self._parallel, self._registries.cancel)
        return True

    def _taken(self, digest: str, diff_id: str) -> bool:
        """Return whether the repository has a blob, or could mount it from another repository of its registry."""
        if self._target.present(digest):
            self._emit(Event("blob.exists", diff_id))
            return True
        for repository in self._elsewhere(diff_id):
            if self._target.mount(digest, repository):
                self._emit(Event("blob.mounted", diff_id, source=repository))
                return True
        return False

    def _elsewhere(self, diff_id: str) -> list[str]:
        paths = []
        for text in layer_rows.repositories_with(self._meta, diff_id):
            other = parse_exact(text)
            if other.domain == self._reference.domain and other.path != self._reference.path:
                paths.append(other.path)
        return paths[:_SOURCES]

    def _somehow(self, diff_id: str) -> _Form:
        """Upload a layer in any form: one that the registry has, one that is stored, or one compressed now."""
        known = [form for form in layer_rows.layer_blobs(self._meta, diff_id) if form[2] in ("gzip", "zstd")]
        for digest, size, compression, _ in known[:_SOURCES]:
            if self._taken(digest, diff_id):
                return _Form(diff_id, digest, size, compression)
        for digest, size, compression, kept in known:
            if kept and blobs.exists(self._paths, digest):
                path = blobs.path(self._paths, digest)
                self._send(outgoing.Stored(path, diff_id, digest, size, compression, self._emit))
                return _Form(diff_id, digest, size, compression)
        source = outgoing.Compressed(self._paths, diff_id, self._emit)
        self._send(source)
        return _Form(diff_id, source.digest, source.size, source.compression, source.recipe)

    def _send(self, source: Stored | Compressed) -> None:
        self._target.send(source)
        self._emit(Event("blob.done", source.subject, digest=source.digest, size=source.size))
