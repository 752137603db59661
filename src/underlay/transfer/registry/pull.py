"""Pulling: an image of a registry becomes one of the store, each byte passing once.

The compressed stream is hashed, inflated, hashed again, written as the layer's tar and its headers read, all on its way.
What is interrupted leaves the layers that were whole and the beginnings of the others for a day, so that the next try
asks for the rest only; bytes that prove wrong are not kept.
"""

from __future__ import annotations

from ...errors import InvalidInput, NotFound, Unsupported
from ...events import Event
from ...oci import mediatype
from ...oci import platform as platforms
from ...oci.reference import Reference
from ...store import leases
from ...store.rows import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...oci.platform import Platform
    from ...paths import Paths
    from ...registry.registries import Registries
    from ...store.rows.images import ImageRow
    from ...store.rows.meta import Meta


class Pulled:
    """The result of a pull: the image's `id`, the `digest` that the reference refers to, and whether anything is `new`."""

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
    verify: str = "",
) -> Pulled:
    """Bring the image of `reference` (with tag or digest) into the store, for the platforms `wanted` (the host's).

    Of several the name stands for the one that serves this host best, else for the first. `verify` demands a signature
    besides what the trust policy does: see `trust.Trust.read`.

    Emits `pull.start`, `layer.wait`, `layer.await` (another process brings the layer), `layer.exists`, `layer.progress`,
    `layer.done`. Raises NotFound, AccessDenied,
    Conflict (blocked registry), Unsupported (foreign layers, schema 1), Untrusted, DigestMismatch, Corrupt, LimitExceeded,
    RegistryError.
    """
    from ..trust.trust import Trust

    trust = Trust.read(verify)
    name = Reference(reference.domain, reference.path, "" if reference.digest else reference.tag, reference.digest)
    emit(Event("pull.start", name.familiar, repository=name.path, tag=name.tag or str(name)))
    with leases.working(paths):
        # What is here may have come before anything was demanded.
        whole = keep_compressed or platforms.ALL in wanted or trust.demands(name)
        here = None if whole else _unmoved(meta, registries, name, wanted)
        if here is not None:
            return here

        stood_for = images.named(meta, name)
        before = set(images.known_in(meta, name.repository))
        # What takes long to import, and an image that has not moved does without.
        from . import arriving

        image_id, target, brought = arriving.bring(
            paths, meta, registries, name, emit, form, wanted, keep_compressed, trust=trust
        )
    new = any((target, image_id) not in before for image_id in brought)
    return Pulled(image_id, target, new or (bool(name.tag) and stood_for != (target, image_id)))


def _unmoved(meta: Meta, registries: Registries, name: Reference, wanted: Sequence[Platform]) -> Pulled | None:
    """Return the stored image if the registry confirms that the reference still refers to it; None to pull it.

    Takes one HEAD request, which Docker Hub does not count as a pull. A tag that referred to the image of another
    platform refers to the requested one from then on.
    """
    target, stood_for = (name.digest, "") if name.digest else images.named(meta, name)
    if not target:
        return None
    known = [
        images.get(meta, image_id) for digest, image_id in images.known_in(meta, name.repository) if digest == target
    ]
    goals = list(wanted) or [platforms.host()]
    fitting = []
    for goal in goals:
        best = _best([one for one in known if one is not None], goal)
        if best is None:
            return None
        fitting.append(best)
    if not name.digest:
        head = registries.repository(name).head(name.tag)
        if head is None or head[0] != target:
            return None
    main = fitting[platforms.for_host([one.platform for one in fitting])]
    moves = bool(name.tag) and main.id != stood_for
    if moves:
        images.tag(meta, main, target, name)
    return Pulled(main.id, target, new=moves)


def _best(known: Sequence[ImageRow], goal: Platform) -> ImageRow | None:
    """Return the image for exactly the platform `goal`, None if there is none.

    An image for a merely compatible platform may have been pulled when the registry had nothing better.
    """
    return next((one for one in known if platforms.rank(goal, one.platform) == 0), None)


def refuse_foreign(layer: Descriptor) -> None:
    """Raise Unsupported for a foreign layer, which may lie outside its registry: no other address is ever asked."""
    if mediatype.is_foreign(layer.media_type or ""):
        raise Unsupported(
            f"layer {layer.digest} is a foreign layer, which its registry does not hold",
            "underlay does not fetch layers from other URLs; load the image from an archive that contains the layer",
        )


def all_tags(registries: Registries, repository: Reference) -> list[Reference]:
    """Return a reference for each tag of a repository; raises NotFound when it has none."""
    if repository.tag or repository.digest:
        raise InvalidInput("tag can't be used with --all-tags/-a")
    tags = registries.repository(repository).tags()
    if not tags:
        raise NotFound(f"{repository.familiar_repository} has no tags")
    return [Reference(repository.domain, repository.path, tag) for tag in tags]
