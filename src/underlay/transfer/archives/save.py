"""Saving images: an OCI layout in a tar or a directory, by default with docker's manifest.json in it as well.

What docker has written since version 25 is read by docker of any age, podman, skopeo and all readers of OCI
layouts. The same images give the same bytes. An image leaves with the manifest it came with when all its
layers can be given in the form that manifest names; else with one over the plain tars, whose configuration
and diff ids are the same.
"""

from __future__ import annotations

import os
import stat

from ...errors import InvalidInput, NotFound
from ...events import Event
from ...files import sync_directory
from ...oci import annotations as keys
from ...oci import digest as digests
from ...oci import document, mediatype, platform, reference
from ...oci import manifest as manifests
from ...store import blobs, layers
from ...store.rows import images
from ...store.rows import layers as layer_rows
from ..attached import attached
from ..choose import blob_name
from ..recording import made_manifest
from . import outertar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...events import Emit
    from ...oci.platform import Platform
    from ...oci.reference import Reference
    from ...paths import Paths
    from ...store.rows.images import ImageRow
    from ...store.rows.meta import Meta

FORMATS = ("docker-archive", "oci-archive", "oci-dir")


class Chosen:
    """An image to be saved, the names it gets, and the digest that these stand for."""

    __slots__ = ("image", "names", "target")

    def __init__(self, image: ImageRow, names: list[Reference], target: str) -> None:
        self.image = image
        self.names = names
        self.target = target


def choose(meta: Meta, text: str, wanted: Sequence[Platform]) -> list[Chosen]:
    """Return what `text` asks to save: a name with its tag, all tags of a repository, or an image by id or
    digest.

    With `wanted` platforms each gives an image, saved by its own manifest. Raises NotFound, InvalidInput.
    """
    selected: list[Chosen] = []
    for goal in wanted or (None,):
        for exact, names in _names(meta, text):
            image = images.resolve(meta, exact, goal)
            target = image.manifest if goal else images.target_of(meta, image, exact)
            selected.append(Chosen(image, names, target))
    return selected


def _names(meta: Meta, text: str) -> list[tuple[str, list[Reference]]]:
    try:
        asked = reference.parse_exact(text)
    except InvalidInput:
        return [(text, [])]
    if asked.digest:
        return [(text, [])]
    if asked.tag:
        return [(text, [asked] if images.named(meta, asked)[0] else [])]
    # docker: a repository without a tag is all its tags.
    tags = [
        tag for name, _, _ in images.names(meta) if (tag := reference.parse_exact(name)).repository == asked.repository
    ]
    return [(str(tag), [tag]) for tag in tags] or [(text, [])]


class Part:
    """A blob of the layout: its bytes, or the file that has them."""

    __slots__ = ("data", "digest", "path", "size")

    def __init__(self, digest: str, data: bytes = b"", path: str = "", size: int = 0) -> None:
        self.digest = digest
        self.data = data
        self.path = path
        self.size = size or len(data)


