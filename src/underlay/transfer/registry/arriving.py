"""Fetching an image from a registry: its layers as they arrive, and resuming after a failed try."""

from __future__ import annotations

from time import monotonic

from ...errors import Corrupt, LimitExceeded, NotFound
from ...events import Event
from ...oci import digest as digests
from ...oci.reference import Reference
from ...store import blobs, partials
from ..archives.bag import Content
from ..arrivals import Arrivals, Wanted
from ..recording import record
from ..trust.trust import Trust
from . import remote
from .pull import refuse_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...oci.manifest import Manifest
    from ...oci.platform import Platform
    from ...paths import Paths
    from ...registry.registries import Registries
    from ...registry.repository import Repository
    from ...store.rows.meta import Meta
    from ..choose import Candidate

# Shorter blobs, and beginnings, are fetched again sooner than kept (bytes).
_WORTH_KEEPING = 256 << 10
# So much of a layer is remembered before anything is written down for another try (bytes).
_REMEMBERED = 12 << 20
# What has not come within so many seconds comes slowly: it is written down from then on.
_SLOW = 1.0
# What would come within so many seconds is not written down at all, unless less than `_ALWAYS` bytes are left.
_SOON = 2.0
_ALWAYS = 64 << 20


def bring(
    paths: Paths,
    meta: Meta,
    registries: Registries,
    name: Reference,
    emit: Emit,
    form: str,
    wanted: Sequence[Platform],
    keep_compressed: bool,
    given: Reference | None = None,
    trust: Trust | None = None,
) -> tuple[str, str, list[str]]:
    """Fetch what `name` means for the platforms `wanted`, as `pull` has it, and record it under the name, or as `given`.

    `trust` says which signatures must be there, by default the trust policy. Nothing is recorded of an image without: that
    raises Untrusted. Returns the id of the image that the name stands for, the digest, and the ids of all images.
    """

    def known(digest: str) -> bytes | None:
        if not blobs.exists(paths, digest):
            return None
        data = blobs.read(paths, digest)
        try:
            digests.verify(data, digest, "blob")
        except Corrupt:
            return None  # it has suffered on disk: the registry's is better
        return data

    repository, root, candidates = remote.look(registries, name, wanted, known)
    asked = trust if trust is not None else Trust.read()
    asked.check(repository, name, root.digest, [one.manifest.digest for one in candidates])
    parallel = registries.settings.network.parallel_layers
    arrivals = Arrivals(paths, meta, emit, keep_compressed, parallel, registries.cancel, partials.KEPT)
    chosen = [(one, _layers(paths, repository, one, emit)) for one in candidates]
    here = given or name
    try:
        image_id, target, _ = record(
            paths, meta, arrivals, chosen, [Reference(here.domain, here.path, here.tag)], form, root.digest, remote=True
        )
    except (Corrupt, LimitExceeded):
        # Nothing is kept of a source that sends wrong bytes.
        for layer in (layer for _, layers in chosen for layer in layers):
            partials.drop(paths, layer.blob)
        raise
    return image_id, target, [one.config.digest for one in candidates]


def _layers(paths: Paths, repository: Repository, candidate: Candidate, emit: Emit) -> list[Wanted]:
    view: Manifest = candidate.manifest.view
    wanted = []
    for layer, diff_id in zip(view.layers or [], candidate.config.view.diff_ids, strict=True):
        emit(Event("layer.wait", layer.digest, total=layer.size))
        wanted.append(Wanted(_Arriving(paths, repository, layer), diff_id, layer.digest, layer.size))
    return wanted


class _Arriving(Content):
    """A layer that is being downloaded: first the part stored by an earlier attempt, then the rest from the registry.

    Received data is kept in memory, and written to disk when it gets large, unless the download is so fast that
    repeating it would take no longer.
    """

    __slots__ = ("_began", "_download", "_layer", "_partial", "_paths", "_recent", "_remembered", "_resumed")

    def __init__(self, paths: Paths, repository: Repository, layer: Descriptor) -> None:
        super().__init__(layer.digest, layer.size)
        self._paths = paths
        self._layer = layer
        self._download = repository.blob(layer)
        self._partial: partials.Partial | None = None
        self._recent: list[bytes] | None = []
        self._remembered = 0
        self._began = 0.0
        self._resumed = False

    def read(self, count: int, /) -> bytes:
        """Return up to `count` of the next bytes, b"" at the end.

        Raises as `Download.read` does, and Unsupported for a foreign layer that the registry lacks.
        """
        if not self._began:
            self._began = monotonic()
            if self.size >= _WORTH_KEEPING and partials.there(self._paths, self.name):
                self._partial = partials.take(self._paths, self.name, self.size)
                if self._partial is not None:
                    self._download.skip(self._partial.size)
                    self._resumed = self._partial.size > 0
        if self._partial is not None and self.position < self._partial.size:
            data = self._partial.read(self.position, count)
        else:
            try:
                data = self._download.read(count)
            except NotFound:
                refuse_foreign(self._layer)
                raise
            self._remember(data)
        self.position += len(data)
        return data

    def _remember(self, data: bytes) -> None:
        if self._partial is not None:
            self._write(data)
            return
        if self._recent is None or self.size < _WORTH_KEEPING:
            return
        self._recent.append(data)
        self._remembered += len(data)
        passed = monotonic() - self._began
        if self._remembered > _REMEMBERED or passed > _SLOW:
            rest = self.size - self._remembered
            if rest > _ALWAYS and rest * passed < _SOON * self._remembered:
                self._recent = None
            else:
                self._write_down()

    def _write_down(self) -> None:
        """Write the data in memory to disk."""
        recent, self._recent = self._recent, None
        if recent and self._partial is None:
            self._partial = partials.take(self._paths, self.name, self.size)
            if self._partial is not None and self._partial.size:
                self._partial.restart()
            for data in recent:
                self._write(data)

    def _write(self, data: bytes) -> None:
        if self._partial is None:
            return
        try:
            self._partial.append(data)
        except OSError:
            # No space for it: then there will be none for the layer either, which says so itself.
            self._partial.close(keep=False)
            self._partial = None

    def again(self) -> None:
        """Start over."""
        self._download.close()
        self._download.skip(0)
        if self._partial is not None:
            self._partial.close(keep=True)
        self._partial, self._recent, self._remembered = None, None, 0
        self.position = 0

    def elsewhere(self, reason: str) -> bool:
        """Start over without what an earlier try has left, and without mirrors whose bytes proved wrong."""
        resumed, self._resumed = self._resumed, False
        if self._partial is not None:
            self._partial.close(keep=False)
            self._partial = None
        if not self._download.elsewhere(reason) and not resumed:
            return False
        self.again()
        return True

    def close(self, keep: bool) -> None:
        """Close the connection; received data stays on disk if it is to be kept."""
        self._download.close()
        if keep and self._remembered >= _WORTH_KEEPING:
            self._write_down()
        self._recent = None
        if self._partial is not None:
            self._partial.close(keep)
            self._partial = None
