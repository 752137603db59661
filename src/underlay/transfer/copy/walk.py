"""One copy: walks an index, its manifests and their blobs, and transfers them, unchanged wherever possible."""

from __future__ import annotations

from ...errors import Conflict, InvalidInput, LimitExceeded, NotFound
from ...events import Event
from ...oci import config as configs
from ...oci import descriptor as descriptors
from ...oci import digest as digests
from ...oci import document, mediatype
from ...oci import manifest as manifests
from ...oci.descriptor import Descriptor
from ..arrivals import in_threads
from ..choose import choose
from ..registry.outgoing import Pushed
from . import forms
from .forms import GZIP, KEPT, PLAIN, Passing
from .signatures import Signatures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...events import Emit
    from ...oci.platform import Platform
    from .origin import Origin
    from .target import Destination

_NESTING = 4
_MANIFESTS = 1000


class Request:
    """How an image is copied: for the `platform` alone (None: all where the destination can hold them, or with `all` or
    not at all), its manifests in the `format` "oci" or "docker" ("" for as they are), and with or without `signatures`."""

    __slots__ = ("all", "format", "platform", "signatures")

    def __init__(
        self, platform: Platform | None = None, all: bool = False, format: str = "", signatures: bool = True
    ) -> None:
        if format not in ("", *forms.FORMATS):
            raise InvalidInput(f"unknown format {format!r:.40}", f"choose one of {', '.join(forms.FORMATS)}")
        if platform is not None and all:
            raise InvalidInput(
                "one platform and all platforms cannot be requested together", "leave --platform or --all out"
            )
        self.platform = platform
        self.all = all
        self.format = format
        self.signatures = signatures


class Done:
    """A manifest or an index at the destination: its bytes, their media type and digest."""

    __slots__ = ("data", "digest", "media_type")

    def __init__(self, data: bytes, media_type: str) -> None:
        self.data = data
        self.media_type = media_type
        self.digest = digests.of(data)


def copy(origin: Origin, target: Destination, request: Request, emit: Emit, cancel: Callable[[], None]) -> Pushed:
    """Copy what `origin` stands for to `target`; return digest and size of what stands there now.

    Emits for each blob `blob.wait`, `blob.progress` and one of `blob.exists`, `blob.mounted`, `blob.done`. `cancel` is
    called to wake up threads that wait. Raises NotFound, DigestMismatch, Corrupt, Conflict (signatures that would no longer
    hold), InvalidInput, LimitExceeded, what origin and target raise.
    """
    work = _Copy(origin, target, request, emit, cancel)
    root = origin.root()
    index = request.platform is None and target.indexes
    if not index:
        root = _one(origin, target, root, request)
    data = origin.manifest(root)
    if data is None:
        raise NotFound(f"{origin.location} lacks the manifest {root.digest}")
    done = work.manifest(data, root.media_type or "", 0)
    target.finish(done.data, done.media_type, done.digest)
    return Pushed(done.digest, len(done.data))


def _one(origin: Origin, target: Destination, root: Descriptor, request: Request) -> Descriptor:
    """Return the descriptor of the one image that is copied. Raises InvalidInput where all are asked for and cannot go."""
    candidates = choose(origin, [root], [request.platform] if request.platform else [])
    chosen = candidates[0].manifest
    if request.all and chosen.digest != root.digest:
        raise InvalidInput(
            f"{target.location} can hold the image of one platform only", "leave --all out, or write oci-archive:PATH"
        )
    return Descriptor(digest=chosen.digest, size=len(chosen.data), media_type=manifests.media_type(chosen.value))


