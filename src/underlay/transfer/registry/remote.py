"""Images in a registry before any layer is fetched: which image a reference means, and its documents."""

from __future__ import annotations

from ...errors import LimitExceeded, NotFound
from ...oci import descriptor as descriptors
from ...oci import document
from ...oci import manifest as manifests
from ...oci.descriptor import Descriptor
from ..choose import Candidate, choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...oci.platform import Platform
    from ...oci.reference import Reference
    from ...registry.registries import Registries
    from ...registry.repository import Repository

# Manifests and indexes looked at for one image, and bytes of all its documents: an index of indexes must not keep us
# for ever, nor fill our memory.
_DOCUMENTS_LIMIT = 300
_BYTES_LIMIT = document.MANIFEST_LIMIT + document.CONFIG_LIMIT


class InRegistry:
    """The documents of a repository, as `choose` asks for them; none is fetched twice.

    `known` returns the verified bytes of a document that need not be fetched at all.
    """

    def __init__(
        self, repository: Repository, location: str, known: Callable[[str], bytes | None] | None = None
    ) -> None:
        self.location = location
        self._known = known
        self.remote = True
        self.documents: dict[str, bytes] = {}
        self._repository = repository
        self._asked = 0
        self._bytes = 0

    def root(self, name: str) -> Descriptor:
        """Fetch the manifest or index of a tag or digest; return its descriptor."""
        manifest = self._repository.manifest(name)
        self._keep(manifest.digest, manifest.data)
        return Descriptor(digest=manifest.digest, size=len(manifest.data), media_type=manifest.media_type or None)

    def manifest(self, descriptor: Descriptor) -> bytes | None:
        """Return a manifest or an index, None when the registry lacks it."""
        if descriptor.digest not in self.documents:
            self._asked += 1
            if self._asked > _DOCUMENTS_LIMIT:
                raise LimitExceeded(f"{self.location}: it refers to more than {_DOCUMENTS_LIMIT} manifests")
            if descriptor.size > document.MANIFEST_LIMIT:
                raise LimitExceeded(
                    f"manifest {descriptor.digest}: {descriptor.size} bytes, more than {document.MANIFEST_LIMIT}"
                )
            data = self._known(descriptor.digest) if self._known is not None else None
            try:
                if data is None or len(data) != descriptor.size:
                    fetched = self._repository.manifest(descriptor.digest)
                    what = f"manifest {descriptor.digest}"
                    manifests.check_same(fetched.media_type, descriptor.media_type or "", what, "Content-Type")
                    data = fetched.data
            except NotFound:
                return None
            descriptors.check_length(descriptor, len(data), "manifest")
            self._keep(descriptor.digest, data)
        return self.documents[descriptor.digest]

    def config(self, descriptor: Descriptor) -> bytes | None:
        """Return a configuration; raises NotFound when the registry lacks it."""
        if descriptor.digest not in self.documents:
            here = self._known(descriptor.digest) if self._known is not None else None
            if here is not None and len(here) == descriptor.size:
                return here
            self._keep(descriptor.digest, self._repository.document(descriptor, document.CONFIG_LIMIT, "configuration"))
        return self.documents[descriptor.digest]

    def _keep(self, digest: str, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > _BYTES_LIMIT:
            raise LimitExceeded(
                f"{self.location}: its manifests and configurations have more than {_BYTES_LIMIT} bytes"
            )
        self.documents[digest] = data


def look(
    registries: Registries,
    reference: Reference,
    wanted: Sequence[Platform] = (),
    known: Callable[[str], bytes | None] | None = None,
) -> tuple[Repository, Descriptor, list[Candidate]]:
    """Return the repository, the descriptor that `reference` refers to, and the images chosen from it.

    A digest wins over a tag. Raises NotFound, AccessDenied, DigestMismatch, LimitExceeded, RegistryError, ….
    """
    repository = registries.repository(reference)
    source = InRegistry(repository, reference.familiar, known)
    root = source.root(reference.digest or reference.tag)
    return repository, root, choose(source, [root], wanted)
