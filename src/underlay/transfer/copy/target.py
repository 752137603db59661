"""Destinations of copies, behind one interface: registry, OCI layout, archives of both kinds, skopeo's directory.

Each is a context manager: what was begun is there when it is left without an error, and else has never been.
"""

from __future__ import annotations

import fcntl
import os
import stat

from ...errors import InvalidInput
from ...events import Event
from ...files import Replacement, remove_tree, sync_directory, write_atomic
from ...oci import annotations as keys
from ...oci import document, mediatype
from ...oci import manifest as manifests
from ...oci import reference as references
from ...registry.upload import Target
from ..archives import outertar
from ..archives.plaindir import plain_name
from ..choose import blob_name
from ..registry.outgoing import Document
from .forms import GZIP, KEPT, PLAIN
from .origin import RegistryOrigin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Protocol, Self

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...oci.reference import Reference
    from ...registry.registries import Registries
    from .forms import Passing
    from .origin import Origin

    class Destination(Protocol):
        """The destination of a copy. `location` is its name; `layers` is the form in which it stores them (`none`: plain;
        `gzip`: compressed if they were plain only because the source has no other form; `kept`); `indexes` says whether
        it can store more than one image, `attaches` whether it can store signatures; `parallel`
        how many blobs it takes at once."""

        location: str
        layers: str
        indexes: bool
        attaches: bool
        parallel: int

        def __enter__(self) -> Self: ...
        def __exit__(
            self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
        ) -> None: ...

        def present(self, blob: Descriptor, origin: Origin, /) -> bool:
            """Return whether a blob need not be sent: it exists there, or could be mounted from another repository."""

        def send(self, blob: Passing | Document, /) -> None:
            """Write a blob."""

        def put(self, data: bytes, media_type: str, digest: str, tag: str = "", /) -> None:
            """Write a manifest or an index that is not the root, under its digest or a `tag` beside the image."""

        def finish(self, data: bytes, media_type: str, digest: str, /) -> None:
            """Write the root, a manifest or an index, and name it. All that it names has been written."""


class RegistryTarget:
    """A name in a registry."""

    layers = GZIP
    indexes = True
    attaches = True

    def __init__(self, registries: Registries, reference: Reference, emit: Emit) -> None:
        self.location = reference.familiar
        self.parallel = registries.settings.network.parallel_layers
        self.target = Target(registries, reference.domain, reference.path)
        self._reference = reference
        self._emit = emit

    def __enter__(self) -> Self:
        reference = self._reference
        self._emit(Event("push.start", self.location, repository=reference.repository, tag=reference.tag))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def present(self, blob: Descriptor, origin: Origin) -> bool:
        """See Destination."""
        if self.target.present(blob.digest):
            self._emit(Event("blob.exists", blob.digest))
            return True
        if isinstance(origin, RegistryOrigin) and origin.repository.domain == self.target.domain:
            source = origin.repository.path
            if source != self.target.path and self.target.mount(blob.digest, source):
                self._emit(Event("blob.mounted", blob.digest, source=source))
                return True
        return False

    def send(self, blob: Passing | Document) -> None:
        """See Destination."""
        self.target.send(blob)

    def put(self, data: bytes, media_type: str, digest: str, tag: str = "") -> None:
        """See Destination."""
        self.target.put_manifest(data, media_type, tag or digest)

    def finish(self, data: bytes, media_type: str, digest: str) -> None:
        """See Destination."""
        self.target.put_manifest(data, media_type, self._reference.tag or digest)
        self._emit(Event("image.push", self.location, digest=digest, size=len(data)))


