"""Pulling: an image of a registry becomes one of the store, each byte passing once.

The compressed stream is hashed, inflated, hashed again, written as the layer's tar and its headers read, all on its way.
What is interrupted leaves the layers that were whole and the beginnings of the others for a day, so that the next try
asks for the rest only; bytes that prove wrong are not kept.
"""

from __future__ import annotations

from time import monotonic

from ..errors import Corrupt, InvalidInput, LimitExceeded, NotFound, Unsupported
from ..events import Event
from ..oci import mediatype
from ..oci import platform as platforms
from ..oci.reference import Reference
from ..store import blobs, images, leases, partials
from . import remote
from .arrivals import Arrivals, Wanted
from .bag import Content
from .recording import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..events import Emit
    from ..oci.descriptor import Descriptor
    from ..oci.manifest import Manifest
    from ..oci.platform import Platform
    from ..paths import Paths
    from ..registry.registries import Registries
    from ..registry.repository import Repository
    from ..store.images import Image
    from ..store.meta import Meta
    from .choose import Candidate

# Shorter blobs, and beginnings, are fetched again sooner than kept (bytes).
_WORTH_KEEPING = 256 << 10
# So much of a layer is remembered before anything is written down for another try (bytes).
_REMEMBERED = 12 << 20
# What has not come within so many seconds comes slowly: it is written down from then on.
_SLOW = 1.0
# What would come within so many seconds is not written down at all, unless less than `_ALWAYS` bytes are left.
_SOON = 2.0
_ALWAYS = 64 << 20


class Pulled:
    """What a pull brought: the image's `id`, the `digest` that the reference stands for, and whether anything is `new`."""

    __slots__ = ("digest", "id", "new")

    def __init__(self, image_id: str, digest: str, new: bool) -> None:
        self.id = image_id
        self.digest = digest
        self.new = new


def pull(
    paths: Paths,
    meta: Meta,
    registries: Registries,
    reference: Reference,
    emit: Emit,
    form: str,
    wanted: Sequence[Platform] = (),
    keep_compressed: bool = False,
) -> Pulled:
    """Bring the image of `reference` (with tag or digest) into the store, for the platforms `wanted` (the host's).

    Of several the name stands for the one that serves this host best, else for the first.

    Emits `pull.start`, `layer.wait`, `layer.exists`, `layer.progress`, `layer.done`. Raises NotFound, AccessDenied,
    Conflict (blocked registry), Unsupported (foreign layers, schema 1), DigestMismatch, Corrupt, LimitExceeded,
    RegistryError.
    """
    name = Reference(reference.domain, reference.path, "" if reference.digest else reference.tag, reference.digest)
    emit(Event("pull.start", name.familiar, repository=name.path, tag=name.tag or str(name)))
    with leases.working(paths):
        whole = keep_compressed or platforms.ALL in wanted
        here = None if whole else _unmoved(meta, registries, name, wanted)
        if here is not None:
            return here

        def known(digest: str) -> bytes | None:
            return blobs.read(paths, digest) if blobs.exists(paths, digest) else None

        repository, root, candidates = remote.look(registries, name, wanted, known)
        before = _known(meta, name, root.digest)
        stood_for = _named(meta, name)[1]
        arrivals = Arrivals(
            paths,
            meta,
            emit,
            keep_compressed,
            registries.settings.network.parallel_layers,
            registries.cancel,
            partials.KEPT,
        )
        chosen = [(one, _layers(paths, repository, one, emit)) for one in candidates]
        given = Reference(name.domain, name.path, name.tag)
        try:
            image_id, target, _ = record(paths, meta, arrivals, chosen, [given], form, root.digest)
        except (Corrupt, LimitExceeded):
            # Whoever sends bad bytes gets nothing kept for him.
            for layer in (each for _, layers in chosen for each in layers):
                partials.drop(paths, layer.blob)
            raise
    new = before is None or any(one.config.digest not in before for one in candidates)
    return Pulled(image_id, target, new or (bool(name.tag) and stood_for != image_id))


