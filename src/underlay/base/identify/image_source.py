"""Where an image comes from whose base is asked for: the store, an archive, or a registry (without its layers)."""

from __future__ import annotations

import contextlib
import os

from ...errors import InvalidInput, LimitExceeded, NotFound, UnderlayError, Unsupported
from ...oci import config as configs
from ...oci import document
from ...oci import manifest as manifests
from ...oci import platform as platforms
from ...oci import reference as references
from ...store import blobs
from ...store.rows import images
from ...store.rows import layers as layer_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ...oci.config import Config
    from ...oci.descriptor import Descriptor
    from ...oci.document import Document
    from ...oci.platform import Platform
    from ...paths import Paths
    from ...store.layers.toc import Entry
    from ...store.rootfs.imagefiles import ImageFiles
    from ...store.rows.images import ImageRow
    from ...store.store import Store
    from ...transfer.choose import Candidate
    from ...transfer.passing import Opener, Wanted
    from ..advisories import vex
    from .signatures import Endorsement

STORE, ARCHIVE, REGISTRY = "store", "archive", "registry"
ARCHIVES = ("docker-archive:", "oci-archive:", "oci:")
_REMOTE = "docker://"


class Subject:
    """An image as far as it is here: `where` it was found, its `name` and `id`; `layers` (compressed digest, size in bytes;
    "" and 0 where unknown) beside the configuration's diff ids; `annotations` of its manifest.

    `deep`: layers that are not in the store are read where they lie when files are asked for; `unseen`: why they could
    not be. `size` is that of its layers' tars in bytes, 0 where they were not read. `offered`: the platforms of the
    indexes that led to it, none where it was named itself.
    """

    __slots__ = (
        "_files",
        "_opener",
        "_provenance",
        "_seen",
        "_store",
        "above",
        "annotations",
        "config",
        "deep",
        "endorsement",
        "id",
        "image",
        "layers",
        "manifest",
        "name",
        "offered",
        "platform",
        "size",
        "unseen",
        "where",
    )

    def __init__(self, store: Store, name: str, where: str, config: Document, manifest: Document | None) -> None:
        self._store = store
        self._files: ImageFiles | None = None
        self._seen: ImageFiles | None = None
        self._provenance: list[tuple[str, dict[str, Any]]] | None = None
        self._opener: Opener | None = None
        self.deep = False
        self.unseen = ""
        self.size = 0
        self.name = name
        self.where = where
        self.config = config
        self.id = config.digest
        self.manifest = manifest
        self.image: ImageRow | None = None
        view: Config = config.view
        self.platform: Platform = view.platform()
        self.above: tuple[str, ...] = ()  # digests of the indexes that led to it, in a registry
        self.offered: tuple[str, ...] = ()
        self.endorsement: Endorsement | None = None  # what signatures say of it, where they were looked at
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
        """Return its files, None when its layers are neither in the store nor open (see `reading`)."""
        if self._files is None and self.image is not None:
            from ...store.rootfs.imagefiles import ImageFiles

            self._files = ImageFiles(self._store.paths, self.image.diff_ids)
        return self._files

    def seen(self) -> ImageFiles | None:
        """Return its files as far as they can be asked for names, checksums, releases and databases of packages: those of
        the store, or read where the image lies. None when they are not to be read, or `unseen` says why they cannot be.

        Raises DigestMismatch and Corrupt for layers that are not what the image says, and what registries raise.
        """
        files = self.files() or self._seen
        if files is None and self.deep and not self.unseen:
            try:
                files = self.look()
            except (LimitExceeded, Unsupported) as error:
                self.unseen = error.message
        return files

    def look(self) -> ImageFiles:
        """Read its layers where they lie and return its files; see `seen`. Raises LimitExceeded, Unsupported, too."""
        from ...transfer.passing import Wanted

        with self._opened(Wanted(keep=_tells)) as files:
            self._seen = files
        return files

    @contextlib.contextmanager
    def reading(self, tables: bool = True) -> Iterator[ImageFiles]:
        """Let it have its files inside of the block, wherever it is: layers that are not in the store are read from the
        archive or the registry, into files without a name; with `tables`, of those that have a table of contents only the
        files that are asked for, where these are few.

        Raises Unsupported for a foreign layer, DigestMismatch, Corrupt, LimitExceeded, and what registries raise; so does
        asking for files then.
        """
        files = self.files()
        if files is not None:
            yield files
            return
        from ...transfer.passing import Wanted

        with self._opened(Wanted(tables=tables)) as files:
            self._files = files
            try:
                yield files
            finally:
                self._files = None

    @contextlib.contextmanager
    def _opened(self, wanted: Wanted) -> Iterator[ImageFiles]:
        from ...store import layers
        from ...store.rootfs.imagefiles import ImageFiles

        assert self._opener is not None  # it is not in the store
        paths, diff_ids = self._store.paths, self.view.diff_ids
        with self._opener(wanted) as passed:
            self.size = sum(passed[each].size if each in passed else layers.size(paths, each) for each in diff_ids)
            yield ImageFiles(paths, diff_ids, passed)

    def lies(self, opener: Opener, deep: bool) -> None:
        """Set how the layers are opened; `deep` says whether they are read when the documents do not suffice."""
        self._opener, self.deep = opener, deep

    def provenance(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the statements of provenance (in-toto) that hang on it, each with the digest of the index that says so."""
        if self._provenance is None:
            self._provenance = _provenance_here(self._store, self.image) if self.image is not None else []
        return self._provenance

    def keep_provenance(self, statements: list[tuple[str, dict[str, Any]]]) -> None:
        """Take statements that were found where the image lies, when that is not the store."""
        self._provenance = statements

    def require_files(self, why: str) -> ImageFiles:
        """Return its files. Raises Unsupported when its layers are not in the store; `why` says what they are for."""
        files = self.files()
        if files is None:
            hint = "`underlay pull` it first" if self.where == REGISTRY else "`underlay load` it first"
            raise Unsupported(f"{why} needs the files of {self.name}, but its layers are not in the store", hint)
        return files


def find(store: Store, text: str | Subject, platform: str = "", offline: bool = False) -> Subject:
    """Return the image that `text` means: a name or id, `docker://NAME` for the registry's whatever is here, the path of an
    archive, or what this has returned before. A name that is not here is looked up in its registry, with `offline` it is
    not found. Raises NotFound, InvalidInput, and what registries raise.
    """
    if isinstance(text, Subject):
        return text
    wanted = [platforms.parse(platform)] if platform else []
    if text.startswith(_REMOTE):
        if offline:
            raise _not_asked(text)
        return _in_registry(store, text.removeprefix(_REMOTE), wanted)
    for prefix in ARCHIVES:
        if text.startswith(prefix):
            return _in_archive(store, text.removeprefix(prefix), wanted)
    if text.startswith(("/", "./", "../")) or (text.endswith((".tar", ".tar.gz", ".tgz")) and os.path.exists(text)):
        return _in_archive(store, text, wanted)
    try:
        return of_image(store, images.resolve(store.meta, text, wanted[0] if wanted else None), text)
    except NotFound:
        if text.startswith(("sha256:", "sha512:")):
            raise
        try:
            references.parse(text)
        except InvalidInput:
            raise NotFound(f"No such image: {text}") from None
    if offline:
        raise _not_asked(text)
    return _in_registry(store, text, wanted)


def _not_asked(text: str) -> NotFound:
    return NotFound(f"No such image: {text}, and its registry is not asked offline", "pull it, or leave out --offline")


def of_image(store: Store, image: ImageRow, name: str) -> Subject:
    """Return an image of the store."""
    paths, meta = store.paths, store.meta
    config = configs.read(blobs.read(paths, image.id), f"configuration {image.id}")
    config.digest = image.id
    manifest = manifests.read_manifest(blobs.read(paths, image.manifest), f"manifest {image.manifest}")
    manifest.digest = image.manifest
    subject = Subject(store, name, STORE, config, manifest)
    subject.image, subject.size = image, image.size
    # A manifest that was made here names layers as they lie here; registries know them compressed.
    for number, diff_id in enumerate(image.diff_ids):
        if subject.layers[number][0] == diff_id:
            known = [blob for blob in layer_rows.layer_blobs(meta, diff_id) if blob[2] != "none"]
            subject.layers[number] = (known[0][0], known[0][1]) if known else ("", 0)
    return subject


def names_of(store: Store, image: ImageRow) -> list[str]:
    """Return the names of an image of the store in their short form."""
    return [references.familiar(name) for name, _, _ in images.names(store.meta, image.id)]


def _tells(entry: Entry) -> bool:
    """Tell whether a file says what is in an image: its release, or a database of its packages."""
    from ...packages.installed import tells

    return tells(entry.name.removeprefix(b"./").lstrip(b"/"))


def identifiers(store: Store, subject: Subject) -> vex.Image:
    """Return the names and digests under which statements of others may speak of an image."""
    from ..advisories import vex

    digests = {subject.id, *([subject.manifest.digest] if subject.manifest is not None else [])}
    names: set[str] = set()
    if subject.image is not None:
        texts = [name for name, _, _ in images.names(store.meta, subject.image.id)]
        digests |= {digest for _, digest, _ in images.names(store.meta, subject.image.id)}
    else:
        texts = [subject.name] if subject.where == REGISTRY else []
    for text in texts:
        reference = references.parse(text)
        for repository in (reference.repository, reference.familiar_repository, reference.path.rpartition("/")[2]):
            names |= {repository, *([f"{repository}:{reference.tag}"] if reference.tag else [])}
        digests |= {reference.digest} if reference.digest else set()
    return vex.Image(names, digests)


def _in_registry(store: Store, name: str, wanted: list[Platform]) -> Subject:
    from ...registry.registries import Registries
    from ...transfer import attached, passing
    from ...transfer.registry import remote

    reference = references.parse(name)
    with Registries(store.emit) as registries:
        repository, _, candidates = remote.look(registries, reference, wanted)
        chosen = candidates[0]
        source = remote.InRegistry(repository, reference.familiar)
        statements = attached.provenance(source, chosen.above, chosen.manifest.digest)
    subject = Subject(store, reference.familiar, REGISTRY, chosen.config, chosen.manifest)
    subject.above = tuple(index.digest for index in chosen.above)
    subject.offered = _offered(chosen)
    subject.keep_provenance(statements)
    subject.lies(
        lambda wanted: passing.in_registry(store, subject.name, chosen.manifest.view, subject.view.diff_ids, wanted),
        deep=False,
    )
    return subject


def _in_archive(store: Store, path: str, wanted: list[Platform]) -> Subject:
    from ...transfer import passing
    from ...transfer.archives import load

    chosen, statements = load.look(path, wanted)
    subject = Subject(store, path, ARCHIVE, chosen.config, chosen.manifest if chosen.manifest.data else None)
    subject.offered = _offered(chosen)
    subject.keep_provenance(statements)
    subject.lies(lambda asked: passing.in_archive(store, path, subject.id, wanted, asked), deep=True)
    return subject


def _offered(chosen: Candidate) -> tuple[str, ...]:
    """Return the platforms that the image index lists from which an image was chosen, sorted."""
    descriptors = [descriptor for index in chosen.above for descriptor in index.view.manifests or []]
    named = (each.platform.normalised() for each in descriptors if each.platform and not each.is_attestation)
    return tuple(sorted({str(platform) for platform in named}))


# Provenance of images of the store


class _InStore:
    """The documents of the store, as provenance is asked for."""

    location = "the store"
    remote = False

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def manifest(self, descriptor: Descriptor) -> bytes | None:
        return self._read(descriptor, document.MANIFEST_LIMIT)

    def config(self, descriptor: Descriptor) -> bytes | None:
        return self._read(descriptor, document.CONFIG_LIMIT)

    def _read(self, descriptor: Descriptor, limit: int) -> bytes | None:
        readable = blobs.exists(self._paths, descriptor.digest) and blobs.size(self._paths, descriptor.digest) <= limit
        return blobs.read(self._paths, descriptor.digest) if readable else None


def _provenance_here(store: Store, image: ImageRow) -> list[tuple[str, dict[str, Any]]]:
    from ...transfer.attached import provenance

    indexes = []
    for digest in images.documents(store.meta, image.id):
        if digest in (image.id, image.manifest) or blobs.size(store.paths, digest) > document.MANIFEST_LIMIT:
            continue
        data = blobs.read(store.paths, digest)
        try:
            value = document.decode(data, "index")
            if isinstance(value, dict) and manifests.kind(value) == "index":
                indexes.append(manifests.read_index(data, "index"))
        except UnderlayError:
            continue  # a statement may be of any form
    return provenance(_InStore(store.paths), indexes, image.manifest)
