"""Outputs of a build: images of the store with names, archives, a directory, or nothing."""

from __future__ import annotations

import os
from time import time_ns

from ...errors import InvalidInput, NotFound, Unsupported
from ...oci import document, mediatype
from ...oci import reference as references
from ...oci.annotations import BASE_DIGEST, BASE_NAME
from ...store import blobs, layers, rootfs
from ...store.rows import images
from ...store.rows import layers as layer_rows
from ...transfer.recording import made_manifest
from .. import image
from ..image import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...oci.configuration import Configuration
    from ...oci.reference import Reference
    from ...paths import Paths
    from ...store.rows.images import NewImage
    from ...store.rows.layers import Layer
    from ...store.rows.meta import Meta
    from ..builder import Surroundings
    from ..image import State
    from ..request import Output
    from ..work import Work

_LEVELS = ("manifest", "manifest-descriptor", "index")
_PIECE = 1 << 24


class Built:
    """What a build has made: the image's `id` and `target` (digest of its manifest, or of an index) with its `size`, the
    `names` it has, and the `provenance` if one was asked for."""

    __slots__ = ("id", "media_type", "names", "provenance", "size", "target")

    def __init__(self) -> None:
        self.id = ""
        self.target = ""
        self.media_type = mediatype.OCI_MANIFEST
        self.size = 0
        self.names: list[str] = []
        self.provenance: dict[str, object] | None = None


class _Image:
    """One platform's result on its way into the store."""

    def __init__(self, work: Work, state: State) -> None:
        self.work = work
        self.state = state
        self.new: NewImage
        self.size = 0  # bytes of its manifest
        self.descriptor: dict[str, object] = {}
        self.beside: list[dict[str, object]] = []  # descriptors of its attestations


def deliver(works: list[Work], states: list[State], around: Surroundings, begun: int) -> Built:
    """Give the results of the platforms where the request wants them. Raises Unsupported, InvalidInput, OSError."""
    request = works[0].request
    outputs = request.outputs or [_stored()]
    built = Built()
    if any(output.kind in ("image", "docker", "oci") for output in outputs):
        with works[0].vertices("exporting to image") as vertex:
            vertex.status("exporting layers")
            made = [_made(work, state, around, begun, built) for work, state in zip(works, states, strict=True)]
            _join(made, around, built)
            names = [references.parse(text) for text in request.tags]
            names += [references.parse(text) for output in outputs if output.name for text in output.name.split(",")]
            keep = any(
                output.kind == "image" or (output.kind == "docker" and not output.destination) for output in outputs
            )
            vertex.status(f"writing image {built.id}")
            new = [built_image.new.id for built_image in made if images.get(around.meta, built_image.new.id) is None]
            _record(made, names if keep else [], around, built)
            try:
                for name in names if keep else []:
                    vertex.status(f"naming to {name}")
                for output in outputs:
                    if output.kind == "oci" or (output.kind == "docker" and output.destination):
                        _archive(output, made, names, around, built)
            finally:
                # A request for an archive only records no image; its layers are in the build cache.
                for image_id in new if not keep else []:
                    images.forget(around.meta, image_id)
    for output in outputs:
        if output.kind == "local":
            with works[0].vertices("exporting to client directory"):
                _local(output, works, states, around, begun)
        elif output.kind == "tar":
            if len(states) > 1:
                raise Unsupported(
                    "--output type=tar supports one platform only", "type=local writes a directory for each"
                )
            with works[0].vertices("exporting to client tarball"):
                _tar(output, states[0], around, request.epoch)
    return built


def _stored() -> Output:
    from ..request import Output

    return Output("image")


# Images


