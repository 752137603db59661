"""Copying between registries: manifests byte for byte, blobs mounted or passed through, nothing in the store."""

from __future__ import annotations

from ..errors import Corrupt, DigestMismatch, InvalidInput, LimitExceeded
from ..events import Event
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from ..oci import document
from ..oci import manifest as manifests
from ..oci.descriptor import Descriptor
from ..registry.upload import Target
from . import remote
from .arrivals import in_threads
from .outgoing import Pushed
from .pull import refuse_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..events import Emit
    from ..oci.platform import Platform
    from ..oci.reference import Reference
    from ..registry.registries import Registries
    from ..registry.repository import Fetched, Repository

_PIECE = 1 << 20
_NESTING = 4
_MANIFESTS = 1000


def copy(
    registries: Registries, source: Reference, destination: Reference, emit: Emit, wanted: Sequence[Platform] = ()
) -> Pushed:
    """Copy what `source` stands for, all platforms and attestations; with `wanted` (one platform) that image only.

    Digests stay as they are. Emits as `push` does. Raises NotFound, AccessDenied, DigestMismatch, InvalidInput,
    RegistryError.
    """
    if destination.digest and destination.digest != source.digest:
        raise InvalidInput("a copy cannot be given a digest, it has one", "write the destination with a tag or without")
    origin = registries.repository(source)
    target = Target(registries, destination.domain, destination.path)
    emit(Event("push.start", destination.familiar, repository=destination.repository, tag=destination.tag))
    name = source.digest or source.tag
    if wanted:
        if len(wanted) > 1:
            raise InvalidInput("one platform can be copied at a time", "copy the whole index instead")
        _, _, candidates = remote.look(registries, source, wanted)
        name = candidates[0].manifest.digest
    work = _Copy(registries, origin, target, emit)
    found = origin.manifest(name)
    work.below(found, 0)
    target.put_manifest(found.data, _media_type(found), destination.tag or found.digest)
    emit(Event("image.push", destination.familiar, digest=found.digest, size=len(found.data)))
    return Pushed(found.digest, len(found.data))


def _media_type(found: Fetched) -> str:
    return manifests.media_type(document.decode(found.data, "manifest"), found.media_type)


class _Copy:
    def __init__(self, registries: Registries, origin: Repository, target: Target, emit: Emit) -> None:
        self._registries = registries
        self._origin = origin
        self._target = target
        self._emit = emit
        self._seen: set[str] = set()
        self._manifests = 0

    def below(self, found: Fetched, depth: int) -> None:
        """Copy all that a manifest or index names."""
        self._manifests += 1
        if depth > _NESTING or self._manifests > _MANIFESTS:
            raise LimitExceeded(f"{self._origin}: more than {_NESTING} levels or {_MANIFESTS} manifests")
        value = document.decode(found.data, "manifest")
        if manifests.kind(value, found.media_type) == "index":
            view: manifests.Index = manifests.read_index(found.data, f"index {found.digest}").view
            for entry in view.manifests or []:
                self._child(entry, depth)
            return
        manifest: manifests.Manifest = manifests.read_manifest(found.data, f"manifest {found.digest}").view
        todo = []
        for blob in (manifest.config, *(manifest.layers or [])):
            refuse_foreign(blob)
            if blob.digest not in self._seen:
                self._seen.add(blob.digest)
                todo.append(blob)
                self._emit(Event("blob.wait", blob.digest, total=blob.size))
        in_threads(self._blob, todo, self._registries.settings.network.parallel_layers, self._registries.cancel)

    def _child(self, entry: Descriptor, depth: int) -> None:
        if entry.digest in self._seen:
            return
        self._seen.add(entry.digest)
        found = self._origin.manifest(entry.digest)
        descriptors.check_length(entry, len(found.data), "manifest")
        self.below(found, depth + 1)
        self._target.put_manifest(found.data, _media_type(found), entry.digest)

    def _blob(self, blob: Descriptor) -> None:
        if self._target.present(blob.digest):
            self._emit(Event("blob.exists", blob.digest))
        elif self._origin.domain == self._target.domain and self._target.mount(blob.digest, self._origin.path):
            self._emit(Event("blob.mounted", blob.digest, source=self._origin.path))
        else:
            self._target.send(Passing(self._origin, blob, self._emit))
            self._emit(Event("blob.done", blob.digest, digest=blob.digest, size=blob.size))


class Passing:
    """A blob read from one registry while it is written to another; verified, so that the right side is blamed."""

    def __init__(self, origin: Repository, blob: Descriptor, emit: Emit) -> None:
        self.digest = blob.digest
        self.size = blob.size
        self._origin = origin
        self._blob = blob
        self._emit = emit

    def pieces(self, start: int, /) -> Iterator[bytes]:
        """Yield the bytes from `start` on; raises DigestMismatch at the end when they are not those named."""
        download = self._origin.blob(self._blob)
        download.skip(start)
        state = digests.hasher(self.digest)
        position = start
        try:
            while data := download.read(_PIECE):
                state.update(data)
                position += len(data)
                if position == self.size and not start:
                    found = self.digest.partition(":")[0] + ":" + state.hexdigest()
                    if found != self.digest:
                        raise DigestMismatch(f"blob {self.digest} of {self._origin}", self.digest, found)
                yield data
                self._emit(Event("blob.progress", self.digest, done=position, total=self.size))
        finally:
            download.close()
        if position != self.size:
            raise Corrupt(f"blob {self.digest} of {self._origin} ends early")
