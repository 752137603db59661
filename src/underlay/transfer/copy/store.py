"""Copies from archives and layouts into the store: layers are taken in, the image is recorded under its new name."""

from __future__ import annotations

from ...errors import NotFound
from ...oci import platform as platforms
from ...oci.reference import Reference
from ..arrivals import Arrivals, Wanted
from ..choose import choose
from ..recording import record
from ..registry.outgoing import Pushed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...events import Emit
    from ...oci.manifest import Manifest
    from ...paths import Paths
    from ...store.rows.meta import Meta
    from .origin import Origin
    from .walk import Request


def into_store(
    paths: Paths,
    meta: Meta,
    origin: Origin,
    reference: Reference,
    request: Request,
    emit: Emit,
    form: str,
) -> Pushed:
    """Bring what `origin` stands for into the store as `reference`: for one platform (the host's), or for all.

    To be called inside `leases.working`; `form` is how layers are kept (see `store.rootfs`). Emits and raises as a load
    does.
    """
    root = origin.root()
    data = origin.manifest(root)
    if data is None:
        raise NotFound(f"{origin.location} lacks the manifest {root.digest}")
    wanted = [platforms.ALL] if request.all else [request.platform] if request.platform else []
    arrivals = Arrivals(paths, meta, emit)
    chosen = []
    for candidate in choose(origin, [root], wanted):
        view: Manifest = candidate.manifest.view
        pairs = zip(view.layers or [], candidate.config.view.diff_ids, strict=True)
        chosen.append(
            (candidate, [Wanted(origin.content(one), diff_id, one.digest, one.size) for one, diff_id in pairs])
        )
    name = Reference(reference.domain, reference.path, reference.tag)
    _, digest, _ = record(paths, meta, arrivals, chosen, [name], form, root.digest)
    return Pushed(digest, len(data))