class Layout:
    """The blobs and the two tables of contents of what is saved."""

    def __init__(self, paths: Paths, meta: Meta) -> None:
        self.paths = paths
        self.meta = meta
        self.parts: dict[str, Part] = {}
        self.entries: list[dict[str, Any]] = []
        self.items: dict[str, dict[str, Any]] = {}
        self.repositories: dict[str, dict[str, str]] = {}

    def add(self, chosen: Chosen, docker: bool) -> None:
        """Take in an image; with `docker` its names are written as docker writes them."""
        image = chosen.image
        config = blobs.read(self.paths, image.id)
        manifest, parts = self._manifest(image, config)
        target, whole = manifest, [*parts, Part(image.id, config), Part(digests.of(manifest), manifest)]
        media_type = document.decode(manifest, "manifest").get("mediaType") or mediatype.OCI_MANIFEST
        about: dict[str, Any] = {"platform": _platform_field(image)}
        if chosen.target != image.manifest:
            index = self._index(chosen.target)
            if index is not None:
                target, others = index
                whole += others
                media_type = document.decode(target, "index").get("mediaType") or mediatype.OCI_INDEX
                about = {}
        for part in whole:
            self.parts.setdefault(part.digest, part)
        entry = {"mediaType": media_type, "digest": digests.of(target), "size": len(target)}
        noted = [{"annotations": _annotations(name, docker)} for name in chosen.names]
        for naming in noted or [{}]:
            full = {**entry, **naming, **about}
            if full not in self.entries:
                self.entries.append(full)
        item = self.items.setdefault(
            image.id,
            {
                "Config": blob_name(image.id),
                "RepoTags": [],
                "Layers": [blob_name(part.digest) for part in parts],
            },
        )
        for name in chosen.names:
            if name.familiar not in item["RepoTags"]:
                item["RepoTags"].append(name.familiar)
            if parts:
                self.repositories.setdefault(name.familiar_repository, {})[name.tag] = digests.digits(parts[-1].digest)

    def _manifest(self, image: ImageRow, config: bytes) -> tuple[bytes, list[Part]]:
        """Return the manifest to save and the layers in the form it names."""
        original = blobs.read(self.paths, image.manifest)
        parts = self._layers_as(original, image.diff_ids)
        if parts is not None:
            return original, parts
        parts = [self._tar(diff_id) for diff_id in image.diff_ids]
        made = made_manifest(image.id, len(config), [(part.digest, part.size, "none") for part in parts])
        noted = document.decode(original, "manifest").get("annotations")
        if noted:
            made = document.encode({**document.decode(made, "manifest"), "annotations": noted})
        return made, parts

    def _layers_as(self, manifest: bytes, diff_ids: Sequence[str]) -> list[Part] | None:
        """Return the layers in the very form that a manifest names, None when they cannot be had so."""
        view: manifests.Manifest = manifests.read_manifest(manifest, "manifest").view
        parts: list[Part] = []
        for layer, diff_id in zip(view.layers or [], diff_ids, strict=True):
            if layer.digest == diff_id:
                parts.append(self._tar(diff_id))
                continue
            known = layer_rows.known_layer(self.meta, layer.digest)
            if known is None or not known[3] or not blobs.exists(self.paths, layer.digest):
                return None
            parts.append(Part(layer.digest, path=blobs.path(self.paths, layer.digest), size=layer.size))
        return parts

    def _tar(self, diff_id: str) -> Part:
        return Part(
            diff_id,
            path=layers.directory(self.paths, diff_id) + "/tar",
            size=layers.size(self.paths, diff_id),
        )

    def _index(self, target: str) -> tuple[bytes, list[Part]] | None:
        """Return an index and all below it when everything it names is here in the form named, else None.

        An archive that promises what it lacks is worth less than one image that is whole.
        """
        if not blobs.exists(self.paths, target):
            return None
        data = blobs.read(self.paths, target)
        if manifests.kind(document.decode(data, "index")) != "index":
            return None
        parts = [Part(target, data)]
        for descriptor in manifests.read_index(data, "index").view.manifests:
            image = images.with_manifest(self.meta, descriptor.digest)
            if image is None:
                nested = self._index(descriptor.digest)
                if nested is not None:
                    parts += nested[1]
                    continue
                hanging = attached(self.paths, descriptor.digest)
                if hanging is None:
                    return None
                parts += [Part(digest, blobs.read(self.paths, digest)) for digest in (*hanging, descriptor.digest)]
                continue
            manifest = blobs.read(self.paths, descriptor.digest)
            below = self._layers_as(manifest, image.diff_ids)
            if below is None:
                return None
            config = blobs.read(self.paths, image.id)
            parts += [*below, Part(image.id, config), Part(descriptor.digest, manifest)]
        return data, parts

    def files(self, docker: bool) -> list[tuple[str, bytes]]:
        """Return the named documents, in the order they are written."""
        documents = [
            ("oci-layout", document.encode({"imageLayoutVersion": "1.0.0"})),
            (
                "index.json",
                document.encode({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": self.entries}),
            ),
        ]
        if docker:
            documents.append(("manifest.json", document.encode(list(self.items.values()))))
            if self.repositories:
                documents.append(("repositories", document.encode(self.repositories)))
        return documents

    def ordered(self) -> list[Part]:
        """Return the blobs in the order they are written: documents first, each kind by digest."""
        return sorted(self.parts.values(), key=lambda part: (bool(part.path), part.digest))


def _platform_field(image: ImageRow) -> dict[str, str]:
    field = {"architecture": image.architecture, "os": image.os}
    stated = image.variant
    if stated and platform.normalise(image.os, image.architecture) != image.platform:
        field["variant"] = stated
    return field


def _annotations(name: Reference, docker: bool) -> dict[str, str]:
    # docker keeps only the tag under the OCI's key; podman and skopeo expect there what can be asked for.
    return {keys.CONTAINERD_NAME: name.name, keys.REF_NAME: name.tag if docker else name.name}


def save(paths: Paths, meta: Meta, chosen: Sequence[Chosen], target: str | int, format: str, emit: Emit) -> None:
    """Write the images to `target`: a descriptor, or a path that after a crash is either unchanged or complete.

    Raises InvalidInput (an unknown format, a directory that is in use), NotFound, Corrupt (missing from the
    store), OSError.
    """
    if format not in FORMATS:
        raise InvalidInput(f"unknown format {format!r}", f"choose one of {', '.join(FORMATS)}")
    docker = format == "docker-archive"
    layout = Layout(paths, meta)
    for item in chosen:
        layout.add(item, docker)
    if format == "oci-dir":
        if isinstance(target, int):
            raise InvalidInput("oci-dir needs a directory to write to", "name it with --output")
        _write_directory(layout, target, emit)
        return
    if isinstance(target, int):
        _write_tar(layout, target, docker, emit)
        return
    existing = os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode)
    if os.path.isdir(target):
        raise InvalidInput(f"{target} is a directory", "use --format oci-dir to write a directory")
    output_path = target if existing else f"{target}.{os.getpid()}.tmp"
    try:
        fd = os.open(output_path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise NotFound(f"cannot write {target}: no such directory") from None
    try:
        try:
            _write_tar(layout, fd, docker, emit)
            if not existing:
                os.fsync(fd)
        finally:
            os.close(fd)
        if not existing:
            os.rename(output_path, target)
            sync_directory(os.path.dirname(target) or ".")
    except BaseException:
        if not existing:
            os.unlink(output_path)
        raise


def _write_tar(layout: Layout, fd: int, docker: bool, emit: Emit) -> None:
    for name, data in layout.files(docker):
        _write(fd, outertar.header(name, len(data)) + data + outertar.padding(len(data)))
    _write(fd, outertar.header("blobs/", 0, directory=True))
    written = {part.digest.partition(":")[0] for part in layout.parts.values()}
    for algorithm in sorted(written):
        _write(fd, outertar.header(f"blobs/{algorithm}/", 0, directory=True))
    for part in layout.ordered():
        _write(fd, outertar.header(blob_name(part.digest), part.size))
        _copy(fd, part, emit)
        _write(fd, outertar.padding(part.size))
    _write(fd, outertar.END)


def _write_directory(layout: Layout, target: str, emit: Emit) -> None:
    os.makedirs(target, exist_ok=True)
    if os.listdir(target):
        raise InvalidInput(f"{target} is not empty", "choose a new directory")
    for part in layout.ordered():
        path = f"{target}/{blob_name(part.digest)}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _copy(fd, part, emit)
        finally:
            os.close(fd)
    for name, data in reversed(layout.files(docker=False)):
        with open(f"{target}/{name}", "xb") as file:
            file.write(data)


def _copy(fd: int, part: Part, emit: Emit) -> None:
    if not part.path:
        _write(fd, part.data)
        return
    source = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(source).st_size != part.size:
            raise NotFound(
                f"the size of {part.digest} in the store differs from the recorded size", "run `underlay system check`"
            )
        position = 0
        while position < part.size:
            # Inside the kernel, from the page cache: the bytes never visit this process (sendfile(2)).
            count = os.sendfile(fd, source, position, min(part.size - position, 1 << 24))
            if not count:
                raise NotFound(f"{part.digest} is truncated in the store", "run `underlay system check`")
            position += count
            emit(Event("layer.progress", part.digest, done=position, total=part.size))
    finally:
        os.close(source)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