def _made(work: Work, state: State, around: Surroundings, begun: int, built: Built) -> _Image:
    request = work.request
    made = _Image(work, state)
    image_layers = [made_layer.layer() for made_layer in state.filesystem.layers]
    history = state.history
    if request.squash:
        image_layers = _squashed(work, state, image_layers, around)
    diff_ids = [layer.diff_id for layer in image_layers]
    configuration = image.configuration(state, diff_ids, request.labels, request.epoch)
    if any(store.kind == "inline" for store in request.cache_to):
        _put_cache(configuration, work, diff_ids)
    config = document.encode(configuration)
    state.history = history
    image_id = blobs.put(around.paths, config)
    annotations = {}
    if state.base is not None:
        annotations = {BASE_NAME: state.base.name, BASE_DIGEST: state.base.image.manifest}
    annotations |= _annotations(request.annotations, "manifest")
    forms = [(layer.diff_id, layer.size, "none") for layer in image_layers]
    several = bool(request.provenance or request.sbom or len(request.platforms) > 1)
    if several:
        # What is part of an index goes out as it is, or not at all: so in the form that registries like.
        forms = [_kept(around.paths, around.meta, layer, around) for layer in image_layers]
    data = made_manifest(image_id, len(config), forms, annotations)
    manifest = blobs.put(around.paths, data)
    made.new = images.NewImage(
        image_id,
        manifest,
        state.platform,
        configuration.get("created") or "",
        image_layers,
        [image_id, manifest],
        rootfs.chain_of(diff_ids),
    )
    described = _annotations(request.annotations, "manifest-descriptor")
    platform = state.platform.brief
    made.size = len(data)
    made.descriptor = {
        "mediaType": mediatype.OCI_MANIFEST,
        "digest": manifest,
        "size": len(data),
        **({"annotations": described} if described else {}),
        "platform": {
            "architecture": platform.architecture,
            "os": platform.os,
            **({"variant": platform.variant} if platform.variant else {}),
        },
    }
    if request.provenance or request.sbom:
        _attest(made, around, begun, built)
    return made


def _put_cache(configuration: Configuration, work: Work, diff_ids: list[str]) -> None:
    """Put the build cache of an image's own steps into its configuration, as BuildKit's inline caches are."""
    from base64 import b64encode

    from ..cache import outside

    records = document.encode(outside.inline(work.cache.noted, diff_ids))
    configuration["moby.buildkit.cache.v0"] = b64encode(records).decode()


def _annotations(texts: list[str], level: str) -> dict[str, str]:
    """Return those of `[level[,level]:]key=value` that are meant for `level`; without one the manifest is meant."""
    selected = {}
    for text in texts:
        name, equals, value = text.partition("=")
        levels, colon, key = name.rpartition(":")
        words = levels.split(",") if colon else ["manifest"]
        if not equals or not key:
            raise InvalidInput(f"invalid annotation {text!r}", "expected key=value")
        for word in words:
            if word.partition("[")[0] not in _LEVELS:
                raise InvalidInput(
                    f"invalid annotation {text!r}: unknown level {word!r}", f"known: {', '.join(_LEVELS)}"
                )
            if word.partition("[")[0] == level:
                selected[key] = value
    return selected


def _squashed(work: Work, state: State, image_layers: list[Layer], around: Surroundings) -> list[Layer]:
    """Return the layers with all new ones squashed into one; their entries in the history become empty layers."""
    from ...store.layers import flatten

    below = len(state.base.image.diff_ids) if state.base is not None else 0
    if len(image_layers) == below:
        return image_layers
    one = flatten.flatten(around.paths, [layer.diff_id for layer in image_layers], below, work.request.epoch)
    times = [step.created for step in state.history if step.created is not None]
    state.history = [
        step if step.base_entry is not None else Step(None, step.written, None, True) for step in state.history
    ]
    state.history.append(Step(None, f"SQUASH {len(image_layers) - below} layers", max(times), False))
    return [*image_layers[:below], layer_rows.Layer(one.diff_id, one.size, one.entries, one.content)]


def _kept(paths: Paths, meta: Meta, layer: Layer, around: Surroundings) -> tuple[str, int, str]:
    """Return the compressed form of a layer that is in the store, made now if there is none."""
    for digest, size, compression, kept in layer_rows.layer_blobs(meta, layer.diff_id):
        if kept and blobs.exists(paths, digest):
            return digest, size, compression
    from ...transfer.registry.outgoing import Compressed

    source = Compressed(paths, layer.diff_id, around.emit)
    for _ in source.pieces(0):
        pass
    if not blobs.exists(paths, source.digest):
        with blobs.Writer(paths, source.digest, source.size) as writer:
            for piece in Compressed(paths, layer.diff_id, around.emit).pieces(0):
                writer.write(piece)
            writer.commit()
    layer.blob, layer.blob_size, layer.compression, layer.kept = source.digest, source.size, source.compression, True
    return source.digest, source.size, source.compression