class _Entries:
    """The entries of an index.json that is written: the image under its name, and what stands beside it."""

    def __init__(self, name: str, manifests_: list[dict[str, Any]]) -> None:
        self._name = name
        self._entries = manifests_

    def add(self, data: bytes, media_type: str, digest: str, tag: str) -> None:
        """Add a manifest under a name, in place of what had it, or without a name if it is not there yet."""
        entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(data)}
        if tag:
            self._entries[:] = [other for other in self._entries if _named(other) != tag]
            entry["annotations"] = {keys.REF_NAME: tag}
        if not any(other.get("digest") == digest and _named(other) == tag for other in self._entries):
            self._entries.append(entry)

    def root(self, data: bytes, media_type: str, digest: str) -> None:
        """Add the image."""
        self.add(data, media_type, digest, self._name)

    def document(self) -> bytes:
        """Return index.json."""
        return document.encode({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": self._entries})


def _named(entry: dict[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get(keys.REF_NAME) or "")


def _is_beside(data: bytes) -> bool:
    """Tell whether index.json must name a manifest because nothing else does: it refers to another."""
    return bool(document.decode(data, "manifest").get("subject"))


_LAYOUT = document.encode({"imageLayoutVersion": "1.0.0"})


class LayoutTarget:
    """An OCI layout in a directory, made if there is none; images that are in it stay."""

    layers = KEPT
    indexes = True
    attaches = True
    parallel = 4

    def __init__(self, path: str, name: str) -> None:
        self.location = path
        self._path = path
        self._name = name
        self._made = False
        self._written: list[str] = []

    def __enter__(self) -> Self:
        self._parents = _make_parents(self._path)
        try:
            os.mkdir(self._path)
            self._made = True
        except FileExistsError:
            pass
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError:
            raise InvalidInput(f"{self._path} is not a directory", "write oci-archive:PATH for an archive") from None
        try:
            # Of two copies into one layout the second waits: what the first has written may be all that it needs.
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            self._entries = _Entries(self._name, self._existing())
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def _existing(self) -> list[dict[str, Any]]:
        try:
            with open(f"{self._path}/index.json", "rb") as file:
                data = file.read(document.MANIFEST_LIMIT + 1)
        except FileNotFoundError:
            if os.listdir(self._path):
                raise InvalidInput(
                    f"{self._path} is neither empty nor an OCI layout", "choose another directory"
                ) from None
            return []
        index = manifests.read_index(data, f"{self._path}/index.json")
        entries: list[dict[str, Any]] = index.value["manifests"]
        return entries

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                for path in self._written:
                    os.unlink(path)
                if self._made:
                    remove_tree(self._path)
                    _remove_empty(self._parents)
        finally:
            os.close(self._fd)

    def _place(self, digest: str) -> str:
        path = f"{self._path}/{blob_name(digest)}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def present(self, blob: Descriptor, origin: Origin) -> bool:
        """See Destination."""
        try:
            facts = os.lstat(self._place(blob.digest))
        except FileNotFoundError:
            return False
        return stat.S_ISREG(facts.st_mode) and facts.st_size == blob.size

    def send(self, blob: Passing | Document) -> None:
        """See Destination."""
        with _Unnamed(self._path) as file:
            file.write(blob)
            path = self._place(blob.digest)
            file.name(path)
        self._written.append(path)

    def put(self, data: bytes, media_type: str, digest: str, tag: str = "") -> None:
        """See Destination."""
        if not os.path.exists(self._place(digest)):
            self.send(Document(data, digest))
        if tag or _is_beside(data):
            self._entries.add(data, media_type, digest, tag)

    def finish(self, data: bytes, media_type: str, digest: str) -> None:
        """See Destination."""
        self.put(data, media_type, digest)
        self._entries.root(data, media_type, digest)
        write_atomic(f"{self._path}/oci-layout", _LAYOUT, 0o644)
        write_atomic(f"{self._path}/index.json", self._entries.document(), 0o644)


class ArchiveTarget:
    """An OCI layout in a tar; for `docker` with the list that docker reads, layers plain. An existing file is replaced."""

    parallel = 1

    def __init__(self, path: str, name: str, docker: bool) -> None:
        self.location = path
        self.indexes = self.attaches = not docker
        self.layers = PLAIN if docker else KEPT
        self._docker = docker
        self._reference = references.parse(name) if docker and name else None
        self._entries = _Entries(self._reference.name if self._reference else name, [])
        self._written: set[str] = set()
        self._replacement = Replacement(path, 0o644)

    def __enter__(self) -> Self:
        if os.path.exists(self.location) and not os.path.isfile(self.location):
            raise InvalidInput(f"{self.location} is not a regular file", "choose a file to write to")
        self._fd = self._replacement.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replacement.__exit__(kind, value, trace)

    def present(self, blob: Descriptor, origin: Origin) -> bool:
        """See Destination."""
        return blob.digest in self._written

    def send(self, blob: Passing | Document) -> None:
        """See Destination."""
        if blob.digest in self._written:
            return
        start = os.lseek(self._fd, 0, os.SEEK_CUR)
        _write(self._fd, bytes(outertar.BLOCK))
        for piece in blob.pieces(0):
            _write(self._fd, piece)
        # Digest and size of a layer that is brought into another form on the way are known now.
        os.pwrite(self._fd, outertar.header(blob_name(blob.digest), blob.size), start)
        _write(self._fd, outertar.padding(blob.size))
        self._written.add(blob.digest)

    def put(self, data: bytes, media_type: str, digest: str, tag: str = "") -> None:
        """See Destination."""
        self.send(Document(data, digest))
        if tag or _is_beside(data):
            self._entries.add(data, media_type, digest, tag)

    def finish(self, data: bytes, media_type: str, digest: str) -> None:
        """See Destination."""
        self.send(Document(data, digest))
        self._entries.root(data, media_type, digest)
        named = [("oci-layout", _LAYOUT), ("index.json", self._entries.document())]
        if self._docker:
            view: manifests.Manifest = manifests.read_manifest(data, "manifest").view
            item = {
                "Config": blob_name(view.config.digest),
                "RepoTags": [self._reference.familiar] if self._reference else [],
                "Layers": [blob_name(layer.digest) for layer in view.layers or []],
            }
            named.append(("manifest.json", document.encode([item])))
        for name, content in named:
            _write(self._fd, outertar.header(name, len(content)) + content + outertar.padding(len(content)))
        _write(self._fd, outertar.END)


class DirectoryTarget:
    """A directory as skopeo's transport `dir` has it; it takes the place of one of its kind that was there before."""

    layers = KEPT
    indexes = True
    attaches = False
    parallel = 4

    def __init__(self, path: str) -> None:
        self.location = path
        self._path = path.rstrip("/") or "/"
        self._work = f"{self._path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"

    def __enter__(self) -> Self:
        if os.path.lexists(self._path):
            try:
                names = os.listdir(self._path)
            except NotADirectoryError:
                raise InvalidInput(f"{self._path} is not a directory", "choose another path") from None
            if names and "version" not in names:
                raise InvalidInput(f"{self._path} is neither empty nor a copy of an image", "choose another directory")
        self._parents = _make_parents(self._path)
        os.mkdir(self._work)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            aside = self._work + ".old"
            try:
                os.rename(self._path, aside)
            except FileNotFoundError:
                pass
            try:
                os.rename(self._work, self._path)
            except BaseException:
                os.rename(aside, self._path)
                remove_tree(self._work)
                raise
            sync_directory(os.path.dirname(self._path) or ".")
            remove_tree(aside)
        else:
            remove_tree(self._work)
            _remove_empty(self._parents)

    def present(self, blob: Descriptor, origin: Origin) -> bool:
        """See Destination."""
        return os.path.exists(f"{self._work}/{plain_name(blob.digest)}")

    def send(self, blob: Passing | Document) -> None:
        """See Destination."""
        with _Unnamed(self._work) as file:
            file.write(blob)
            file.name(f"{self._work}/{plain_name(blob.digest)}")

    def put(self, data: bytes, media_type: str, digest: str, tag: str = "") -> None:
        """See Destination."""
        write_atomic(f"{self._work}/{plain_name(digest)}.manifest.json", data, 0o644)

    def finish(self, data: bytes, media_type: str, digest: str) -> None:
        """See Destination."""
        write_atomic(f"{self._work}/manifest.json", data, 0o644)
        write_atomic(f"{self._work}/version", b"Directory Transport Version: 1.1\n", 0o644)


def _make_parents(path: str) -> list[str]:
    """Make the directories above `path` that are missing; return those that were made, the lowest first."""
    made: list[str] = []
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(parent) and parent != "/":
        made.append(parent)
        parent = os.path.dirname(parent)
    for directory in reversed(made):
        os.makedirs(directory, exist_ok=True)
    return made


def _remove_empty(directories: list[str]) -> None:
    for directory in directories:
        try:
            os.rmdir(directory)
        except OSError:
            return


class _Unnamed:
    """A file in a directory that gets its name when all of it has been written, and is gone otherwise."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/.{os.getpid()}.{os.urandom(4).hex()}.tmp"

    def __enter__(self) -> Self:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass

    def write(self, blob: Passing | Document) -> None:
        """Write all of a blob, durably."""
        for piece in blob.pieces(0):
            _write(self._fd, piece)
        os.fsync(self._fd)

    def name(self, path: str) -> None:
        """Give the file its name."""
        os.rename(self._path, path)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