class _Copy:
    def __init__(
        self, origin: Origin, target: Destination, request: Request, emit: Emit, cancel: Callable[[], None]
    ) -> None:
        self._origin = origin
        self._target = target
        self._format = request.format
        self._emit = emit
        self._cancel = cancel
        self._seen: set[str] = set()  # manifests
        self._sent: dict[str, Passing] = {}  # blobs, by the digests that they have at the origin
        self._count = 0
        self._signatures = (
            Signatures(origin, target, self._attached, cancel) if request.signatures and target.attaches else None
        )

    def manifest(self, data: bytes, stated: str, depth: int, signed: bool = True) -> Done:
        """Copy all that a manifest or index names, and what is `signed` of it; return what it is at the destination.

        The caller writes that document itself.
        """
        self._count += 1
        if depth > _NESTING or self._count > _MANIFESTS:
            raise LimitExceeded(
                f"{self._origin.location}: it refers to more than {_NESTING} levels or {_MANIFESTS} manifests"
            )
        value = document.decode(data, "manifest")
        manifests.check_stated(value, stated, f"manifest {digests.of(data)}")
        kind = manifests.kind(value, stated)
        done = self._index(data, stated, depth) if kind == "index" else self._image(data, stated)
        if self._signatures is not None and signed:
            before = digests.of(data)
            if before == done.digest:
                self._signatures.copy(before)
            elif self._signatures.there(before):
                raise Conflict(
                    f"{self._origin.location} is signed, and the conversion would invalidate the signatures",
                    "copy it as it is, or leave them behind with --remove-signatures",
                )
        return done

    def _attached(self, descriptor: Descriptor, tag: str) -> None:
        """Copy a manifest that stands beside the image, its signature for one, with what is attached to that."""
        data = self._document(descriptor)
        if data is None:
            return
        done = self.manifest(data, descriptor.media_type or "", 1)
        self._target.put(done.data, done.media_type, done.digest, tag)

    def _document(self, descriptor: Descriptor) -> bytes | None:
        if descriptor.digest in self._seen:
            return None
        self._seen.add(descriptor.digest)
        data = self._origin.manifest(descriptor)
        if data is None:
            raise NotFound(f"{self._origin.location} lacks the manifest {descriptor.digest}")
        descriptors.check_length(descriptor, len(data), "manifest")
        return data

    def _index(self, data: bytes, stated: str, depth: int) -> Done:
        read = manifests.read_index(data, f"index {digests.of(data)}")
        view: manifests.Index = read.view
        changed: dict[str, Done] = {}
        for entry in view.manifests or []:
            below = self._document(entry)
            if below is None:
                continue
            # Attestations of an index are not signed: its own signature covers them.
            done = self.manifest(below, entry.media_type or "", depth + 1, signed=not entry.is_attestation)
            self._target.put(done.data, done.media_type, done.digest)
            if done.digest != entry.digest:
                changed[entry.digest] = done
        media_type = forms.converted(manifests.media_type(read.value, stated), self._format)
        if not changed and media_type == manifests.media_type(read.value, stated):
            return Done(data, media_type)
        entries = [_moved(entry, changed) for entry in read.value["manifests"]]
        return Done(document.edited(read, {"mediaType": media_type, "manifests": entries}), media_type)

    def _image(self, data: bytes, stated: str) -> Done:
        read = manifests.read_manifest(data, f"manifest {digests.of(data)}")
        view: manifests.Manifest = read.view
        media_type = manifests.media_type(read.value, stated)
        layers = view.layers or []
        # What is no image (a signature, a chart) has no other form.
        is_image = (view.config.media_type or mediatype.OCI_CONFIG) in mediatype.CONFIGS and all(
            mediatype.is_layer(layer.media_type or mediatype.OCI_LAYER) for layer in layers
        )
        wanted = [self._form(layer) if is_image else KEPT for layer in layers]
        blobs = [(view.config, KEPT, ""), *((layer, form, "") for layer, form in zip(layers, wanted, strict=True))]
        if any(form != KEPT for form in wanted):
            config = self._origin.config(view.config)
            if config is None:
                raise NotFound(f"{self._origin.location} lacks the configuration {view.config.digest}")
            diff_ids = configs.read(config, f"configuration {view.config.digest}").view.diff_ids
            blobs[1:] = zip(layers, wanted, diff_ids, strict=True)
        self._blobs(blobs)
        if not is_image or (media_type == forms.converted(media_type, self._format) and set(wanted) <= {KEPT}):
            return Done(data, media_type)
        entries = []
        for entry, layer, form in zip(read.value["layers"], layers, wanted, strict=True):
            kind = layer.media_type or mediatype.OCI_LAYER
            if form != KEPT:
                blob = self._sent[layer.digest]
                entry = {**entry, "digest": blob.digest, "size": blob.size}
                kind = forms.layer_type(kind, form)
            entries.append({**entry, "mediaType": forms.converted(kind, self._format)})
        config_type = forms.converted(view.config.media_type or mediatype.OCI_CONFIG, self._format)
        changes: dict[str, object] = {
            "mediaType": forms.converted(media_type, self._format),
            "config": {**read.value["config"], "mediaType": config_type},
            "layers": entries,
        }
        made = document.edited(read, changes)
        return Done(made, forms.converted(media_type, self._format))

    def _form(self, layer: Descriptor) -> str:
        """Return the form that a layer gets at the destination."""
        now = forms.compression_of(layer.media_type or mediatype.OCI_LAYER)
        if self._target.layers == PLAIN:
            return KEPT if now == PLAIN else PLAIN
        # docker's manifests have no word for zstd.
        if (self._format == "docker" and now == "zstd") or (
            self._target.layers == GZIP and self._origin.plain and now == PLAIN
        ):
            return GZIP
        return KEPT

    def _blobs(self, blobs: Sequence[tuple[Descriptor, str, str]]) -> None:
        """Bring blobs to the destination, each in its form, as a layer in another form with its diff id."""
        todo = {blob.digest: (blob, form, diff_id) for blob, form, diff_id in blobs if blob.digest not in self._sent}
        for blob, _, _ in todo.values():
            self._emit(Event("blob.wait", blob.digest, total=blob.size))
        for sent in in_threads(self._blob, list(todo.values()), self._target.parallel, self._cancel):
            self._sent[sent.subject] = sent

    def _blob(self, item: tuple[Descriptor, str, str]) -> Passing:
        blob, form, diff_id = item
        passing = Passing(self._origin, blob, self._emit, form, diff_id)
        if form == KEPT and self._target.present(blob, self._origin):
            return passing
        self._target.send(passing)
        self._emit(Event("blob.done", blob.digest, digest=passing.digest, size=passing.size))
        return passing


def _moved(entry: dict[str, object], changed: dict[str, Done]) -> dict[str, object]:
    """Return an entry of an index as it is when manifests have got other digests; attestations name theirs, too."""
    done = changed.get(str(entry["digest"]))
    if done is not None:
        entry = {**entry, "mediaType": done.media_type, "digest": done.digest, "size": len(done.data)}
    noted = entry.get("annotations")
    if isinstance(noted, dict):
        entry["annotations"] = {
            key: changed[value].digest if value in changed else value for key, value in noted.items()
        }
    return entry
