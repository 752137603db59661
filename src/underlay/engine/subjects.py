"""The image that a question about bases is asked of: in the store, in an archive, or in a registry without its layers."""

from __future__ import annotations

import os

from ..errors import InvalidInput, NotFound, Unsupported
from ..oci import config as configs
from ..oci import manifest as manifests
from ..oci import platform as platforms
from ..oci import reference as references
from ..store import blobs, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..oci.config import Config
    from ..oci.document import Document
    from ..oci.platform import Platform
    from ..store.imagefiles import ImageFiles
    from ..store.images import Image
    from .engine import Engine

STORE, ARCHIVE, REGISTRY = "store", "archive", "registry"
_ARCHIVES = ("docker-archive:", "oci-archive:", "oci:")
_REMOTE = "docker://"


class Subject:
    """An image as far as it is here: `where` it was found, its `name` and `id`; `layers` (compressed digest, size in bytes;
    "" and 0 where unknown) beside the configuration's diff ids; `annotations` of its manifest."""

    __slots__ = (
        "_engine",
        "_files",
        "annotations",
        "config",
        "id",
        "image",
        "layers",
        "manifest",
        "name",
        "platform",
        "where",
    )

    def __init__(self, engine: Engine, name: str, where: str, config: Document, manifest: Document | None) -> None:
        self._engine = engine
        self._files: ImageFiles | None = None
        self.name = name
        self.where = where
        self.config = config
        self.id = config.digest
        self.manifest = manifest
        self.image: Image | None = None
        view: Config = config.view
        self.platform: Platform = platforms.normalise(view.os, view.architecture, view.variant or "")
        self.annotations: Mapping[str, str] = {}
        self.layers: list[tuple[str, int]] = [("", 0)] * len(view.diff_ids)
        if manifest is not None:
            described: manifests.Manifest = manifest.view
            self.layers = [(layer.digest, layer.size) for layer in described.layers or []]
            self.annotations = {key: text for key, text in (described.annotations or {}).items() if text is not None}

    @property
    def view(self) -> Config:
        """The configuration, read."""
        view: Config = self.config.view
        return view

    @property
    def value(self) -> dict[str, Any]:
        """The configuration as it is written."""
        return self.config.value

    def files(self) -> ImageFiles | None:
        """Return its files, None when its layers are not in the store."""
        if self.image is None:
            return None
        if self._files is None:
            from ..store.imagefiles import ImageFiles

            self._files = ImageFiles(self._engine.paths, self.image.diff_ids)
        return self._files

    def require_files(self, why: str) -> ImageFiles:
        """Return its files. Raises Unsupported when its layers are not in the store; `why` says what they are for."""
        found = self.files()
        if found is None:
            hint = "`underlay pull` it first" if self.where == REGISTRY else "`underlay load` it first"
            raise Unsupported(f"{why} needs the files of {self.name}, and only its description is here", hint)
        return found


def find(engine: Engine, text: str, platform: str = "") -> Subject:
    """Return the image that `text` means: a name or id, `docker://NAME` for the registry's whatever is here, the path of an
    archive. A name that is not here is looked up in its registry. Raises NotFound, InvalidInput, and what registries raise.
    """
    wanted = [platforms.parse(platform)] if platform else []
    if text.startswith(_REMOTE):
        return _in_registry(engine, text.removeprefix(_REMOTE), wanted)
    for prefix in _ARCHIVES:
        if text.startswith(prefix):
            return _in_archive(engine, text.removeprefix(prefix), wanted)
    if text.startswith(("/", "./", "../")) or (text.endswith((".tar", ".tar.gz", ".tgz")) and os.path.exists(text)):
        return _in_archive(engine, text, wanted)
    try:
        return of_image(engine, images.resolve(engine.meta, text, wanted[0] if wanted else None), text)
    except NotFound:
        if text.startswith(("sha256:", "sha512:")):
            raise
        try:
            references.parse(text)
        except InvalidInput:
            raise NotFound(f"No such image: {text}") from None
    return _in_registry(engine, text, wanted)


def of_image(engine: Engine, image: Image, name: str) -> Subject:
    """Return an image of the store."""
    paths, meta = engine.paths, engine.meta
    config = configs.read(blobs.read(paths, image.id), f"configuration {image.id}")
    config.digest = image.id
    manifest = manifests.read_manifest(blobs.read(paths, image.manifest), f"manifest {image.manifest}")
    manifest.digest = image.manifest
    found = Subject(engine, name, STORE, config, manifest)
    found.image = image
    # A manifest that was made here names layers as they lie here; registries know them compressed.
    for number, diff_id in enumerate(image.diff_ids):
        if found.layers[number][0] == diff_id:
            known = [each for each in images.layer_blobs(meta, diff_id) if each[2] != "none"]
            found.layers[number] = (known[0][0], known[0][1]) if known else ("", 0)
    return found


def _in_registry(engine: Engine, name: str, wanted: list[Platform]) -> Subject:
    from ..registry.registries import Registries
    from ..transfer import remote

    reference = references.parse(name)
    with Registries(engine.emit) as registries:
        _, _, candidates = remote.look(registries, reference, wanted)
    chosen = candidates[0]
    return Subject(engine, reference.familiar, REGISTRY, chosen.config, chosen.manifest)


def _in_archive(engine: Engine, path: str, wanted: list[Platform]) -> Subject:
    from ..transfer import archive

    chosen = archive.look(path, wanted)
    return Subject(engine, path, ARCHIVE, chosen.config, chosen.manifest if chosen.manifest.data else None)