def _unmoved(meta: Meta, registries: Registries, name: Reference, wanted: Sequence[Platform]) -> Pulled | None:
    """Return what is here when the registry says that the reference still stands for it; None to fetch it.

    One question without an answer's body, which Docker Hub does not count as a pull. A tag that has stood for the image
    of another platform stands for the one asked for from then on.
    """
    target, stood_for = (name.digest, "") if name.digest else _named(meta, name)
    if not target:
        return None
    known = [images.get(meta, each) for each in _known(meta, name, target) or ()]
    goals = list(wanted) or [platforms.host()]
    fitting = []
    for goal in goals:
        best = _best([one for one in known if one is not None], goal)
        if best is None:
            return None
        fitting.append(best)
    if not name.digest:
        found = registries.repository(name).head(name.tag)
        if found is None or found[0] != target:
            return None
    main = fitting[platforms.for_host([one.platform for one in fitting])]
    moves = bool(name.tag) and main.id != stood_for
    if moves:
        images.tag(meta, main, target, name)
    return Pulled(main.id, target, new=moves)


def _named(meta: Meta, name: Reference) -> tuple[str, str]:
    """Return the digest and the id of the image that a tag stands for here, "" and "" when it is not here."""
    rows = meta.read("SELECT target, image FROM names WHERE name = ?", (name.name,)) if name.tag else ()
    return (rows[0][0], rows[0][1]) if rows else ("", "")


def _best(known: Sequence[Image], goal: Platform) -> Image | None:
    """Return the image that is exactly for `goal`: a lesser one may have been the best that was there then."""
    return next((one for one in known if platforms.rank(goal, one.platform) == 0), None)


def _known(meta: Meta, name: Reference, target: str) -> set[str] | None:
    """Return the ids of the images known under `target` in this repository and, for a tag, still named so."""
    if name.tag and not meta.read("SELECT 1 FROM names WHERE name = ? AND target = ?", (name.name, target)):
        return None
    rows = meta.read(
        "SELECT d.image FROM digests d JOIN images i ON i.id = d.image "
        "WHERE d.repository = ? AND d.digest = ? AND NOT i.hidden",
        (name.repository, target),
    )
    return {row[0] for row in rows} or None


def _layers(paths: Paths, repository: Repository, candidate: Candidate, emit: Emit) -> list[Wanted]:
    view: Manifest = candidate.manifest.view
    found = []
    for layer, diff_id in zip(view.layers or [], candidate.config.view.diff_ids, strict=True):
        emit(Event("layer.wait", layer.digest, total=layer.size))
        found.append(Wanted(_Arriving(paths, repository, layer), diff_id, layer.digest, layer.size))
    return found


def refuse_foreign(layer: Descriptor) -> None:
    """Raise Unsupported for a foreign layer, which may lie outside its registry: no other address is ever asked."""
    if mediatype.is_foreign(layer.media_type or ""):
        raise Unsupported(
            f"layer {layer.digest} is foreign: it lies outside its registry",
            "addresses that an image names are not asked; load the image from an archive that has the layer",
        )


class _Arriving(Content):
    """A layer on its way from a registry: first what an earlier try has left, then the rest from the net.

    What comes is remembered, and written down when it gets much: unless it comes so fast that fetching it anew would
    take no longer than reading about it here.
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
        """Return up to `count` bytes of what comes next, b"" at the end.

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
        """Put what is remembered on disk."""
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
        """Give the connection up; what has come stays if it is to be kept."""
        self._download.close()
        if keep and self._remembered >= _WORTH_KEEPING:
            self._write_down()
        self._recent = None
        if self._partial is not None:
            self._partial.close(keep)
            self._partial = None


def all_tags(registries: Registries, repository: Reference) -> list[Reference]:
    """Return a reference for each tag of a repository; raises NotFound when it has none."""
    if repository.tag or repository.digest:
        raise InvalidInput("tag can't be used with --all-tags/-a")
    tags = registries.repository(repository).tags()
    if not tags:
        raise NotFound(f"{repository.familiar_repository} has no tags")
    return [Reference(repository.domain, repository.path, tag) for tag in tags]