def _attest(made: _Image, around: Surroundings, begun: int, built: Built) -> None:
    from . import attestation

    work, state, request = made.work, made.state, made.work.request
    manifest = made.new.manifest
    names = [references.parse(text).name for text in request.tags]
    statements = []
    if request.sbom:
        from . import inventory

        predicate = inventory.bill(around.paths, made.new, names, request.sbom, request.epoch)
        kind = attestation.PREDICATES[request.sbom]
        statements.append((kind, attestation.statement(kind, predicate, names, manifest, state.platform)))
    if request.provenance:
        now = time_ns() if request.epoch is None else request.epoch * 1_000_000_000
        predicate = attestation.provenance(work, state, (min(begun, now), now))
        built.provenance = predicate
        kind = attestation.PROVENANCE
        statements.append((kind, attestation.statement(kind, predicate, names, manifest, state.platform)))
    descriptor, kept = attestation.attach(around.paths, manifest, statements)
    made.beside.append(descriptor)
    made.new.documents += kept


def _join(made: list[_Image], around: Surroundings, built: Built) -> None:
    """Say what the result is: one image's manifest, or an index of several and of what is attached."""
    main = made[0]
    built.id = main.new.id
    built.target, built.size = main.new.manifest, main.size
    noted = _annotations(main.work.request.annotations, "index")
    if len(made) == 1 and not main.beside:
        if noted:
            raise InvalidInput("index annotations not supported for single platform export", "annotate the manifest")
        return
    data = document.encode(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_INDEX,
            "manifests": [
                *(built_image.descriptor for built_image in made),
                *(one for built_image in made for one in built_image.beside),
            ],
            **({"annotations": noted} if noted else {}),
        }
    )
    built.target, built.size, built.media_type = blobs.put(around.paths, data), len(data), mediatype.OCI_INDEX
    for built_image in made:
        built_image.new.documents.append(built.target)


def _record(made: list[_Image], names: list[Reference], around: Surroundings, built: Built) -> None:
    given = [(name, built.target, made[0].new.id) for name in names]
    for other in made[1:]:
        given += [(references.Reference(name.domain, name.path), built.target, other.new.id) for name in names]
    images.record(around.meta, [built_image.new for built_image in made], given)
    built.names = [name.familiar for name in names]


def _archive(output: Output, made: list[_Image], names: list[Reference], around: Surroundings, built: Built) -> None:
    from ...transfer.archives import save

    main = images.get(around.meta, made[0].new.id)
    assert main is not None
    target: str | int = 1 if output.destination == "-" else output.destination
    form = "docker-archive" if output.kind == "docker" else "oci-archive"
    if output.kind == "oci" and not output.tar:
        form = "oci-dir"
    save.save(around.paths, around.meta, [save.Chosen(main, names, built.target)], target, form, around.emit)


# Files


def _tar(output: Output, state: State, around: Surroundings, epoch: int | None) -> None:
    from ...store.layers import flatten

    diff_ids = [made_layer.layer().diff_id for made_layer in state.filesystem.layers]
    layer = flatten.flatten(around.paths, diff_ids, 0, epoch)
    source = layers.open_part(around.paths, layer.diff_id)
    try:
        if output.destination == "-":
            _pour(source, 1)
            return
        try:
            target = os.open(output.destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            raise NotFound(f"cannot write {output.destination}: no such directory") from None
        try:
            _pour(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _pour(source: int, target: int) -> None:
    while data := os.read(source, _PIECE):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


def _local(output: Output, works: list[Work], states: list[State], around: Surroundings, begun: int) -> None:
    for work, state in zip(works, states, strict=True):
        directory = output.destination
        if len(states) > 1:
            directory = f"{directory}/{str(state.platform.brief).replace('/', '_')}"
        os.makedirs(directory, exist_ok=True)
        views = work.views
        work.foreman.call(
            "copy_out",
            {
                "lower": views.lower(state.filesystem),
                "userxattr": views.userxattr,
                "target": os.path.abspath(directory),
            },
        )
        if work.request.provenance:
            from . import attestation

            data = document.encode(attestation.provenance(work, state, (begun, time_ns())))
            with open(f"{directory}/provenance.json", "wb") as file:
                file.write(data)
